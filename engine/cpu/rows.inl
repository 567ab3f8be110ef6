// Ops that move whole rows: embedding_sum, gather_rows, concat, prepend_row, segment_mean, weighted_sum.
#pragma once

#include "engine/core/parameters.h"
#include "engine/cpu/node.inl"

namespace piano {
namespace {

struct Bag {
  const std::int32_t* ids;
  std::int32_t count;
};

inline Bag bag_of(const Bags& bags, std::int64_t row) {
  if (bags.offsets == nullptr) return {bags.ids + row, 1};
  return {bags.ids + bags.offsets[row], bags.offsets[row + 1] - bags.offsets[row]};
}

inline float bag_factor(const EmbeddingSumArgs& args, const Bag& bag) {
  return args.pooling == Pooling::mean && bag.count > 0 ? 1.0f / static_cast<float>(bag.count) : 1.0f;
}

// Rows fetched ahead: a row of a table lies anywhere in memory.
constexpr std::int64_t kRowsAhead = 8;

inline std::int64_t ids_of(const Bags& bags) { return bags.offsets == nullptr ? bags.rows : bags.offsets[bags.rows]; }

// inputs: table (vocabulary, d)
void embedding_sum_forward(const Context&, Node& node) {
  const auto& args = args_of<EmbeddingSumArgs>(node);
  const float* table = value_of(node.inputs[0]);
  const std::int64_t d = cols_of(node.output);
  const std::int32_t* end = args.bags.ids + ids_of(args.bags);
  for (std::int64_t r = 0; r < args.bags.rows; ++r) {
    float* to = value_of(node.output) + r * d;
    const Bag bag = bag_of(args.bags, r);
    zero(to, d);
    for (const std::int32_t* id = bag.ids; id < bag.ids + bag.count; ++id) {
      if (id + kRowsAhead < end) {
        for (std::int64_t c = 0; c < d; c += 16) __builtin_prefetch(table + id[kRowsAhead] * d + c);
      }
      add_to(to, table + *id * d, d);
    }
    if (const float factor = bag_factor(args, bag); factor != 1.0f) {
      for (std::int64_t c = 0; c < d; ++c) to[c] *= factor;
    }
  }
}

void embedding_sum_backward(const Context&, Node& node) {
  const auto& args = args_of<EmbeddingSumArgs>(node);
  TensorRecord* table = node.inputs[0];
  if (!table->requires_grad) return;
  const float* dy = static_cast<const float*>(node.output->grad);
  const std::int64_t d = cols_of(node.output);
  const std::int32_t* end = args.bags.ids + ids_of(args.bags);
  for (std::int64_t r = 0; r < args.bags.rows; ++r) {
    const Bag bag = bag_of(args.bags, r);
    const float factor = bag_factor(args, bag);
    for (const std::int32_t* id = bag.ids; id < bag.ids + bag.count; ++id) {
      if (table->row_grads != nullptr && id + kRowsAhead < end) table->row_grads->prefetch(id[kRowsAhead]);
      auto* to = table->row_grads != nullptr ? static_cast<float*>(table->row_grads->at(*id)) : static_cast<float*>(table->grad) + *id * d;
      add_scaled_to(to, dy + r * d, factor, d);
    }
  }
}

// inputs: x (rows, d) -> (index.size(), d)
void gather_rows_forward(const Context&, Node& node) {
  const auto& index = args_of<GatherRowsArgs>(node).index;
  const std::int64_t d = cols_of(node.output), n = rows_of(node.output);
  const std::int32_t* from = index.data();
  for (std::int64_t r = 0; r < n; ++r) copy(value_of(node.output) + r * d, value_of(node.inputs[0]) + from[r] * d, d);
}

void gather_rows_backward(const Context&, Node& node) {
  const auto& index = args_of<GatherRowsArgs>(node).index;
  const std::int64_t d = cols_of(node.output), n = rows_of(node.output);
  const std::int32_t* from = index.data();
  float* dx = grad_of(node.inputs[0]);
  if (dx == nullptr) return;
  for (std::int64_t r = 0; r < n; ++r) add_to(dx + from[r] * d, static_cast<const float*>(node.output->grad) + r * d, d);
}

// inputs: any number of (rows, d_i), absent ones null -> (rows, sum d_i)
void concat_forward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  float* to = value_of(node.output);
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    if (node.inputs[i] == nullptr) continue;
    const float* from = value_of(node.inputs[i]);
    const std::int64_t width = cols_of(node.inputs[i]);
    for (std::int64_t r = 0; r < rows; ++r) copy(to + r * d, from + r * width, width);
    to += width;
  }
}

void concat_backward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  const float* from = static_cast<const float*>(node.output->grad);
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    if (node.inputs[i] == nullptr) continue;
    const std::int64_t width = cols_of(node.inputs[i]);
    if (float* dx = grad_of(node.inputs[i]); dx != nullptr) {
      for (std::int64_t r = 0; r < rows; ++r) pass_to(dx + r * width, from + r * d, width, is_fresh(node, i));
    }
    from += width;
  }
}

// inputs: first (lists, d), x (rows, d) -> (rows + lists, d): list l begins at row begin(l) + l
void prepend_row_forward(const Context&, Node& node) {
  const Ragged& lists = args_of<PrependRowArgs>(node).lists;
  const std::int64_t d = cols_of(node.output);
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const std::int64_t begin = lists.offsets[l], end = lists.offsets[l + 1];
    float* to = value_of(node.output) + (begin + l) * d;
    copy(to, value_of(node.inputs[0]) + l * d, d);
    if (begin < end) copy(to + d, value_of(node.inputs[1]) + begin * d, (end - begin) * d);
  }
}

void prepend_row_backward(const Context&, Node& node) {
  const Ragged& lists = args_of<PrependRowArgs>(node).lists;
  const std::int64_t d = cols_of(node.output);
  float* dfirst = grad_of(node.inputs[0]);
  float* dx = grad_of(node.inputs[1]);
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const std::int64_t begin = lists.offsets[l], end = lists.offsets[l + 1];
    const float* from = static_cast<const float*>(node.output->grad) + (begin + l) * d;
    if (dfirst != nullptr) pass_to(dfirst + l * d, from, d, is_fresh(node, 0));
    if (dx != nullptr && begin < end) pass_to(dx + begin * d, from + d, (end - begin) * d, is_fresh(node, 1));
  }
}

// inputs: x (rows, d) -> (lists, d); zeros for an empty list
void segment_mean_forward(const Context&, Node& node) {
  const Ragged& lists = args_of<SegmentMeanArgs>(node).lists;
  const std::int64_t d = cols_of(node.output);
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const std::int64_t begin = lists.offsets[l], end = lists.offsets[l + 1];
    float* to = value_of(node.output) + l * d;
    zero(to, d);
    for (std::int64_t r = begin; r < end; ++r) add_to(to, value_of(node.inputs[0]) + r * d, d);
    const float factor = begin < end ? 1.0f / static_cast<float>(end - begin) : 0.0f;
    for (std::int64_t c = 0; c < d; ++c) to[c] *= factor;
  }
}

void segment_mean_backward(const Context&, Node& node) {
  const Ragged& lists = args_of<SegmentMeanArgs>(node).lists;
  const std::int64_t d = cols_of(node.output);
  float* dx = grad_of(node.inputs[0]);
  if (dx == nullptr) return;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const std::int64_t begin = lists.offsets[l], end = lists.offsets[l + 1];
    const float* from = static_cast<const float*>(node.output->grad) + l * d;
    for (std::int64_t r = begin; r < end; ++r) add_scaled_to(dx + r * d, from, 1.0f / static_cast<float>(end - begin), d);
  }
}

// inputs: x (rows, d), w (rows, heads) -> (lists * heads, d); zeros for an empty list
void weighted_sum_forward(const Context&, Node& node) {
  const Ragged& lists = args_of<WeightedSumArgs>(node).lists;
  const std::int64_t d = cols_of(node.output), heads = cols_of(node.inputs[1]);
  const float* w = value_of(node.inputs[1]);
  zero(value_of(node.output), elements_of(node.output));
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    for (std::int64_t r = lists.offsets[l]; r < lists.offsets[l + 1]; ++r) {
      for (std::int64_t h = 0; h < heads; ++h) {
        add_scaled_to(value_of(node.output) + (l * heads + h) * d, value_of(node.inputs[0]) + r * d, w[r * heads + h], d);
      }
    }
  }
}

// dx_r += sum_h w_{r, h} dout_{l, h};  dw_{r, h} += x_r . dout_{l, h}
void weighted_sum_backward(const Context&, Node& node) {
  const Ragged& lists = args_of<WeightedSumArgs>(node).lists;
  const std::int64_t d = cols_of(node.output), heads = cols_of(node.inputs[1]);
  const float* x = value_of(node.inputs[0]);
  const float* w = value_of(node.inputs[1]);
  float* dx = grad_of(node.inputs[0]);
  float* dw = grad_of(node.inputs[1]);
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    for (std::int64_t r = lists.offsets[l]; r < lists.offsets[l + 1]; ++r) {
      for (std::int64_t h = 0; h < heads; ++h) {
        const float* from = static_cast<const float*>(node.output->grad) + (l * heads + h) * d;
        if (dx != nullptr) add_scaled_to(dx + r * d, from, w[r * heads + h], d);
        if (dw != nullptr) dw[r * heads + h] += dot_of(x + r * d, from, d);
      }
    }
  }
}

}  // namespace
}  // namespace piano
