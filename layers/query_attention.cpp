#include "layers/query_attention.h"

#include <algorithm>
#include <cmath>

#include "layers/attention.h"

namespace piano {
namespace {

// (rows.rows(), 1), of row r: element(list of r)
template <class Element>
Tensor column(const Context& ctx, Ragged rows, Element element) {
  const std::int64_t n = rows.rows();
  const std::span<double> x(ctx.arena->array<double>(n), static_cast<std::size_t>(n));
  for (std::int32_t list = 0; list < rows.lists; ++list) std::fill(x.begin() + rows.begin(list), x.begin() + rows.end(list), element(list));
  return ctx.constant(std::span<const double>(x), {n, 1});
}

}  // namespace

QueryAttention QueryAttention::declare(ParameterStore& store, const std::string& name, std::int64_t d, int heads, bool null_slot) {
  const MultiHeadAttention same = MultiHeadAttention::declare(store, name, d, heads, null_slot);
  return {same.wq, same.bq, same.wk, same.bk, same.wv, same.bv, same.wo, same.bo, same.null_key, same.null_value, heads};
}

Tensor QueryAttention::weights(const Context& ctx, Tensor queries, Tensor keys, Ragged rows) const {
  const Tensor q = linear(ctx, queries, ctx.parameter(wq), ctx.parameter(bq));                    // (lists, d)
  const double scaled = 1 / std::sqrt(static_cast<double>(q.cols() / heads));
  const Tensor by_head = split_heads(ctx, q, heads, scaled);                                      // (lists * heads, d)
  const Tensor folded = matmul(ctx, by_head, ctx.parameter(wk));                                  // (lists * heads, d)
  if (!null_key) return attention_weights(ctx, folded, keys, rows, heads);                        // q . b_k is the same for all keys
  const Tensor apart = add(ctx, ctx.parameter(null_key), scale(ctx, ctx.parameter(bk), -1));      // (d): from the keys' own bias
  return attention_weights(ctx, folded, keys, rows, heads, linear(ctx, by_head, apart, {}));      // (rows, heads)
}

Tensor QueryAttention::uniform_weights(const Context& ctx, Ragged rows) {
  return column(ctx, rows, [&](std::int32_t list) { return 1.0 / rows.size(list); });
}

Tensor QueryAttention::operator()(const Context& ctx, Tensor weights, Tensor values, Ragged rows, const Linear* join) const {
  const Tensor ones = column(ctx, rows, [](std::int32_t) { return 1.0; });
  const Tensor share = weighted_sum(ctx, ones, weights, rows);                                    // (lists * heads, 1): without the null slot
  Tensor sum = weighted_sum(ctx, values, weights, rows);                                          // (lists * heads, columns of the values)
  if (join != nullptr) sum = blend(ctx, linear(ctx, sum, ctx.parameter(join->weight), {}), share, ctx.parameter(join->bias));
  const Tensor null = null_value ? ctx.parameter(null_value) : Tensor{};
  sum = blend(ctx, linear(ctx, sum, ctx.parameter(wv), {}), share, ctx.parameter(bv), null);      // (lists * heads, d)
  if (weights.cols() > 1) sum = merge_heads(ctx, sum, heads);                                     // (lists, d)
  return linear(ctx, sum, ctx.parameter(wo), ctx.parameter(bo));
}

}  // namespace piano
