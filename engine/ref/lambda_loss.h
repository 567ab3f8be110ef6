// lambda_loss: pairs of a list, weighted by what exchanging them would do to NDCG. Scratch comes from the arena: training runs these loops too.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/ref/matrix.h"
#include "engine/ref/scalar_functions.h"

namespace piano {
namespace {

// ranks[i] of the i-th of n values, 0 for the largest; equal ones in their order. A value that is not a number is the smallest: the loss says it.
template <class T>
void ranks_of(const T* values, std::int32_t n, std::int32_t* order, std::int32_t* ranks) {
  for (std::int32_t i = 0; i < n; ++i) order[i] = i;
  const auto key = [&](std::int32_t i) { return std::isnan(values[i]) ? -std::numeric_limits<T>::infinity() : values[i]; };
  std::sort(order, order + n, [&](std::int32_t a, std::int32_t b) { return key(a) != key(b) ? key(a) > key(b) : a < b; });
  for (std::int32_t r = 0; r < n; ++r) ranks[order[r]] = r;
}

inline double discount(double rank) { return 1 / std::log2(1 + rank); }  // from 1

// Calls f(i, j, weight) for each pair t_i > t_j of each list, weight = (t_i - t_j) / maxDCG * |1 / D(r) - 1 / D(r + 1)|.
template <class T, class F>
void for_each_pair(const Context& context, Node& node, F f) {
  const auto s = value<T>(node.inputs[0]), t = value<T>(node.inputs[1]);
  const Ragged lists = args<LambdaLossArgs>(node).lists;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const std::int32_t begin = lists.begin(l), n = lists.size(l);
    auto* order = context.arena->array<std::int32_t>(std::max(n, 1));
    auto* ranks = context.arena->array<std::int32_t>(std::max(n, 1));
    ranks_of(t.data + begin, n, order, ranks);
    double most = 0;
    for (std::int32_t i = 0; i < n; ++i) most += t.data[begin + i] * discount(ranks[i] + 1);
    if (!(most > 0)) continue;
    ranks_of(s.data + begin, n, order, ranks);
    for (std::int32_t i = 0; i < n; ++i) {
      for (std::int32_t j = 0; j < n; ++j) {
        const double gain = double(t.data[begin + i]) - t.data[begin + j];
        if (!(gain > 0)) continue;
        const double r = std::abs(ranks[i] - ranks[j]);
        f(begin + i, begin + j, gain / most * (discount(r) - discount(r + 1)));
      }
    }
  }
}

template <class T>
void lambda_loss_forward(const Context& context, Node& node) {
  const auto s = value<T>(node.inputs[0]);
  double loss = 0;
  for_each_pair<T>(context, node, [&](std::int32_t i, std::int32_t j, double weight) {
    loss += weight * softplus(double(s.data[j]) - s.data[i]) / std::log(2.0);
  });
  value<T>(node.output).data[0] = static_cast<T>(loss);
}

// d log2(1 + exp(s_j - s_i)) / ds_j = s(s_j - s_i) / log 2, and its negative for s_i
template <class T>
void lambda_loss_backward(const Context& context, Node& node) {
  const auto s = value<T>(node.inputs[0]), ds = grad<T>(node.inputs[0]);
  const double dout = grad<T>(node.output).data[0];
  for_each_pair<T>(context, node, [&](std::int32_t i, std::int32_t j, double weight) {
    const double slope = dout * weight * sigmoid(double(s.data[j]) - s.data[i]) / std::log(2.0);
    ds.data[j] += static_cast<T>(slope);
    ds.data[i] -= static_cast<T>(slope);
  });
}

}  // namespace
}  // namespace piano
