// mixture of experts: a warp for each row.
#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

// out_r = sum_e p_e x_{r, e}, p = softmax(gates_r), which is left in `shares` (rows, experts)
__global__ void mix(std::int64_t rows, std::int64_t d, int experts, const float* gates, const float* x, float* shares, float* y) {
  for (std::int64_t r = first_warp(); r < rows; r += warp_stride()) {
    const float* g = gates + r * experts;
    float highest = -INFINITY, sum = 0;
    for (int e = lane(); e < experts; e += 32) highest = fmaxf(highest, g[e]);
    highest = warp_max(highest);
    for (int e = lane(); e < experts; e += 32) sum += expf(g[e] - highest);
    sum = warp_sum(sum);
    for (int e = lane(); e < experts; e += 32) shares[r * experts + e] = expf(g[e] - highest) / sum;
    __syncwarp();
    for (std::int64_t c = lane(); c < d; c += 32) {
      float value = 0;
      for (int e = 0; e < experts; ++e) value += shares[r * experts + e] * x[(r * experts + e) * d + c];
      y[r * d + c] = value;
    }
  }
}

// dx_{r, e} += p_e dout_r;  dp_e = dout_r . x_{r, e};  dgate_e += p_e (dp_e - sum_k p_k dp_k)
__global__ void mix_back(std::int64_t rows, std::int64_t d, int experts, const float* x, const float* shares, const float* dout, float* dp,
                         Gradient dgates, Gradient dx) {
  for (std::int64_t r = first_warp(); r < rows; r += warp_stride()) {
    const float *p = shares + r * experts, *dy = dout + r * d;
    float mean = 0;
    for (int e = 0; e < experts; ++e) {
      float dot = 0;
      for (std::int64_t c = lane(); c < d; c += 32) {
        const std::int64_t at = (r * experts + e) * d + c;
        dot += dy[c] * x[at];
        if (dx.to != nullptr) put(dx.to + at, p[e] * dy[c], dx.fresh);
      }
      dot = warp_sum(dot);
      mean += p[e] * dot;
      if (lane() == 0) dp[r * experts + e] = dot;
    }
    __syncwarp();
    for (int e = lane(); e < experts && dgates.to != nullptr; e += 32) {
      put(dgates.to + r * experts + e, p[e] * (dp[r * experts + e] - mean), dgates.fresh);
    }
  }
}

void mixture_forward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), experts = cols_of(node.inputs[0]);
  float* shares = floats(context, rows * experts);
  node.saved = shares;
  launch_warps(memory_of(context), mix, rows, rows, cols_of(node.output), static_cast<int>(experts), value_of(node.inputs[0]),
               value_of(node.inputs[1]), shares, value_of(node.output));
}

void mixture_backward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), experts = cols_of(node.inputs[0]);
  launch_warps(memory_of(context), mix_back, rows, rows, cols_of(node.output), static_cast<int>(experts), value_of(node.inputs[1]),
               static_cast<const float*>(node.saved), output_gradient(node), floats(context, rows * experts), gradient_of(node, 0),
               gradient_of(node, 1));
}

}  // namespace

void set_mixture(const Kernels& kernels) { kernels.set(OpId::mixture, mixture_forward, mixture_backward, 0b11); }

}  // namespace piano::cuda
