#include "layers/linear.h"

namespace piano {

Linear Linear::declare(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t out, bool with_bias) {
  Linear layer;
  layer.weight = store.add(name + ".weight", {out, in}, true);
  if (with_bias) layer.bias = store.add(name + ".bias", {out}, false);
  return layer;
}

Tensor Linear::operator()(const Context& ctx, Tensor x, Activation activation, Tensor shared, std::span<const std::int32_t> index) const {
  return linear(ctx, x, ctx.parameter(weight), bias ? ctx.parameter(bias) : Tensor{}, activation, shared, index);
}

}  // namespace piano
