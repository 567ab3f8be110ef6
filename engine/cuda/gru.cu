// gru: a block for each list, which walks it row by row. What the recurrence does not need, the gradients of u and b, is one product afterwards.
#include "engine/cuda/column_sums.h"
#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/cuda/product.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

struct Walk {
  Lists lists;
  std::int64_t backwards;
  std::int64_t d;
  // The i-th row that is read of this block's list.
  __device__ std::int64_t size() const { return lists.offsets[blockIdx.x + 1] - lists.offsets[blockIdx.x]; }
  __device__ std::int64_t row(std::int64_t i) const { return backwards ? lists.offsets[blockIdx.x + 1] - 1 - i : lists.offsets[blockIdx.x] + i; }
};

__device__ inline float sigmoid_of(float x) {
  const float e = expf(-fabsf(x));
  return (x >= 0 ? 1.0f : e) / (1 + e);
}

// saved, per row: r, z, n and q = U_n h + b, (rows, 4d)
__global__ void walk_forward(Walk walk, const float* x, const float* u, const float* b, float* saved, float* out) {
  auto* h = shared_memory<float>();  // (d)
  float* product = h + walk.d;       // (3d): U h
  const std::int64_t d = walk.d;
  for (std::int64_t c = threadIdx.x; c < d; c += blockDim.x) h[c] = 0;
  for (std::int64_t i = 0; i < walk.size(); ++i) {
    const std::int64_t row = walk.row(i);
    __syncthreads();
    for (std::int64_t k = threadIdx.x / 32; k < 3 * d; k += blockDim.x / 32) {
      float dot = 0;
      for (std::int64_t c = lane(); c < d; c += 32) dot += u[k * d + c] * h[c];
      dot = warp_sum(dot);
      if (lane() == 0) product[k] = dot;
    }
    __syncthreads();
    const float* in = x + row * 3 * d;
    float* keep = saved + row * 4 * d;
    for (std::int64_t c = threadIdx.x; c < d; c += blockDim.x) {
      const float r = sigmoid_of(in[c] + product[c]), z = sigmoid_of(in[d + c] + product[d + c]), q = product[2 * d + c] + b[c];
      const float n = tanhf(in[2 * d + c] + r * q);
      keep[c] = r, keep[d + c] = z, keep[2 * d + c] = n, keep[3 * d + c] = q;
      out[row * d + c] = h[c] = n + z * (h[c] - n);
    }
  }
}

// dn = dh (1 - z), dz = dh (h - n);  gn = dn (1 - n^2), gz = dz z (1 - z), gr = gn q r (1 - r), dq = gn r;  dh before = dh z + U^T [gr ; gz ; dq]
// Leaves [gr ; gz ; dq] (rows, 3d) and the h before each row (rows, d).
__global__ void walk_back(Walk walk, const float* u, const float* saved, const float* out, const float* dout, Gradient dx, float* gates,
                          float* before) {
  auto* dh = shared_memory<float>();  // (d)
  float* g = dh + walk.d;             // (3d)
  const std::int64_t d = walk.d;
  for (std::int64_t c = threadIdx.x; c < d; c += blockDim.x) dh[c] = 0;
  for (std::int64_t i = walk.size() - 1; i >= 0; --i) {
    const std::int64_t row = walk.row(i);
    __syncthreads();
    for (std::int64_t c = threadIdx.x; c < d; c += blockDim.x) {
      const float* kept = saved + row * 4 * d;
      const float r = kept[c], z = kept[d + c], n = kept[2 * d + c], q = kept[3 * d + c];
      const float h = i > 0 ? out[walk.row(i - 1) * d + c] : 0.0f, wanted = dh[c] + dout[row * d + c];
      const float gn = wanted * (1 - z) * (1 - n * n);
      g[c] = gn * q * r * (1 - r), g[d + c] = wanted * (h - n) * z * (1 - z), g[2 * d + c] = gn * r;
      for (int gate = 0; gate < 3; ++gate) gates[row * 3 * d + gate * d + c] = g[gate * d + c];
      before[row * d + c] = h;
      if (dx.to != nullptr) {
        put(dx.to + row * 3 * d + c, g[c], dx.fresh);
        put(dx.to + row * 3 * d + d + c, g[d + c], dx.fresh);
        put(dx.to + row * 3 * d + 2 * d + c, gn, dx.fresh);
      }
      dh[c] = wanted * z;
    }
    __syncthreads();
    for (std::int64_t c = threadIdx.x; c < d; c += blockDim.x) {
      float sum = 0;
      for (std::int64_t k = 0; k < 3 * d; ++k) sum += u[k * d + c] * g[k];
      dh[c] += sum;
    }
  }
}

struct LastGate {
  const float* gates;
  std::int64_t d;
  __device__ void operator()(std::int64_t r, std::int64_t c, float* values) const { values[0] = gates[(r * 3 + 2) * d + c]; }
};

struct Plan {
  Plan(CudaMemory& memory, const Node& node)
      : walk{lists_of(memory, args_of<GruArgs>(node).lists), args_of<GruArgs>(node).backwards, cols_of(node.output)},
        grid(static_cast<unsigned>(walk.lists.lists)), shared(static_cast<std::size_t>(4 * walk.d) * sizeof(float)) {
    if (shared > memory.most_shared()) {
      throw Error(ErrorCode::usage, "device = cuda: expected a recurrent encoder of at most " + std::to_string(memory.most_shared() / 4 / sizeof(float)) +
                                        " columns on this GPU, got " + std::to_string(walk.d) + "; use a smaller model.d, or device = cpu");
    }
  }
  Walk walk;
  dim3 grid;
  std::size_t shared;
};

void gru_forward(const Context& context, Node& node) {
  CudaMemory& memory = memory_of(context);
  const Plan plan(memory, node);
  float* saved = floats(context, rows_of(node.output) * 4 * plan.walk.d);
  node.saved = saved;
  launch(memory, walk_forward, plan.grid, dim3(kThreads), plan.shared, plan.walk, value_of(node.inputs[0]), value_of(node.inputs[1]),
         value_of(node.inputs[2]), saved, value_of(node.output));
}

void gru_backward(const Context& context, Node& node) {
  CudaMemory& memory = memory_of(context);
  const Plan plan(memory, node);
  const std::int64_t rows = rows_of(node.output), d = plan.walk.d;
  float *gates = floats(context, rows * 3 * d), *before = floats(context, rows * d);
  launch(memory, walk_back, plan.grid, dim3(kThreads), plan.shared, plan.walk, value_of(node.inputs[1]), static_cast<const float*>(node.saved),
         value_of(node.output), output_gradient(node), gradient_of(node, 0), gates, before);
  if (const Gradient du = gradient_of(node, 1)) {
    if (rows > 0) product(memory, 3 * d, d, rows, {gates, 3 * d, true}, {before, d, false}, nullptr, du.to, d, !du.fresh);
    else if (du.fresh) memory.zero(du.to, static_cast<std::size_t>(3 * d * d) * sizeof(float));
  }
  if (const Gradient db = gradient_of(node, 2)) column_sums<1>(context, rows, d, LastGate{gates, d}, Targets<1>{{db}});
}

}  // namespace

void set_gru(const Kernels& kernels) { kernels.set(OpId::gru, gru_forward, gru_backward, 0b111); }

}  // namespace piano::cuda
