// layer_norm: a warp for each row.
#include "engine/cuda/column_sums.h"
#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

struct Moments {
  float mean, rstd;
};

__global__ void norm_values(std::int64_t rows, std::int64_t d, const float* x, const float* gamma, const float* beta, float* y, Moments* saved) {
  for (std::int64_t r = first_warp(); r < rows; r += warp_stride()) {
    const float* from = x + r * d;
    float total = 0, squares = 0;
    for (std::int64_t c = lane(); c < d; c += 32) total += from[c];
    const float mean = warp_sum(total) / static_cast<float>(d);
    for (std::int64_t c = lane(); c < d; c += 32) squares += (from[c] - mean) * (from[c] - mean);
    const float rstd = 1 / sqrtf(warp_sum(squares) / static_cast<float>(d) + static_cast<float>(kLayerNormEpsilon));
    for (std::int64_t c = lane(); c < d; c += 32) y[r * d + c] = (from[c] - mean) * rstd * gamma[c] + beta[c];
    if (saved != nullptr && lane() == 0) saved[r] = {mean, rstd};
  }
}

// With g = dy * gamma:  dx = rstd * (g - mean(g) - h mean(g h))
__global__ void norm_rows(std::int64_t rows, std::int64_t d, const float* x, const float* gamma, const float* dy, const Moments* saved, Gradient dx) {
  for (std::int64_t r = first_warp(); r < rows; r += warp_stride()) {
    const Moments m = saved[r];
    float total_g = 0, total_gh = 0;
    for (std::int64_t c = lane(); c < d; c += 32) {
      const float g = dy[r * d + c] * gamma[c];
      total_g += g;
      total_gh += g * (x[r * d + c] - m.mean) * m.rstd;
    }
    const float mean_g = warp_sum(total_g) / static_cast<float>(d), mean_gh = warp_sum(total_gh) / static_cast<float>(d);
    for (std::int64_t c = lane(); c < d; c += 32) {
      const float h = (x[r * d + c] - m.mean) * m.rstd;
      put(dx.to + r * d + c, m.rstd * (dy[r * d + c] * gamma[c] - mean_g - h * mean_gh), dx.fresh);
    }
  }
}

// dgamma += dy h, dbeta += dy
struct NormColumns {
  const float *x, *dy;
  const Moments* saved;
  std::int64_t d;
  __device__ void operator()(std::int64_t r, std::int64_t c, float* values) const {
    const float g = dy[r * d + c];
    values[0] = g * (x[r * d + c] - saved[r].mean) * saved[r].rstd;
    values[1] = g;
  }
};

// Saves the rows' moments.
void layer_norm_forward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  auto* saved = context.tape != nullptr ? static_cast<Moments*>(context.allocate(static_cast<std::size_t>(rows) * sizeof(Moments))) : nullptr;
  node.saved = saved;
  launch_warps(memory_of(context), norm_values, rows, rows, d, value_of(node.inputs[0]), value_of(node.inputs[1]), value_of(node.inputs[2]),
               value_of(node.output), saved);
}

void layer_norm_backward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  const float *x = value_of(node.inputs[0]), *dy = output_gradient(node);
  const auto* saved = static_cast<const Moments*>(node.saved);
  if (const Gradient dx = gradient_of(node, 0)) {
    launch_warps(memory_of(context), norm_rows, rows, rows, d, x, value_of(node.inputs[1]), dy, saved, dx);
  }
  if (gradient_of(node, 1) || gradient_of(node, 2)) {
    column_sums<2>(context, rows, d, NormColumns{x, dy, saved, d}, Targets<2>{{gradient_of(node, 1), gradient_of(node, 2)}});
  }
}

}  // namespace

void set_norm(const Kernels& kernels) { kernels.set(OpId::layer_norm, layer_norm_forward, layer_norm_backward, 0b111); }

}  // namespace piano::cuda
