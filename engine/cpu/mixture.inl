// Mixtures of experts: softmax of the gates, then a weighted sum of each row's blocks.
#pragma once

#include "engine/cpu/math.inl"
#include "engine/cpu/node.inl"

namespace piano {
namespace {

// p = softmax(gates), for a handful of experts
inline void softmax_of(const float* gates, std::int64_t experts, float* p) {
  float highest = gates[0];
  for (std::int64_t e = 1; e < experts; ++e) highest = gates[e] > highest ? gates[e] : highest;
  F sums{};
  for_vectors(experts, [&](std::int64_t e, std::int64_t n) {
    const F v = first_of(exp(get(gates + e, n) - highest), n);
    put(p + e, v, n);
    sums = sums + v;
  });
  const float total = sum(sums);
  for (std::int64_t e = 0; e < experts; ++e) p[e] /= total;
}

void mixture_forward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output), experts = cols_of(node.inputs[0]);
  float* shares = scratch(context, rows * experts);
  node.saved = shares;
  for (std::int64_t r = 0; r < rows; ++r) {
    softmax_of(value_of(node.inputs[0]) + r * experts, experts, shares + r * experts);
    float* to = value_of(node.output) + r * d;
    zero(to, d);
    for (std::int64_t e = 0; e < experts; ++e) add_scaled_to(to, value_of(node.inputs[1]) + (r * experts + e) * d, shares[r * experts + e], d);
  }
}

// dx_r,e += p_e dout_r;  dp_e = dout_r . x_r,e;  dgate_e += p_e (dp_e - sum_k p_k dp_k)
void mixture_backward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output), experts = cols_of(node.inputs[0]);
  float* dgates = grad_of(node.inputs[0]);
  float* dx = grad_of(node.inputs[1]);
  float* dp = scratch(context, experts);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* p = static_cast<const float*>(node.saved) + r * experts;
    const float* dout = static_cast<const float*>(node.output->grad) + r * d;
    if (dx != nullptr) {
      for (std::int64_t e = 0; e < experts; ++e) add_scaled_to(dx + (r * experts + e) * d, dout, p[e], d);
    }
    if (dgates == nullptr) continue;
    float mean = 0;
    for (std::int64_t e = 0; e < experts; ++e) {
      dp[e] = dot_of(dout, value_of(node.inputs[1]) + (r * experts + e) * d, d);
      mean += p[e] * dp[e];
    }
    for (std::int64_t e = 0; e < experts; ++e) dgates[r * experts + e] += p[e] * (dp[e] - mean);
  }
}

}  // namespace
}  // namespace piano
