// Attention of one query a list, in parts: split_heads, merge_heads, attention_weights, match_sum.
#pragma once

#include <cmath>

#include "engine/ref/attention.h"

namespace piano {
namespace {

// Calls f(row, head, column, row of the split matrix) for each element of x (rows, d).
template <class F>
void for_each_split(std::int64_t rows, std::int64_t d, std::int64_t heads, F f) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < d; ++c) f(r, c, r * heads + c / (d / heads));
  }
}

template <class T>
void split_heads_forward(const Context&, Node& node) {
  const auto& a = args<HeadsArgs>(node);
  const auto x = value<T>(node.inputs[0]), out = value<T>(node.output);
  zero(out);
  for_each_split(x.rows, x.cols, a.heads, [&](auto r, auto c, auto split) { out(split, c) = static_cast<T>(a.factor * x(r, c)); });
}

template <class T>
void split_heads_backward(const Context&, Node& node) {
  const auto& a = args<HeadsArgs>(node);
  const auto dx = grad<T>(node.inputs[0]), dout = grad<T>(node.output);
  for_each_split(dx.rows, dx.cols, a.heads, [&](auto r, auto c, auto split) { dx(r, c) += static_cast<T>(a.factor * dout(split, c)); });
}

template <class T>
void merge_heads_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), out = value<T>(node.output);
  for_each_split(out.rows, out.cols, args<HeadsArgs>(node).heads, [&](auto r, auto c, auto split) { out(r, c) = x(split, c); });
}

template <class T>
void merge_heads_backward(const Context&, Node& node) {
  const auto dx = grad<T>(node.inputs[0]), dout = grad<T>(node.output);
  for_each_split(dout.rows, dout.cols, args<HeadsArgs>(node).heads, [&](auto r, auto c, auto split) { dx(split, c) += dout(r, c); });
}

// p_j = softmax_j(q . k_j) over the list's keys and the null slot, which is not written.
template <class T>
void attention_weights_forward(const Context& context, Node& node) {
  const auto& a = args<AttentionWeightsArgs>(node);
  const auto q = value<T>(node.inputs[0]), k = value<T>(node.inputs[1]), null = value<T>(node.inputs[2]), out = value<T>(node.output);
  double* p = context.arena->array<double>(longest_list(a.keys));
  for (std::int64_t row = 0; row < q.rows; ++row) {
    const auto l = static_cast<std::int32_t>(row / a.heads);
    const std::int64_t begin = a.keys.begin(l), n = a.keys.size(l);
    double highest = null ? double(null.data[row]) : -INFINITY;
    for (std::int64_t j = 0; j < n; ++j) highest = std::max(highest, p[j] = dot(q.row(row), k.row(begin + j), q.cols));
    double sum = null ? std::exp(double(null.data[row]) - highest) : 0;
    for (std::int64_t j = 0; j < n; ++j) sum += p[j] = std::exp(p[j] - highest);
    for (std::int64_t j = 0; j < n; ++j) out(begin + j, row % a.heads) = static_cast<T>(p[j] / sum);
  }
}

// ds_j = p_j (dp_j - sum_m p_m dp_m), for the null slot dp = 0 and p = 1 - sum_m p_m;  dq += sum_j ds_j k_j;  dk_j += ds_j q
template <class T>
void attention_weights_backward(const Context&, Node& node) {
  const auto& a = args<AttentionWeightsArgs>(node);
  const auto q = value<T>(node.inputs[0]), k = value<T>(node.inputs[1]), p = value<T>(node.output), dp = grad<T>(node.output);
  const auto dq = grad<T>(node.inputs[0]), dk = grad<T>(node.inputs[1]), dnull = grad<T>(node.inputs[2]);
  for (std::int64_t row = 0; row < q.rows; ++row) {
    const auto l = static_cast<std::int32_t>(row / a.heads);
    const std::int64_t h = row % a.heads;
    double mean = 0, rest = 1;
    for (std::int64_t j = a.keys.begin(l); j < a.keys.end(l); ++j) mean += double(p(j, h)) * double(dp(j, h)), rest -= double(p(j, h));
    for (std::int64_t j = a.keys.begin(l); j < a.keys.end(l); ++j) {
      const double ds = double(p(j, h)) * (double(dp(j, h)) - mean);
      if (dq) add_scaled(dq.row(row), k.row(j), k.cols, ds);
      if (dk) add_scaled(dk.row(j), q.row(row), k.cols, ds);
    }
    if (dnull) dnull.data[row] -= static_cast<T>(rest * mean);
  }
}

// Calls f(row, column of the output, key, head) for each match and head.
template <class F>
void for_each_match(const MatchSumArgs& a, std::int64_t heads, F f) {
  for (std::int32_t x = 0; x < a.matches.size(); ++x) {
    for (std::int64_t h = 0; h < heads; ++h) f(a.matches.rows[x], h * a.columns + a.matches.columns[x], a.matches.keys[x], h);
  }
}

template <class T>
void match_sum_forward(const Context&, Node& node) {
  const auto p = value<T>(node.inputs[0]), out = value<T>(node.output);
  zero(out);
  for_each_match(args<MatchSumArgs>(node), p.cols, [&](auto row, auto column, auto key, auto h) { out(row, column) += p(key, h); });
}

template <class T>
void match_sum_backward(const Context&, Node& node) {
  const auto dp = grad<T>(node.inputs[0]), dout = grad<T>(node.output);
  for_each_match(args<MatchSumArgs>(node), dp.cols, [&](auto row, auto column, auto key, auto h) { dp(key, h) += dout(row, column); });
}

}  // namespace
}  // namespace piano
