// The plain arguments of each op: what Node::args points to. Kernels of every device read these; inputs come in the order given here.
// An op that is not listed (concat, matmul, add, mul, blend, layer_norm, tanh, log_sigmoid, exp, the losses without lists) has no arguments: Node::args is null.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/base/random.h"
#include "engine/core/tensor.h"
#include "engine/ops/ops.h"

namespace piano {

// Which ids training drops (IdDropout): the same function on the host and in kernels.
struct IdDraws {
  RandomKey key;
  std::uint32_t site = 0;
  std::int32_t first_list = 0;  // index within the whole batch of the micro-batch's list 0
  std::int32_t padding = 0;     // lists from this one on keep their ids
  float p = 0;                  // 0: nothing is dropped

  // The n ids of a bag, to `kept`; `row` counts within `list`, `list` within the micro-batch.
  constexpr void drop(std::int32_t list, std::int32_t row, std::int32_t n, const std::int32_t* ids, std::int32_t* kept) const {
    const float chance = list < padding ? p : 0.0f;
    for (std::int32_t i = 0; i < n; i += 4) {
      const auto words = random_quad(key, site, static_cast<std::uint32_t>(first_list + list), static_cast<std::uint32_t>(row),
                                     static_cast<std::uint32_t>(i / 4));
      for (std::int32_t c = 0; c < 4 && i + c < n; ++c) {
        const bool dropped = uniform_from_bits(words[static_cast<std::size_t>(c)]) < chance && ids[i + c] != kMissing;
        kept[i + c] = dropped ? std::int32_t{kOutOfVocabulary} : ids[i + c];
      }
    }
  }
};

// inputs: table (vocabulary, d) -> output (bags.rows, d).
// Every id lies in the table. A table that requires a gradient has `row_grads`, to which backward adds each id of each bag.
// Only a device that looks rows up in its own memory sees draws.p > 0: elsewhere the ids are those that are left when some were dropped.
struct EmbeddingSumArgs {
  Bags bags;
  Pooling pooling = Pooling::sum;
  IdDraws draws = {};
  Ragged rows = {};  // the lists that bags belong to, if draws.p > 0
  // Bags that touch rows: not those of lists that pad a batch, which have no gradient, and ids that may all have been dropped elsewhere.
  std::int32_t touching = bags.rows;
};

// inputs: x (rows, d) -> output (index.size(), d). Every index lies in x, whose memory need not be padded (it may be a parameter).
struct GatherRowsArgs {
  std::span<const std::int32_t> index;
};

// inputs: first (lists, d), x (rows, d) -> output (rows + lists, d): list l begins at output row lists.begin(l) + l.
struct PrependRowArgs {
  Ragged lists;
};

// inputs: x (rows, in), w (out, in + s), b (out) or null, shared (lists, s) or null -> output (rows, out)
struct LinearArgs {
  Activation activation = Activation::none;
  const std::int32_t* index = nullptr;  // (rows), into shared's rows; null without it
};

// inputs: x -> output = factor * x
struct ScaleArgs {
  double factor = 1;
};

// inputs: x (rows, d) -> output (rows, d). Only recorded in training and with p > 0.
struct DropoutArgs {
  RandomKey key;
  std::uint32_t site = 0;
  std::int32_t first_list = 0;  // index within the whole batch of the micro-batch's list 0
  Ragged lists;
  float p = 0;                  // in (0, 1)
  double factor = 1;            // 1 / (1 - p): what a kept element is multiplied by

  // Which of the columns 4*quad .. 4*quad+3 of a row are kept; `row` counts within `list`, `list` within the micro-batch.
  std::array<bool, 4> kept(std::int32_t list, std::int32_t row, std::int64_t quad) const {
    const auto words = random_quad(key, site, static_cast<std::uint32_t>(first_list + list), static_cast<std::uint32_t>(row),
                                   static_cast<std::uint32_t>(quad));
    return {uniform_from_bits(words[0]) >= p, uniform_from_bits(words[1]) >= p, uniform_from_bits(words[2]) >= p,
            uniform_from_bits(words[3]) >= p};
  }
};

// layer_norm has no arguments. inputs: x (rows, d), gamma (d), beta (d) -> output (rows, d)
inline constexpr double kLayerNormEpsilon = 1e-5;

// inputs: q (queries.rows, d), k (keys.rows, d), v (keys.rows, d), null_k (d) or null, null_v (d) or null -> output (queries.rows, d)
// Head h owns the columns h * d/heads .. (h+1) * d/heads - 1 of every matrix.
struct AttentionArgs {
  Ragged queries, keys;  // the same number of lists
  std::int32_t heads = 1;
};

// split_heads: x (rows, d) -> output (rows * heads, d); merge_heads the other way, its factor is 1
struct HeadsArgs {
  std::int32_t heads = 1;
  double factor = 1;
};

// inputs: q (keys.lists * heads, d), k (keys.rows, d), null_score (keys.lists * heads, 1) or null -> output (keys.rows, heads)
struct AttentionWeightsArgs {
  Ragged keys;
  std::int32_t heads = 1;
};

// inputs: p (keys, heads) -> output (rows, heads * columns). Every match lies in both.
struct MatchSumArgs {
  Matches matches;
  std::int32_t columns = 1;
};

// inputs: x (rows, d) -> output (lists, d)
struct SegmentMeanArgs {
  Ragged lists;
};

// inputs: x (rows, d), w (rows, heads) -> output (lists * heads, d)
struct WeightedSumArgs {
  Ragged lists;
};

// mixture has no arguments. inputs: gates (rows, experts), x (rows, experts * d) -> output (rows, d)

// inputs: x (rows, 3d), u (3d, d), b (d) -> output (rows, d)
struct GruArgs {
  Ragged lists;
  bool backwards = false;

  // The i-th row to be read of a list.
  std::int32_t row(std::int32_t list, std::int32_t i) const { return backwards ? lists.end(list) - 1 - i : lists.begin(list) + i; }
};

// bce_with_logits and poisson_nll have no arguments: inputs x, y, w (rows, 1); product_bce: a, b, y, w (rows, 1). Output (1, 1).
// inputs: s, t (rows, 1) -> output (1, 1)
struct SoftmaxCrossEntropyArgs {
  Ragged lists;
};

// inputs: s, t (rows, 1) -> output (1, 1)
struct AttentionRankLossArgs {
  Ragged lists;
};

// inputs: s, t (rows, 1) -> output (1, 1)
struct LambdaLossArgs {
  Ragged lists;
};

}  // namespace piano
