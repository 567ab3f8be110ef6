// A pre-LN transformer block (Xiong et al. 2020, figure 1b):
//   x <- x + Drop(MHA(LN(x)));  x <- x + Drop(FFN(LN(x)))
#pragma once

#include <string>

#include "layers/attention.h"
#include "layers/feed_forward.h"
#include "layers/norm.h"

namespace piano {

struct EncoderBlock {
  LayerNorm norm1, norm2;
  MultiHeadAttention attention;
  FeedForward feed_forward;
  std::uint32_t attention_site = 0, feed_forward_site = 0;
  double dropout_rate = 0;

  // Declares <name>.norm1, .attention, .norm2, .ffn
  static EncoderBlock declare(ParameterStore& store, const std::string& name, std::int64_t d, int heads, std::int64_t hidden, double dropout);
  Tensor operator()(const Context& ctx, Tensor x, Ragged rows) const;  // (rows, d) -> (rows, d)
};

}  // namespace piano
