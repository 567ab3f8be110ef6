#include "layers/feed_forward.h"

namespace piano {

FeedForward FeedForward::declare(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t hidden, std::int64_t out,
                                 double dropout) {
  return {Linear::declare(store, name + ".up", in, hidden), Linear::declare(store, name + ".down", hidden, out), site_hash(name), dropout};
}

Tensor FeedForward::operator()(const Context& ctx, Tensor x, Ragged rows, Tensor shared, std::span<const std::int32_t> index) const {
  const Tensor hidden = dropout(ctx, up(ctx, x, Activation::gelu, shared, index), dropout_rate, site, rows);  // (rows, hidden)
  return down(ctx, hidden);
}

}  // namespace piano
