// layer_norm: y_c = h_c gamma_c + beta_c, h_c = (x_c - mean) * rstd, rstd = 1 / sqrt(variance + eps), over each row (Ba et al. 2016).
// The variance is the biased one (divided by d).
#pragma once

#include <cmath>

#include "engine/ref/matrix.h"

namespace piano {
namespace {

struct RowMoments {
  double mean, rstd;
};

template <class T>
RowMoments moments(const T* x, std::int64_t d) {
  double sum = 0, squares = 0;
  for (std::int64_t c = 0; c < d; ++c) sum += x[c];
  const double mean = sum / double(d);
  for (std::int64_t c = 0; c < d; ++c) squares += (x[c] - mean) * (x[c] - mean);
  return {mean, 1 / std::sqrt(squares / double(d) + kLayerNormEpsilon)};
}

template <class T>
void layer_norm_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), gamma = value<T>(node.inputs[1]), beta = value<T>(node.inputs[2]), out = value<T>(node.output);
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const auto [mean, rstd] = moments(x.row(r), x.cols);
    for (std::int64_t c = 0; c < x.cols; ++c) out(r, c) = static_cast<T>((x(r, c) - mean) * rstd * gamma.data[c] + beta.data[c]);
  }
}

// With g = dy * gamma:  dx = rstd * (g - mean(g) - h mean(g h));  dgamma += dy h;  dbeta += dy
template <class T>
void layer_norm_backward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), gamma = value<T>(node.inputs[1]);
  const auto dx = grad<T>(node.inputs[0]), dgamma = grad<T>(node.inputs[1]), dbeta = grad<T>(node.inputs[2]), dout = grad<T>(node.output);
  const auto d = double(x.cols);
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const auto [mean, rstd] = moments(x.row(r), x.cols);
    double g_sum = 0, gh_sum = 0;
    for (std::int64_t c = 0; c < x.cols; ++c) {
      const double h = (x(r, c) - mean) * rstd, g = double(dout(r, c)) * gamma.data[c];
      g_sum += g;
      gh_sum += g * h;
      if (dgamma) dgamma.data[c] += static_cast<T>(dout(r, c) * h);
      if (dbeta) dbeta.data[c] += dout(r, c);
    }
    if (!dx) continue;
    for (std::int64_t c = 0; c < x.cols; ++c) {
      const double h = (x(r, c) - mean) * rstd, g = double(dout(r, c)) * gamma.data[c];
      dx(r, c) += static_cast<T>(rstd * (g - g_sum / d - h * gh_sum / d));
    }
  }
}

}  // namespace
}  // namespace piano
