// embedding_sum: out_r = weight * sum over the ids t of bag r of table_t, weight = 1 (sum) or 1 / size of the bag (mean).
#pragma once

#include "engine/core/parameters.h"
#include "engine/ref/matrix.h"

namespace piano {
namespace {

struct Bag {
  const std::int32_t* ids;
  std::int64_t size;
  double weight;
};

inline Bag bag_of(const EmbeddingSumArgs& a, std::int64_t r) {
  if (a.bags.offsets == nullptr) return {a.bags.ids + r, 1, 1};
  const std::int64_t begin = a.bags.offsets[r], size = a.bags.offsets[r + 1] - begin;
  return {a.bags.ids + begin, size, a.pooling == Pooling::mean && size > 0 ? 1.0 / double(size) : 1.0};
}

template <class T>
void embedding_sum_forward(const Context&, Node& node) {
  const auto table = value<T>(node.inputs[0]);  // (vocabulary, d)
  const auto out = value<T>(node.output);       // (bags, d)
  for (std::int64_t r = 0; r < out.rows; ++r) {
    const Bag bag = bag_of(args<EmbeddingSumArgs>(node), r);
    for (std::int64_t c = 0; c < out.cols; ++c) {
      double sum = 0;
      for (std::int64_t t = 0; t < bag.size; ++t) sum += table(bag.ids[t], c);
      out(r, c) = static_cast<T>(bag.weight * sum);
    }
  }
}

template <class T>
void embedding_sum_backward(const Context&, Node& node) {
  const auto dout = grad<T>(node.output);
  for (std::int64_t r = 0; r < dout.rows; ++r) {
    const Bag bag = bag_of(args<EmbeddingSumArgs>(node), r);
    for (std::int64_t t = 0; t < bag.size; ++t) {
      add_scaled(static_cast<T*>(node.inputs[0]->row_grads->at(bag.ids[t])), dout.row(r), dout.cols, bag.weight);
    }
  }
}

}  // namespace
}  // namespace piano
