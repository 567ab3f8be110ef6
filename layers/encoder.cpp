#include "layers/encoder.h"

namespace piano {

EncoderBlock EncoderBlock::declare(ParameterStore& store, const std::string& name, std::int64_t d, int heads, std::int64_t hidden,
                                   double dropout) {
  EncoderBlock block;
  block.norm1 = LayerNorm::declare(store, name + ".norm1", d);
  block.attention = MultiHeadAttention::declare(store, name + ".attention", d, heads, false);
  block.norm2 = LayerNorm::declare(store, name + ".norm2", d);
  block.feed_forward = FeedForward::declare(store, name + ".ffn", d, hidden, d, dropout);
  block.attention_site = site_hash(name + ".attention.out");
  block.feed_forward_site = site_hash(name + ".ffn.out");
  block.dropout_rate = dropout;
  return block;
}

Tensor EncoderBlock::operator()(const Context& ctx, Tensor x, Ragged rows) const {
  const Tensor a = norm1(ctx, x);
  x = add(ctx, x, dropout(ctx, attention(ctx, a, a, a, rows, rows), dropout_rate, attention_site, rows));
  return add(ctx, x, dropout(ctx, feed_forward(ctx, norm2(ctx, x), rows), dropout_rate, feed_forward_site, rows));
}

}  // namespace piano
