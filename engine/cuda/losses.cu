// The losses that look at each row alone: bce_with_logits, poisson_nll, product_bce. In double, as the specification is: they run over one column.
#include "engine/cuda/losses.h"

#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/cuda/scalar_functions.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

// x, y, w (rows, 1); b: product_bce's second logit
struct Rows {
  std::int64_t n;
  const float *a, *b, *y, *w;
};

struct BceWithLogits {
  __device__ static double term(const Rows& in, std::int64_t r) { return softplus(in.a[r]) - double(in.a[r]) * in.y[r]; }
  __device__ static double slope(const Rows& in, std::int64_t r, int) { return sigmoid(in.a[r]) - in.y[r]; }
};

struct PoissonNll {
  __device__ static double term(const Rows& in, std::int64_t r) { return softplus(in.a[r]) - in.y[r] * log_softplus(in.a[r]); }
  __device__ static double slope(const Rows& in, std::int64_t r, int) { return sigmoid(in.a[r]) - in.y[r] * log_softplus_slope(in.a[r]); }
};

// log((1 - P) / P) for P = s(a)s(b)
__device__ inline double log_odds_against(double a, double b) {
  const double highest = fmax(fmax(-a, -b), -a - b);
  return highest + log(::exp(-a - highest) + ::exp(-b - highest) + ::exp(-a - b - highest));
}

struct ProductBce {
  __device__ static double term(const Rows& in, std::int64_t r) {
    const double a = in.a[r], b = in.b[r];
    return softplus(-a) + softplus(-b) - (1 - double(in.y[r])) * log_odds_against(a, b);
  }
  // d/da: (1 - y) s(-a) P / (1 - P) - y s(-a), the first product in log space
  __device__ static double slope(const Rows& in, std::int64_t r, int side) {
    const double a = side == 0 ? in.a[r] : in.b[r], b = side == 0 ? in.b[r] : in.a[r], y = in.y[r];
    return (1 - y) * ::exp(-softplus(a) - log_odds_against(a, b)) - y * sigmoid(-a);
  }
};

template <class Loss>
__global__ void row_terms(Rows in, double* parts) {
  double sum = 0;
  for (std::int64_t r = first_element(); r < in.n; r += element_stride()) sum += in.w[r] * Loss::term(in, r);
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

template <class Loss>
__global__ void row_slopes(Rows in, const float* dout, Gradient da, Gradient db) {
  for (std::int64_t r = first_element(); r < in.n; r += element_stride()) {
    const double scale = double(*dout) * in.w[r];
    if (da.to != nullptr) put(da.to + r, static_cast<float>(scale * Loss::slope(in, r, 0)), da.fresh);
    if (db.to != nullptr) put(db.to + r, static_cast<float>(scale * Loss::slope(in, r, 1)), db.fresh);
  }
}

__global__ void sum_parts(std::int64_t n, const double* parts, float* out) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += parts[i];
  sum = block_sum(sum, shared_memory<double>());
  if (threadIdx.x == 0) *out = static_cast<float>(sum);
}

template <class Loss>
constexpr bool kTwoLogits = false;
template <>
constexpr bool kTwoLogits<ProductBce> = true;

template <class Loss>
Rows rows_of_loss(const Node& node) {
  const int y = kTwoLogits<Loss> ? 2 : 1;
  return {elements_of(node.inputs[0]), value_of(node.inputs[0]), value_of(node.inputs[1]), value_of(node.inputs[y]), value_of(node.inputs[y + 1])};
}

template <class Loss>
void row_loss_forward(const Context& context, Node& node) {
  const Rows in = rows_of_loss<Loss>(node);
  const unsigned blocks = blocks_for(in.n, kThreads);
  auto* parts = static_cast<double*>(context.allocate(blocks * sizeof(double)));
  launch(memory_of(context), row_terms<Loss>, dim3(blocks), dim3(kThreads), kThreads / kWarp * sizeof(double), in, parts);
  write_sum(context, parts, blocks, value_of(node.output));
}

template <class Loss>
void row_loss_backward(const Context& context, Node& node) {
  const Rows in = rows_of_loss<Loss>(node);
  launch_elements(memory_of(context), row_slopes<Loss>, in.n, in, output_gradient(node), gradient_of(node, 0),
                  kTwoLogits<Loss> ? gradient_of(node, 1) : Gradient{});
}

}  // namespace

void write_sum(const Context& context, const double* parts, std::int64_t n, float* out) {
  launch(memory_of(context), sum_parts, dim3(1), dim3(kThreads), kThreads / kWarp * sizeof(double), n, parts, out);
}

void set_losses(const Kernels& kernels) {
  kernels.set(OpId::bce_with_logits, row_loss_forward<BceWithLogits>, row_loss_backward<BceWithLogits>, 0b1);
  kernels.set(OpId::poisson_nll, row_loss_forward<PoissonNll>, row_loss_backward<PoissonNll>, 0b1);
  kernels.set(OpId::product_bce, row_loss_forward<ProductBce>, row_loss_backward<ProductBce>, 0b11);
}

}  // namespace piano::cuda
