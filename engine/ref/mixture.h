// mixture: out_r = sum_e softmax_e(gates_r) x_r,e, the experts' rows x_r,e side by side in x_r.
#pragma once

#include <cmath>
#include <vector>

#include "engine/ref/matrix.h"

namespace piano {
namespace {

template <class T>
std::vector<double> softmax_of(const T* gates, std::int64_t experts) {
  std::vector<double> p(gates, gates + experts);
  const double highest = *std::max_element(p.begin(), p.end());
  double sum = 0;
  for (double& v : p) sum += v = std::exp(v - highest);
  for (double& v : p) v /= sum;
  return p;
}

template <class T>
void mixture_forward(const Context&, Node& node) {
  const auto gates = value<T>(node.inputs[0]), x = value<T>(node.inputs[1]), out = value<T>(node.output);
  for (std::int64_t r = 0; r < out.rows; ++r) {
    const std::vector<double> p = softmax_of(gates.row(r), gates.cols);
    for (std::int64_t c = 0; c < out.cols; ++c) {
      double sum = 0;
      for (std::int64_t e = 0; e < gates.cols; ++e) sum += p[static_cast<std::size_t>(e)] * x(r, e * out.cols + c);
      out(r, c) = static_cast<T>(sum);
    }
  }
}

// dx_r,e += p_e dout_r;  dp_e = dout_r . x_r,e;  dgate_e += p_e (dp_e - sum_k p_k dp_k)
template <class T>
void mixture_backward(const Context&, Node& node) {
  const auto gates = value<T>(node.inputs[0]), x = value<T>(node.inputs[1]), dgates = grad<T>(node.inputs[0]), dx = grad<T>(node.inputs[1]);
  const auto dout = grad<T>(node.output);
  for (std::int64_t r = 0; r < dout.rows; ++r) {
    const std::vector<double> p = softmax_of(gates.row(r), gates.cols);
    double mean = 0;
    const auto dp = [&](std::int64_t e) { return dot(dout.row(r), x.row(r) + e * dout.cols, dout.cols); };
    for (std::int64_t e = 0; e < gates.cols; ++e) mean += p[static_cast<std::size_t>(e)] * dp(e);
    for (std::int64_t e = 0; e < gates.cols; ++e) {
      const double share = p[static_cast<std::size_t>(e)];
      if (dx) add_scaled(dx.row(r) + e * dout.cols, dout.row(r), dout.cols, share);
      if (dgates) dgates(r, e) += static_cast<T>(share * (dp(e) - mean));
    }
  }
}

}  // namespace
}  // namespace piano
