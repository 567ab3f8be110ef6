// The losses: weighted sums over rows of a term, and its derivative in closed form. s is the sigmoid.
#pragma once

#include <cmath>

#include "engine/ref/matrix.h"
#include "engine/ref/scalar_functions.h"

namespace piano {
namespace {

// -[y log s(x) + (1 - y) log(1 - s(x))] = softplus(x) - x y;  derivative s(x) - y
struct BceWithLogits {
  static double term(double x, double y) { return softplus(x) - x * y; }
  static double slope(double x, double y) { return sigmoid(x) - y; }
};

// rate - y log(rate), rate = softplus(x);  derivative s(x) - y s(x) / softplus(x)
struct PoissonNll {
  static double term(double x, double y) { return softplus(x) - y * log_softplus(x); }
  static double slope(double x, double y) { return sigmoid(x) - y * log_softplus_slope(x); }
};

// out = sum_r w_r term(x_r, y_r)
template <class T, class Loss>
void pointwise_loss_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), y = value<T>(node.inputs[1]), w = value<T>(node.inputs[2]);
  double sum = 0;
  for (std::int64_t r = 0; r < x.rows; ++r) sum += w.data[r] * Loss::term(x.data[r], y.data[r]);
  value<T>(node.output).data[0] = static_cast<T>(sum);
}

template <class T, class Loss>
void pointwise_loss_backward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), y = value<T>(node.inputs[1]), w = value<T>(node.inputs[2]), dx = grad<T>(node.inputs[0]);
  const double dout = grad<T>(node.output).data[0];
  for (std::int64_t r = 0; r < x.rows; ++r) dx.data[r] += static_cast<T>(dout * w.data[r] * Loss::slope(x.data[r], y.data[r]));
}

// log(exp(-a) + exp(-b) + exp(-a-b)): the log odds against s(a)s(b), that is log((1 - P) / P) for P = s(a)s(b)
inline double log_odds_against(double a, double b) {
  const double highest = std::max({-a, -b, -a - b});
  return highest + std::log(std::exp(-a - highest) + std::exp(-b - highest) + std::exp(-a - b - highest));
}

// -[y log P + (1 - y) log(1 - P)], log P = log s(a) + log s(b), log(1 - P) = log_odds_against + log P
inline double product_bce_term(double a, double b, double y) {
  return -(log_sigmoid(a) + log_sigmoid(b)) - (1 - y) * log_odds_against(a, b);
}

// d/da: since dP/da = P s(-a), it is (1 - y) s(-a) P / (1 - P) - y s(-a). The first product is taken in log space: its factors
// overflow and vanish for a large a, and it lies in (0, 1).
inline double product_bce_slope(double a, double b, double y) {
  return (1 - y) * std::exp(log_sigmoid(-a) - log_odds_against(a, b)) - y * sigmoid(-a);
}

template <class T>
void product_bce_forward(const Context&, Node& node) {
  const auto a = value<T>(node.inputs[0]), b = value<T>(node.inputs[1]), y = value<T>(node.inputs[2]), w = value<T>(node.inputs[3]);
  double sum = 0;
  for (std::int64_t r = 0; r < a.rows; ++r) sum += w.data[r] * product_bce_term(a.data[r], b.data[r], y.data[r]);
  value<T>(node.output).data[0] = static_cast<T>(sum);
}

template <class T>
void product_bce_backward(const Context&, Node& node) {
  const auto a = value<T>(node.inputs[0]), b = value<T>(node.inputs[1]), y = value<T>(node.inputs[2]), w = value<T>(node.inputs[3]);
  const auto da = grad<T>(node.inputs[0]), db = grad<T>(node.inputs[1]);
  const double dout = grad<T>(node.output).data[0];
  for (std::int64_t r = 0; r < a.rows; ++r) {
    if (da) da.data[r] += static_cast<T>(dout * w.data[r] * product_bce_slope(a.data[r], b.data[r], y.data[r]));
    if (db) db.data[r] += static_cast<T>(dout * w.data[r] * product_bce_slope(b.data[r], a.data[r], y.data[r]));
  }
}

// What softmax cross-entropy needs to know of one list.
struct ListTargets {
  double total = 0;       // sum of the targets; a list without any is skipped
  double normaliser = 0;  // logsumexp of the scores
};

template <class T>
ListTargets list_targets(Matrix<T> s, Matrix<T> t, std::int32_t begin, std::int32_t end) {
  ListTargets list;
  double highest = -INFINITY, sum = 0;
  for (std::int32_t i = begin; i < end; ++i) {
    list.total += t.data[i];
    highest = std::max(highest, double(s.data[i]));
  }
  for (std::int32_t i = begin; i < end; ++i) sum += std::exp(s.data[i] - highest);
  list.normaliser = highest + std::log(sum);
  return list;
}

// sum over lists of -sum_i (t_i / total) (s_i - logsumexp(s))
template <class T>
void softmax_cross_entropy_forward(const Context&, Node& node) {
  const auto s = value<T>(node.inputs[0]), t = value<T>(node.inputs[1]);
  const Ragged lists = args<SoftmaxCrossEntropyArgs>(node).lists;
  double loss = 0;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const ListTargets list = list_targets(s, t, lists.begin(l), lists.end(l));
    if (!(list.total > 0)) continue;
    for (std::int32_t i = lists.begin(l); i < lists.end(l); ++i) loss += t.data[i] / list.total * (list.normaliser - s.data[i]);
  }
  value<T>(node.output).data[0] = static_cast<T>(loss);
}

// ds_i += softmax_i(s) - t_i / total
template <class T>
void softmax_cross_entropy_backward(const Context&, Node& node) {
  const auto s = value<T>(node.inputs[0]), t = value<T>(node.inputs[1]), ds = grad<T>(node.inputs[0]);
  const double dout = grad<T>(node.output).data[0];
  const Ragged lists = args<SoftmaxCrossEntropyArgs>(node).lists;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const ListTargets list = list_targets(s, t, lists.begin(l), lists.end(l));
    if (!(list.total > 0)) continue;
    for (std::int32_t i = lists.begin(l); i < lists.end(l); ++i) {
      ds.data[i] += static_cast<T>(dout * (std::exp(s.data[i] - list.normaliser) - t.data[i] / list.total));
    }
  }
}

// log of the sum of exp(s_j) over the other rows of a list, j != i: what 1 - p_i is made of. At most one row has more than half of the whole
// list's sum: for all others what is left of it, exp(normaliser) - exp(s_i), keeps its digits; for that one the others are added up.
template <class T>
double log_of_others(Matrix<T> s, const ListTargets& list, std::int32_t begin, std::int32_t end, std::int32_t i) {
  const double p = std::exp(s.data[i] - list.normaliser);
  if (p <= 0.5) return list.normaliser + std::log1p(-p);
  double highest = -INFINITY, sum = 0;
  for (std::int32_t j = begin; j < end; ++j) {
    if (j != i) highest = std::max(highest, double(s.data[j]));
  }
  for (std::int32_t j = begin; j < end; ++j) {
    if (j != i) sum += std::exp(s.data[j] - highest);
  }
  return highest + std::log(sum);
}

// sum over lists of -sum_i [a_i log p_i + (1 - a_i) log(1 - p_i)], log(1 - p_i) = log_of_others_i - logsumexp(s)
template <class T>
void attention_rank_loss_forward(const Context&, Node& node) {
  const auto s = value<T>(node.inputs[0]), t = value<T>(node.inputs[1]);
  const Ragged lists = args<AttentionRankLossArgs>(node).lists;
  double loss = 0;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const ListTargets list = list_targets(s, t, lists.begin(l), lists.end(l));
    if (!(list.total > 0) || lists.size(l) < 2) continue;
    for (std::int32_t i = lists.begin(l); i < lists.end(l); ++i) {
      const double a = t.data[i] / list.total;
      loss += a * (list.normaliser - s.data[i]) + (1 - a) * (list.normaliser - log_of_others(s, list, lists.begin(l), lists.end(l), i));
    }
  }
  value<T>(node.output).data[0] = static_cast<T>(loss);
}

// d log p_i / ds_j = [i = j] - p_j;  d log(1 - p_i) / ds_j = [i != j] exp(s_j - others_i) - p_j, others_i = log_of_others.
// So ds_j += n p_j - a_j - sum_{i != j} (1 - a_i) exp(s_j - others_i), n the rows of the list. As exp(s_j - others_i) = p_j / (1 - p_i), that is
// p_j times a sum over the list less j's own share of it; the row with more than half of the list, whose 1 - p_i may be tiny, stays out of the sum.
template <class T>
void attention_rank_loss_backward(const Context&, Node& node) {
  const auto s = value<T>(node.inputs[0]), t = value<T>(node.inputs[1]), ds = grad<T>(node.inputs[0]);
  const double dout = grad<T>(node.output).data[0];
  const Ragged lists = args<AttentionRankLossArgs>(node).lists;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const std::int32_t begin = lists.begin(l), end = lists.end(l);
    const ListTargets list = list_targets(s, t, begin, end);
    if (!(list.total > 0) || lists.size(l) < 2) continue;
    const auto p = [&](std::int32_t i) { return std::exp(s.data[i] - list.normaliser); };
    const auto share = [&](std::int32_t i) { return (1 - t.data[i] / list.total) / (1 - p(i)); };  // 0 .. 2, but for the largest
    std::int32_t largest = -1;
    double sum = 0;
    for (std::int32_t i = begin; i < end; ++i) {
      if (largest < 0 && p(i) > 0.5) largest = i;
      else sum += share(i);
    }
    const double n = lists.size(l), others = largest < 0 ? 0 : log_of_others(s, list, begin, end, largest);
    for (std::int32_t j = begin; j < end; ++j) {
      double slope = n * p(j) - t.data[j] / list.total - p(j) * (j == largest ? sum : sum - share(j));
      if (largest >= 0 && j != largest) slope -= (1 - t.data[largest] / list.total) * std::exp(s.data[j] - others);
      ds.data[j] += static_cast<T>(dout * slope);
    }
  }
}

}  // namespace
}  // namespace piano
