// match_attention, one list and head at a time: p = softmax(q . k_j / sqrt(d_head)) over the list's keys and, when given, the null slot;
// each match (i, j, c) adds p_j to out[i, h * columns + c].
#pragma once

#include <cmath>

#include "engine/ref/attention.h"

namespace piano {
namespace {

// Calls f(list, head, probabilities of the list's keys and the null slot, how many) for each list with matches.
template <class T, class F>
void for_each_list_and_head(const Context& context, const Node& node, F f) {
  const auto& a = args<MatchAttentionArgs>(node);
  const auto q = value<T>(node.inputs[0]), k = value<T>(node.inputs[1]), null_k = value<T>(node.inputs[2]);
  const std::int64_t width = q.cols / a.heads;
  double* p = context.arena->array<double>(longest_list(a.keys) + 1);
  for (std::int32_t l = 0; l < a.keys.lists; ++l) {
    if (a.matches.offsets[l] == a.matches.offsets[l + 1]) continue;
    for (std::int64_t h = 0; h < a.heads; ++h) {
      const Slots<T> keys{k, null_k.data, a.keys.begin(l), a.keys.size(l), h * width};
      const std::int64_t n = keys.size + (null_k ? 1 : 0);
      attention_weights(q.row(l) + h * width, keys, n, width, p);
      f(l, h, p, n);
    }
  }
}

template <class T>
void match_attention_forward(const Context& context, Node& node) {
  const auto& a = args<MatchAttentionArgs>(node);
  const Matches& m = a.matches;
  const auto out = value<T>(node.output);
  zero(out);
  for_each_list_and_head<T>(context, node, [&](std::int32_t l, std::int64_t h, const double* p, std::int64_t) {
    for (std::int32_t x = m.offsets[l]; x < m.offsets[l + 1]; ++x) {
      out(m.rows[x], h * a.columns + m.columns[x]) += static_cast<T>(p[m.keys[x] - a.keys.begin(l)]);
    }
  });
}

// With e_j = the sum of dout over the matches of key j:  ds_j = p_j (e_j - sum_m p_m e_m);
// dq += sum_j ds_j k_j / sqrt(d_head);  dk_j += ds_j q / sqrt(d_head)
template <class T>
void match_attention_backward(const Context& context, Node& node) {
  const auto& a = args<MatchAttentionArgs>(node);
  const Matches& m = a.matches;
  const auto q = value<T>(node.inputs[0]), k = value<T>(node.inputs[1]), null_k = value<T>(node.inputs[2]);
  const auto dq = grad<T>(node.inputs[0]), dk = grad<T>(node.inputs[1]), dnull_k = grad<T>(node.inputs[2]), dout = grad<T>(node.output);
  const std::int64_t width = q.cols / a.heads;
  const double scale = 1 / std::sqrt(double(width));
  double* e = context.arena->array<double>(longest_list(a.keys) + 1);
  for_each_list_and_head<T>(context, node, [&](std::int32_t l, std::int64_t h, const double* p, std::int64_t n) {
    std::fill(e, e + n, 0.0);
    for (std::int32_t x = m.offsets[l]; x < m.offsets[l + 1]; ++x) {
      e[m.keys[x] - a.keys.begin(l)] += double(dout(m.rows[x], h * a.columns + m.columns[x]));
    }
    const std::int64_t begin = a.keys.begin(l), size = a.keys.size(l), column = h * width;
    const Slots<T> keys{k, null_k.data, begin, size, column}, dkeys{dk, dnull_k.data, begin, size, column};
    double mean = 0;
    for (std::int64_t j = 0; j < n; ++j) mean += p[j] * e[j];
    for (std::int64_t j = 0; j < n; ++j) {
      const double ds = p[j] * (e[j] - mean) * scale;
      if (j == size ? bool(dnull_k) : bool(dk)) add_scaled(dkeys(j), q.row(l) + column, width, ds);
      if (dq) add_scaled(dq.row(l) + column, keys(j), width, ds);
    }
  });
}

}  // namespace
}  // namespace piano
