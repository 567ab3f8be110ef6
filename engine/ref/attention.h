// attention, one (list, head, query) at a time (Vaswani et al. 2017, eq. 1):
//   s_j = q . k_j / sqrt(d_head),  p = softmax(s),  out = sum_j p_j v_j
// over the keys j of the query's own list and, when given, the null slot as one more key after them.
#pragma once

#include <cmath>

#include "engine/ref/matrix.h"

namespace piano {
namespace {

// The rows of k or v (or of their gradients) that the queries of one list see, cut to one head's columns.
template <class T>
struct Slots {
  Matrix<T> rows;
  T* null = nullptr;
  std::int64_t begin = 0, size = 0, column = 0;  // size counts the list's own keys, without the null slot

  T* operator()(std::int64_t j) const { return (j < size ? rows.row(begin + j) : null) + column; }
};

// p_j for the query q over n slots, into p.
template <class T>
void attention_weights(const T* q, const Slots<T>& k, std::int64_t n, std::int64_t width, double* p) {
  const double scale = 1 / std::sqrt(double(width));
  double highest = -INFINITY, sum = 0;
  for (std::int64_t j = 0; j < n; ++j) highest = std::max(highest, p[j] = scale * dot(q, k(j), width));
  for (std::int64_t j = 0; j < n; ++j) sum += p[j] = std::exp(p[j] - highest);
  for (std::int64_t j = 0; j < n; ++j) p[j] /= sum;
}

// Calls f(query row, first column of the head, begin and size of the query's keys) for each query and head.
template <class F>
void for_each_query_and_head(const AttentionArgs& a, std::int64_t width, F f) {
  for (std::int32_t l = 0; l < a.queries.lists; ++l) {
    for (std::int64_t i = a.queries.begin(l); i < a.queries.end(l); ++i) {
      for (std::int64_t h = 0; h < a.heads; ++h) f(i, h * width, std::int64_t{a.keys.begin(l)}, std::int64_t{a.keys.size(l)});
    }
  }
}

inline std::int64_t longest_list(Ragged lists) {
  std::int64_t n = 0;
  for (std::int32_t l = 0; l < lists.lists; ++l) n = std::max<std::int64_t>(n, lists.size(l));
  return n;
}

template <class T>
void attention_forward(const Context& context, Node& node) {
  const auto& a = args<AttentionArgs>(node);
  const auto q = value<T>(node.inputs[0]), k = value<T>(node.inputs[1]), v = value<T>(node.inputs[2]);
  const auto null_k = value<T>(node.inputs[3]), null_v = value<T>(node.inputs[4]), out = value<T>(node.output);
  const std::int64_t width = q.cols / a.heads;
  double* p = context.arena->array<double>(longest_list(a.keys) + 1);
  zero(out);
  for_each_query_and_head(a, width, [&](std::int64_t i, std::int64_t column, std::int64_t begin, std::int64_t size) {
    const Slots<T> keys{k, null_k.data, begin, size, column}, values{v, null_v.data, begin, size, column};
    const std::int64_t n = size + (null_k ? 1 : 0);
    attention_weights(q.row(i) + column, keys, n, width, p);
    for (std::int64_t c = 0; c < width; ++c) {
      double sum = 0;
      for (std::int64_t j = 0; j < n; ++j) sum += p[j] * values(j)[c];
      out(i, column + c) = static_cast<T>(sum);
    }
  });
}

// With e_j = dout . v_j:  dv_j += p_j dout;  ds_j = p_j (e_j - sum_m p_m e_m);
// dq += sum_j ds_j k_j / sqrt(d_head);  dk_j += ds_j q / sqrt(d_head)
template <class T>
void attention_backward(const Context& context, Node& node) {
  const auto& a = args<AttentionArgs>(node);
  const auto q = value<T>(node.inputs[0]), k = value<T>(node.inputs[1]), v = value<T>(node.inputs[2]);
  const auto null_k = value<T>(node.inputs[3]), null_v = value<T>(node.inputs[4]);
  const auto dq = grad<T>(node.inputs[0]), dk = grad<T>(node.inputs[1]), dv = grad<T>(node.inputs[2]);
  const auto dnull_k = grad<T>(node.inputs[3]), dnull_v = grad<T>(node.inputs[4]), dout = grad<T>(node.output);
  const std::int64_t width = q.cols / a.heads;
  const double scale = 1 / std::sqrt(double(width));
  double* p = context.arena->array<double>(longest_list(a.keys) + 1);
  double* e = context.arena->array<double>(longest_list(a.keys) + 1);
  for_each_query_and_head(a, width, [&](std::int64_t i, std::int64_t column, std::int64_t begin, std::int64_t size) {
    const Slots<T> keys{k, null_k.data, begin, size, column}, values{v, null_v.data, begin, size, column};
    const Slots<T> dkeys{dk, dnull_k.data, begin, size, column}, dvalues{dv, dnull_v.data, begin, size, column};
    const std::int64_t n = size + (null_k ? 1 : 0);
    const T *query = q.row(i) + column, *dresult = dout.row(i) + column;
    attention_weights(query, keys, n, width, p);
    double mean = 0;
    for (std::int64_t j = 0; j < n; ++j) mean += p[j] * (e[j] = dot(dresult, values(j), width));
    for (std::int64_t j = 0; j < n; ++j) {
      const double ds = p[j] * (e[j] - mean);
      const bool is_null = j == size;
      if (is_null ? bool(dnull_v) : bool(dv)) add_scaled(dvalues(j), dresult, width, p[j]);
      if (is_null ? bool(dnull_k) : bool(dk)) add_scaled(dkeys(j), query, width, ds * scale);
      if (dq) add_scaled(dq.row(i) + column, keys(j), width, ds * scale);
    }
  });
}

}  // namespace
}  // namespace piano
