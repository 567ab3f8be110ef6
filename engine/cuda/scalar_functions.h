// Functions of a loss's logits, in forms that neither overflow nor cancel. The specification: engine/ref/scalar_functions.h.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

namespace piano::cuda {

__device__ inline double sigmoid(double x) {
  const double e = ::exp(-fabs(x));
  return (x >= 0 ? 1 : e) / (1 + e);
}

// log(1 + exp(x)) = -log s(-x)
__device__ inline double softplus(double x) { return fmax(x, 0.0) + log1p(::exp(-fabs(x))); }

// Below -37 softplus(x) = exp(x) to double precision.
__device__ inline double log_softplus(double x) { return x < -37 ? x : log(softplus(x)); }
__device__ inline double log_softplus_slope(double x) { return x < -37 ? 1 : sigmoid(x) / softplus(x); }

}  // namespace piano::cuda
