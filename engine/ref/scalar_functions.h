// The scalar functions that ops apply to each element, in forms that neither overflow nor cancel.
#pragma once

#include <algorithm>
#include <cmath>

namespace piano {
namespace {

// s(x) = 1 / (1 + exp(-x))
inline double sigmoid(double x) {
  if (x >= 0) return 1 / (1 + std::exp(-x));
  const double e = std::exp(x);
  return e / (1 + e);
}

// log(1 + exp(x)) = -log s(-x)
inline double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

inline double log_sigmoid(double x) { return -softplus(-x); }

// Below this softplus(x) = exp(x) to double precision, and its logarithm is x itself.
inline constexpr double kSoftplusIsExp = -37;

inline double log_softplus(double x) { return x < kSoftplusIsExp ? x : std::log(softplus(x)); }

// The derivative of log_softplus: s(x) / softplus(x)
inline double log_softplus_slope(double x) { return x < kSoftplusIsExp ? 1 : sigmoid(x) / softplus(x); }

// x Phi(x), Phi the standard normal distribution (Hendrycks & Gimpel 2016)
inline double gelu(double x) { return 0.5 * x * std::erfc(-x * 0.70710678118654752440); }

// Phi(x) + x phi(x)
inline double gelu_slope(double x) {
  const double phi = 0.39894228040143267794 * std::exp(-0.5 * x * x);
  return 0.5 * std::erfc(-x * 0.70710678118654752440) + x * phi;
}

}  // namespace
}  // namespace piano
