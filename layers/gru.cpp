#include "layers/gru.h"

namespace piano {

Gru Gru::declare(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t d) {
  return {Linear::declare(store, name + ".input", in, 3 * d), store.add(name + ".hidden", {3 * d, d}, true), store.add(name + ".bias", {d}, false)};
}

Tensor Gru::operator()(const Context& ctx, Tensor x, Ragged lists, bool backwards) const {
  return gru(ctx, input(ctx, x), ctx.parameter(hidden), ctx.parameter(bias), lists, backwards);
}

}  // namespace piano
