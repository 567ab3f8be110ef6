// What attention's forward and backward share: panels, register tiles and the softmax's exponential.
//
// Every list and head is worked on alone, kTileRows queries at a time, against panels: packed matrices in blocks of kLanes columns. A product's
// register tile is kTileRows rows by two vectors (AVX-512: 12 x 32, 24 of 32 registers; AVX2: 6 x 16, 12 of 16): per step of depth two loads
// and kTileRows broadcasts feed 2 * kTileRows fused multiply-adds. A head of 16 columns fills only one AVX-512 vector: twelve rows keep twelve
// additions in flight even then. What is left of rows and columns goes to smaller tiles; only the last vector of a block is padded.
//
// Each sum adds its products in the order of depth, in whichever tile it lies: a query's bits depend on its own row and on its list's keys.
#pragma once

#include "engine/cpu/math.inl"
#include "engine/cpu/node.inl"
#include "engine/cpu/transpose.inl"

namespace piano {
namespace {

#if defined(__AVX512F__)
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif

// A matrix of `rows` rows in blocks of kLanes columns: element (r, c) is data[(c / kLanes * rows + r) * kLanes + c % kLanes].
struct Panel {
  float* data;
  std::int64_t rows;
  float* at(std::int64_t r, std::int64_t block) const { return data + (block * rows + r) * kLanes; }
};

constexpr std::int64_t blocks_of(std::int64_t columns) { return (columns + kLanes - 1) / kLanes; }

inline Panel scratch_panel(const Context& context, std::int64_t rows, std::int64_t columns) {
  return {scratch(context, rows * blocks_of(columns) * kLanes), rows};
}

template <int rows, int vectors>
struct Tile {
  F c[rows][vectors];

  Tile() : c{} {}
  explicit Tile(const float* row_start) {  // each row starts as splat(row_start[r])
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < vectors; ++v) c[r][v] = splat(row_start[r]);
    }
  }
  Tile(const float* from, std::int64_t row, std::int64_t block) {
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < vectors; ++v) c[r][v] = load(from + r * row + v * block);
    }
  }
  void store_to(float* to, std::int64_t row, std::int64_t block) const {
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < vectors; ++v) store(to + r * row + v * block, c[r][v]);
    }
  }

  // c += a b over k < depth, depth >= 1: a's element (r, k) is a[r * row + k * step], b's row k of vector v is b + k * kLanes + v * b_block.
  // Inlined always, and run once at least: the sums stay in registers.
  template <int row, int step>
  [[gnu::always_inline]] void add(std::int64_t depth, const float* a, const float* b, std::int64_t b_block) {
    std::int64_t k = 0;
    do {
      F column[vectors];
      for (int v = 0; v < vectors; ++v) column[v] = load(b + k * kLanes + v * b_block);
      for (int r = 0; r < rows; ++r) {
        const F x = splat(a[r * row + k * step]);
        for (int v = 0; v < vectors; ++v) c[r][v] = fma(x, column[v], c[r][v]);
      }
    } while (++k < depth);
  }

  // c += a b: a (kTileRows, depth), of b (depth, columns) the blocks from `block` on.
  [[gnu::always_inline]] void add_product(std::int64_t depth, Panel a, Panel b, std::int64_t block) {
    std::int64_t k = 0;
    do {
      add<kLanes, 1>(depth - k < kLanes ? depth - k : kLanes, a.at(0, k / kLanes), b.at(k, block), b.rows * kLanes);
    } while ((k += kLanes) < depth);
  }
};

// Calls body(block, vectors) for all blocks, two vectors at a time; `vectors` is an integral constant.
template <class Body>
inline void for_block_pairs(std::int64_t blocks, Body body) {
  std::int64_t b = 0;
  for (; b + 2 <= blocks; b += 2) body(b, Count<2>{});
  if (b < blocks) body(b, Count<1>{});
}

// Calls body(first row, rows there are, rows of the tile) for `n` rows: whole tiles, then the smallest that holds what is left.
template <class Body>
inline void for_row_tiles(std::int64_t n, Body body) {
  std::int64_t i = 0;
  for (; i + kTileRows <= n; i += kTileRows) body(i, std::int64_t{kTileRows}, Count<kTileRows>{});
  const std::int64_t left = n - i;
  if (left > kTileRows * 2 / 3) body(i, left, Count<kTileRows>{});
  else if (left > kTileRows / 3) body(i, left, Count<kTileRows * 2 / 3>{});
  else if (left > 1) body(i, left, Count<kTileRows / 3>{});
  else if (left == 1) body(i, left, Count<1>{});
}

// One head's columns of one list's rows, with the null row last.
struct HeadRows {
  const float* rows;       // first row, first column of the head
  const float* null_row;   // or null
  std::int64_t count;      // without the null row
  std::int64_t stride;     // columns of the whole matrix
  const float* operator[](std::int64_t j) const { return j < count ? rows + j * stride : null_row; }
};

// panel (n, width) = factor * rows first .. first + have - 1, zeros below and to the right.
inline void pack_rows(const HeadRows& from, std::int64_t first, std::int64_t have, std::int64_t n, std::int64_t width, float factor, Panel panel) {
  for_vectors(width, [&](std::int64_t c, std::int64_t columns) {
    float* to = panel.at(0, c / kLanes);
    for (std::int64_t j = 0; j < have; ++j) store(to + j * kLanes, get(from[first + j] + c, columns) * factor);
    zero(to + have * kLanes, (n - have) * kLanes);
  });
}

// panel (width, n) = the same rows transposed, zeros to the right.
inline void pack_transposed(const HeadRows& from, std::int64_t first, std::int64_t n, std::int64_t width, Panel panel) {
  for (std::int64_t j = 0; j < n; j += kLanes) {
    for_vectors(width, [&](std::int64_t c, std::int64_t columns) {
      F square[kLanes];
      for (std::int64_t r = 0; r < kLanes; ++r) square[r] = j + r < n ? get(from[first + j + r] + c, columns) : F{};
      transpose(square);
      for (std::int64_t r = 0; r < columns; ++r) store(panel.at(c + r, j / kLanes), square[r]);
    });
  }
}

// What backward needs of one query's softmax: p_j = 2^(s_j + minus_shift) * factor, s_j the score times log2(e)
struct Softmax {
  float minus_shift, factor;
};

struct AttentionShape {
  std::int64_t d, heads, width;         // width = d / heads
  std::int64_t most_queries, most_keys;  // of any list, with the null row
  bool null_slot;
  float scale;         // of the scores: 1 / sqrt(width)
  float binary_scale;  // and with log2(e): e^(scale * s) = 2^(binary_scale * s)
};

inline void set_scale(AttentionShape& s) {
  s.scale = 1.0f / __builtin_sqrtf(static_cast<float>(s.width));
  s.binary_scale = s.scale * 1.44269504f;
}

inline AttentionShape attention_shape(const Node& node) {
  const auto& args = args_of<AttentionArgs>(node);
  AttentionShape s{};
  s.d = cols_of(node.output);
  s.heads = args.heads;
  s.width = s.d / s.heads;
  s.null_slot = node.inputs[3] != nullptr;
  for (std::int32_t l = 0; l < args.keys.lists; ++l) {
    const std::int64_t keys = args.keys.offsets[l + 1] - args.keys.offsets[l] + (s.null_slot ? 1 : 0);
    const std::int64_t queries = args.queries.offsets[l + 1] - args.queries.offsets[l];
    if (keys > s.most_keys) s.most_keys = keys;
    if (queries > s.most_queries) s.most_queries = queries;
  }
  set_scale(s);
  return s;
}

// A list with both queries and keys, and one of its heads.
struct HeadOfList {
  std::int64_t q_begin, q_end, k_begin, k_end;
  std::int64_t keys;    // with the null row
  std::int64_t head, column;

  HeadRows queries(const AttentionShape& s, const float* x) const { return {x + q_begin * s.d + column, nullptr, q_end - q_begin, s.d}; }
  HeadRows slots(const AttentionShape& s, const TensorRecord* x, const TensorRecord* null_row) const {
    const float* null_value = optional_value_of(null_row);
    return {value_of(x) + k_begin * s.d + column, null_value == nullptr ? nullptr : null_value + column, k_end - k_begin, s.d};
  }
};

// Calls body(HeadOfList) for each that has anything to compute.
template <class Body>
inline void for_heads_of_lists(const AttentionArgs& args, const AttentionShape& shape, Body body) {
  for (std::int32_t l = 0; l < args.queries.lists; ++l) {
    HeadOfList at{args.queries.offsets[l], args.queries.offsets[l + 1], args.keys.offsets[l], args.keys.offsets[l + 1], 0, 0, 0};
    at.keys = at.k_end - at.k_begin + (shape.null_slot ? 1 : 0);
    if (at.keys == 0 || at.q_begin == at.q_end) continue;
    for (; at.head < shape.heads; ++at.head, at.column += shape.width) body(at);
  }
}

}  // namespace
}  // namespace piano
