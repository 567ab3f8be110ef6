#include "layers/norm.h"

namespace piano {

LayerNorm LayerNorm::declare(ParameterStore& store, const std::string& name, std::int64_t d) {
  return {store.add(name + ".gamma", {d}, false), store.add(name + ".beta", {d}, false)};
}

Tensor LayerNorm::operator()(const Context& ctx, Tensor x) const {
  return layer_norm(ctx, x, ctx.parameter(gamma), ctx.parameter(beta));
}

}  // namespace piano
