// attention, backward. The specification is engine/ref/attention.h.
//
// With P the probabilities, computed again from the saved softmax (Dao et al. 2022, "FlashAttention", algorithm 4):
//   dV = P^T dO,  dP = dO V^T,  dS = P * (dP - rowsum(dO * O)),  dQ = scale * dS K,  dK = scale * dS^T Q
// Tiled over kKeyChunk keys and kQueryBlock queries: P and dS of a block are 6 KiB each, a chunk's five panels 4 KiB each for a head of 16
// columns. Nothing of (queries, keys) is kept, and the scratch does not grow with the list but for one number a query.
#pragma once

#include "engine/cpu/attention_parts.inl"

namespace piano {
namespace {

constexpr int kKeyChunk = 64;
constexpr int kQueryBlock = 48;
constexpr int kBlockTiles = kQueryBlock / kTileRows;

// rowsum(dO * O) of one head's columns
inline float row_dot(const float* a, const float* b, std::int64_t n) {
  F total{};
  for_vectors(n, [&](std::int64_t c, std::int64_t m) { total = fma(get(a + c, m), get(b + c, m), total); });
  return sum(total);
}

// Gradients of one head's slots: rows first .. of the chunk are added to the list's rows, the null row's to `null_grad`. Null: not wanted.
struct SlotGradient {
  Panel panel;  // (kKeyChunk, width)
  float* grad;
  float* null_grad;
  bool wanted() const { return grad != nullptr || null_grad != nullptr; }

  // panel (n, width) += a^T b; a (kTileRows, n), b (kTileRows, width), `tiles` of each one after the other with `rows` rows in all
  void add(std::int64_t n, std::int64_t width, std::int64_t rows, const Panel (&a)[kBlockTiles], const Panel (&b)[kBlockTiles]) const {
    for_block_pairs(blocks_of(width), [&](std::int64_t block, auto vectors) {
      constexpr int keys = kLanes / vectors.value;
      for (std::int64_t j = 0; j < n; j += keys) {
        float* to = panel.at(j, block);
        Tile<keys, vectors.value> tile(to, kLanes, panel.rows * kLanes);
        for (std::int64_t i = 0; i < rows; i += kTileRows) {
          const std::int64_t t = i / kTileRows;
          tile.template add<1, kLanes>(rows - i < kTileRows ? rows - i : kTileRows, a[t].at(0, j / kLanes) + j % kLanes, b[t].at(0, block),
                                       kTileRows * kLanes);
        }
        tile.store_to(to, kLanes, panel.rows * kLanes);
      }
    });
  }

  void write(const AttentionShape& shape, const HeadOfList& at, std::int64_t first, std::int64_t n, float factor) const {
    for (std::int64_t j = 0; j < n; ++j) {
      const std::int64_t row = at.k_begin + first + j;
      float* to = row < at.k_end ? grad : null_grad;
      if (to == nullptr) continue;
      to += (row < at.k_end ? row * shape.d : 0) + at.column;
      for_vectors(shape.width, [&](std::int64_t c, std::int64_t m) {
        put(to + c, fma(load(panel.at(j, c / kLanes)), splat(factor), get(to + c, m)), m);
      });
    }
  }
};

void attention_backward(const Context& context, Node& node) {
  const auto& args = args_of<AttentionArgs>(node);
  const AttentionShape shape = attention_shape(node);
  const std::int64_t width = shape.width, d = shape.d;
  const auto* saved = static_cast<const Softmax*>(node.saved);
  const float* out = value_of(node.output);
  const float* dout = static_cast<const float*>(node.output->grad);
  float* dq = grad_of(node.inputs[0]);

  const Panel keys_t = scratch_panel(context, width, kKeyChunk), values_t = scratch_panel(context, width, kKeyChunk);
  const Panel keys = scratch_panel(context, kKeyChunk, width);
  const SlotGradient dkeys{scratch_panel(context, kKeyChunk, width), grad_of(node.inputs[1]), grad_of(node.inputs[3])};
  const SlotGradient dvalues{scratch_panel(context, kKeyChunk, width), grad_of(node.inputs[2]), grad_of(node.inputs[4])};
  Panel p[kBlockTiles], ds[kBlockTiles], queries[kBlockTiles], douts[kBlockTiles];
  for (int t = 0; t < kBlockTiles; ++t) {
    p[t] = scratch_panel(context, kTileRows, kKeyChunk);
    ds[t] = scratch_panel(context, kTileRows, kKeyChunk);
    queries[t] = scratch_panel(context, kTileRows, width);
    douts[t] = scratch_panel(context, kTileRows, width);
  }
  float* means = scratch(context, shape.most_queries);  // of dP under P, which is rowsum(dO * O)

  for_heads_of_lists(args, shape, [&](const HeadOfList& at) {
    const std::int64_t n_queries = at.q_end - at.q_begin;
    for (std::int64_t i = 0; i < n_queries; ++i) {
      const std::int64_t from = (at.q_begin + i) * d + at.column;
      means[i] = row_dot(dout + from, out + from, width);
    }
    const HeadRows key_rows = at.slots(shape, node.inputs[1], node.inputs[3]);
    for (std::int64_t chunk = 0; chunk < at.keys; chunk += kKeyChunk) {
      const std::int64_t n = at.keys - chunk < kKeyChunk ? at.keys - chunk : kKeyChunk;
      pack_transposed(key_rows, chunk, n, width, keys_t);
      pack_transposed(at.slots(shape, node.inputs[2], node.inputs[4]), chunk, n, width, values_t);
      pack_rows(key_rows, chunk, n, n, width, shape.scale, keys);
      zero(dkeys.panel.data, kKeyChunk * blocks_of(width) * kLanes);
      zero(dvalues.panel.data, kKeyChunk * blocks_of(width) * kLanes);
      for (std::int64_t i = 0; i < n_queries; i += kQueryBlock) {
        const std::int64_t block_rows = n_queries - i < kQueryBlock ? n_queries - i : kQueryBlock;
        for_row_tiles(block_rows, [&](std::int64_t first, std::int64_t have, auto tile_rows) {
          constexpr int rows = decltype(tile_rows)::value;
          const std::int64_t t = first / kTileRows;
          pack_rows(at.queries(shape, value_of(node.inputs[0])), i + first, have, rows, width, shape.binary_scale, queries[t]);
          pack_rows(at.queries(shape, dout), i + first, have, rows, width, 1, douts[t]);
          float minus_shift[rows], factor[rows], minus_mean[rows];  // zeros in the rows that fill up the tile
          for (int r = 0; r < rows; ++r) {
            const Softmax softmax = r < have ? saved[(at.q_begin + i + first + r) * shape.heads + at.head] : Softmax{0, 0};
            minus_shift[r] = softmax.minus_shift, factor[r] = softmax.factor, minus_mean[r] = r < have ? -means[i + first + r] : 0;
          }
          for_block_pairs(blocks_of(n), [&](std::int64_t block, auto vectors) {
            Tile<rows, vectors.value> tile(minus_shift);
            tile.add_product(width, queries[t], keys_t, block);
#pragma GCC unroll 12
            for (int r = 0; r < rows; ++r) {
              for (int v = 0; v < vectors.value; ++v) store(p[t].at(r, block + v), softmax_exp2(tile.c[r][v]) * factor[r]);
            }
            Tile<rows, vectors.value> dtile(minus_mean);
            dtile.add_product(width, douts[t], values_t, block);
#pragma GCC unroll 12
            for (int r = 0; r < rows; ++r) {
              for (int v = 0; v < vectors.value; ++v) store(ds[t].at(r, block + v), dtile.c[r][v] * load(p[t].at(r, block + v)));
            }
          });
          if (dq == nullptr) return;
          for_block_pairs(blocks_of(width), [&](std::int64_t block, auto vectors) {
            Tile<rows, vectors.value> tile;
            tile.add_product(n, ds[t], keys, block);
            for (int r = 0; r < rows; ++r) {
              if (r >= have) break;
              float* to = dq + (at.q_begin + i + first + r) * d + at.column;
              for (int v = 0; v < vectors.value; ++v) {
                const std::int64_t c = (block + v) * kLanes, m = width - c < kLanes ? width - c : kLanes;
                put(to + c, get(to + c, m) + tile.c[r][v], m);
              }
            }
          });
        });
        if (dkeys.wanted()) dkeys.add(n, width, block_rows, ds, queries);
        if (dvalues.wanted()) dvalues.add(n, width, block_rows, p, douts);
      }
      if (dkeys.wanted()) dkeys.write(shape, at, chunk, n, 0.693147181f);  // the queries' factor was scale * log2(e)
      if (dvalues.wanted()) dvalues.write(shape, at, chunk, n, 1);
    }
  });
}

}  // namespace
}  // namespace piano
