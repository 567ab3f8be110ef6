#include "layers/encoder.h"

#include <algorithm>

namespace piano {

EncoderBlock EncoderBlock::declare(ParameterStore& store, const std::string& name, std::int64_t d, int heads, std::int64_t hidden,
                                   double dropout, std::int64_t points) {
  EncoderBlock block;
  block.norm1 = LayerNorm::declare(store, name + ".norm1", d);
  block.attention = MultiHeadAttention::declare(store, name + ".attention", d, heads, false);
  block.norm2 = LayerNorm::declare(store, name + ".norm2", d);
  block.feed_forward = FeedForward::declare(store, name + ".ffn", d, hidden, d, dropout);
  if (points > 0) {
    block.points = store.add(name + ".points", {points, d}, false);
    block.point_attention = MultiHeadAttention::declare(store, name + ".point_attention", d, heads, false);
    block.point_norm = LayerNorm::declare(store, name + ".point_norm", d);
  }
  block.attention_site = site_hash(name + ".attention.out");
  block.feed_forward_site = site_hash(name + ".ffn.out");
  block.dropout_rate = dropout;
  return block;
}

// a (rows, d) -> (rows, d)
Tensor EncoderBlock::attend(const Context& ctx, Tensor a, Ragged rows) const {
  if (!points) return attention(ctx, a, a, a, rows, rows);
  const Tensor all = ctx.parameter(points);  // (points, d)
  const auto n = static_cast<std::int32_t>(all.rows());
  auto* offsets = ctx.arena->array<std::int32_t>(rows.lists + 1);
  auto* index = ctx.arena->array<std::int32_t>(std::max(rows.lists * n, 1));
  for (std::int32_t l = 0; l <= rows.lists; ++l) offsets[l] = l * n;
  for (std::int32_t i = 0; i < rows.lists * n; ++i) index[i] = i % n;
  const Ragged point_rows{offsets, rows.lists};
  const Tensor p = gather_rows(ctx, all, {index, static_cast<std::size_t>(rows.lists * n)});                    // (lists * points, d)
  const Tensor h = point_norm(ctx, add(ctx, p, point_attention(ctx, p, a, a, point_rows, rows)));  // (lists * points, d)
  return attention(ctx, a, h, h, rows, point_rows);
}

Tensor EncoderBlock::operator()(const Context& ctx, Tensor x, Ragged rows) const {
  const Tensor a = norm1(ctx, x);
  x = add(ctx, x, dropout(ctx, attend(ctx, a, rows), dropout_rate, attention_site, rows));
  return add(ctx, x, dropout(ctx, feed_forward(ctx, norm2(ctx, x), rows), dropout_rate, feed_forward_site, rows));
}

}  // namespace piano
