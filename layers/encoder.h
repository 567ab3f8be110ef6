// A pre-LN transformer block (Xiong et al. 2020, figure 1b):
//   x <- x + Drop(MHA(LN(x)));  x <- x + Drop(FFN(LN(x)))
// With `points` > 0 the rows do not attend to each other but to that many learnt points I, which attended to the rows before (induced attention,
// Lee et al. 2019, "Set Transformer", eq. 9-10, in pre-LN form): a = LN(x), H = LN(I + MHA(I, a, a)), x <- x + Drop(MHA(a, H, H)).
// Time and memory then grow with rows * points, not with rows^2.
#pragma once

#include <string>

#include "layers/attention.h"
#include "layers/feed_forward.h"
#include "layers/norm.h"

namespace piano {

struct EncoderBlock {
  LayerNorm norm1, norm2, point_norm;
  MultiHeadAttention attention, point_attention;
  ParameterId points;  // (points, d), or none: full attention
  FeedForward feed_forward;
  std::uint32_t attention_site = 0, feed_forward_site = 0;
  double dropout_rate = 0;

  // Declares <name>.norm1, .attention, .norm2, .ffn and, with points > 0, .points, .point_attention, .point_norm
  static EncoderBlock declare(ParameterStore& store, const std::string& name, std::int64_t d, int heads, std::int64_t hidden, double dropout,
                              std::int64_t points = 0);
  Tensor operator()(const Context& ctx, Tensor x, Ragged rows) const;  // (rows, d) -> (rows, d)

 private:
  Tensor attend(const Context& ctx, Tensor a, Ragged rows) const;
};

}  // namespace piano
