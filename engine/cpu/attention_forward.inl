// attention, forward. The specification is engine/ref/attention.h.
//
// Keys are packed transposed and values as they are, once per list and head. The scores of a tile's queries are exponentiated in the registers
// that they are computed in, and kept in a scratch of kTileRows rows. log2(e) comes in as a factor of the queries: the softmax is in powers of two.
//
// A softmax needs its scores shifted only where the powers would leave float's range. So the first attempt shifts nothing, and the sum shows
// whether that was right: else the query's weights are computed again, shifted by its largest score.
#pragma once

#include "engine/cpu/attention_parts.inl"

namespace piano {
namespace {

inline bool in_safe_range(float sum) { return sum > 0x1p-40f && sum < 0x1p40f; }

// weights (rows, n) = 2^(queries keys - shift); total[r] is the sum of row r, lane by lane.
template <int rows>
inline void attention_weights(std::int64_t n, std::int64_t width, Panel queries, Panel keys_t, const float* minus_shift, Panel weights, F* total) {
  for (int r = 0; r < rows; ++r) total[r] = F{};
  for_block_pairs(blocks_of(n), [&](std::int64_t block, auto vectors) {
    Tile<rows, vectors.value> tile(minus_shift);
    if (const std::int64_t last = n - (block + vectors.value - 1) * kLanes; last < kLanes) {
      const F never = first_of(F{}, last, splat(-1e30f));
      for (int r = 0; r < rows; ++r) tile.c[r][vectors.value - 1] += never;
    }
    tile.add_product(width, queries, keys_t, block);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < vectors.value; ++v) {
        const F e = softmax_exp2(tile.c[r][v]);
        store(weights.at(r, block + v), e);
        total[r] += e;
      }
    }
  });
}

// The largest score of row r.
inline float largest_score(std::int64_t r, std::int64_t n, std::int64_t width, Panel queries, Panel keys_t) {
  F top = splat(-1e30f);
  for (std::int64_t b = 0; b < blocks_of(n); ++b) {
    F score = first_of(F{}, n - b * kLanes, splat(-1e30f));
    for (std::int64_t c = 0; c < width; ++c) score = fma(splat(queries.at(r, c / kLanes)[c % kLanes]), load(keys_t.at(c, b)), score);
    top = larger(top, score);
  }
  return largest(top);
}

// The weights as above, shifted where that is needed, and what normalises them.
template <int rows>
inline void attention_softmax(std::int64_t n, std::int64_t width, Panel queries, Panel keys_t, Panel weights, Softmax* softmax) {
  F total[rows];
  float minus_shift[rows] = {}, sums[rows];
  attention_weights<rows>(n, width, queries, keys_t, minus_shift, weights, total);
  bool safe = true;
  for (int r = 0; r < rows; ++r) {
    sums[r] = sum(total[r]);
    if (in_safe_range(sums[r])) continue;
    minus_shift[r] = -largest_score(r, n, width, queries, keys_t);
    safe = false;
  }
  if (!safe) {
    attention_weights<rows>(n, width, queries, keys_t, minus_shift, weights, total);
    for (int r = 0; r < rows; ++r) sums[r] = sum(total[r]);
  }
  for (int r = 0; r < rows; ++r) softmax[r] = {minus_shift[r], 1.0f / sums[r]};
}

// inputs: q, k, v, null_k, null_v. Saves (queries, heads) of Softmax.
void attention_forward(const Context& context, Node& node) {
  const auto& args = args_of<AttentionArgs>(node);
  const AttentionShape shape = attention_shape(node);
  const std::int64_t width = shape.width;
  const Panel keys_t = scratch_panel(context, width, shape.most_keys);
  float* const values_data = scratch_panel(context, shape.most_keys, width).data;
  const Panel weights = scratch_panel(context, kTileRows, shape.most_keys);
  const Panel queries = scratch_panel(context, kTileRows, width);
  Softmax* saved = nullptr;
  if (context.tape != nullptr) {
    saved = static_cast<Softmax*>(context.arena->allocate(static_cast<std::size_t>(rows_of(node.output) * shape.heads) * sizeof(Softmax)));
  }
  node.saved = saved;

  for (std::int32_t l = 0; l < args.queries.lists; ++l) {  // queries without keys
    if (args.keys.offsets[l] != args.keys.offsets[l + 1] || shape.null_slot) continue;
    const std::int64_t begin = args.queries.offsets[l], end = args.queries.offsets[l + 1];
    zero(value_of(node.output) + begin * shape.d, (end - begin) * shape.d);
  }
  for_heads_of_lists(args, shape, [&](const HeadOfList& at) {
    const Panel values{values_data, at.keys};
    pack_transposed(at.slots(shape, node.inputs[1], node.inputs[3]), 0, at.keys, width, keys_t);
    pack_rows(at.slots(shape, node.inputs[2], node.inputs[4]), 0, at.keys, at.keys, width, 1, values);
    for_row_tiles(at.q_end - at.q_begin, [&](std::int64_t first, std::int64_t have, auto tile_rows) {
      constexpr int rows = decltype(tile_rows)::value;
      pack_rows(at.queries(shape, value_of(node.inputs[0])), first, have, rows, width, shape.binary_scale, queries);
      Softmax softmax[rows];
      attention_softmax<rows>(at.keys, width, queries, keys_t, weights, softmax);
      for (std::int64_t r = 0; saved != nullptr && r < have; ++r) saved[(at.q_begin + first + r) * shape.heads + at.head] = softmax[r];
      for_block_pairs(blocks_of(width), [&](std::int64_t block, auto vectors) {
        Tile<rows, vectors.value> tile;
        tile.add_product(at.keys, weights, values, block);
        for (int r = 0; r < rows; ++r) {
          if (r >= have) break;
          float* to = value_of(node.output) + (at.q_begin + first + r) * shape.d + at.column;
          for (int v = 0; v < vectors.value; ++v) {
            const std::int64_t c = (block + v) * kLanes;
            put(to + c, tile.c[r][v] * softmax[r].factor, width - c < kLanes ? width - c : kLanes);
          }
        }
      });
    });
  });
}

}  // namespace
}  // namespace piano
