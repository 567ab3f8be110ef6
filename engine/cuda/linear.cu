// linear and matmul: products by cuBLASLt; gelu, its slope and the bias's gradient by kernels of our own.
#include "engine/cuda/column_sums.h"
#include "engine/cuda/device_code.h"
#include "engine/cuda/elements.h"
#include "engine/cuda/node.h"
#include "engine/cuda/product.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

// Phi(z)
__device__ inline float normal_below(float z) { return 0.5f * erfcf(-z * 0.70710678f); }

struct Gelu {
  __device__ void operator()(const float* z, float* y) const { y[0] = z[0] * normal_below(z[0]); }
};

// gelu'(z) = Phi(z) + z phi(z). Computed where it is needed: memory is slower than that.
__device__ inline float gelu_slope(float z) { return normal_below(z) + z * 0.39894228f * expf(-0.5f * z * z); }

struct GeluBack {
  __device__ void operator()(const float* x, float* dz) const { dz[0] = x[0] * gelu_slope(x[1]); }
};

// The same, by rows and columns: dz is written on the way to the sums of its columns.
struct GeluBackInto {
  const float *dy, *z;
  float* dz;
  std::int64_t d;
  __device__ void operator()(std::int64_t r, std::int64_t c, float* values) const { dz[r * d + c] = values[0] = dy[r * d + c] * gelu_slope(z[r * d + c]); }
};

// y_r = z_{index_r}
__global__ void copy_rows(std::int64_t n, std::int64_t d, const float* z, const std::int32_t* index, float* y) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const Cell at = cell_of(i, d);
    y[i] = z[index[at.row] * d + at.column];
  }
}

struct Elements {
  const float* x;
  std::int64_t d;
  __device__ void operator()(std::int64_t r, std::int64_t c, float* values) const { values[0] = x[r * d + c]; }
};

// x (rows, in), w (out, in + s), shared (lists, s)
struct LinearShape {
  explicit LinearShape(const Node& node) : rows(rows_of(node.output)), in(cols_of(node.inputs[0])), out(cols_of(node.output)) {
    if (const TensorRecord* beside = node.inputs[3]) lists = rows_of(beside), shared = cols_of(beside);
  }
  std::int64_t rows, in, out, lists = 0, shared = 0;
  std::int64_t w_stride() const { return in + shared; }
};

// inputs: x (rows, in), w (out, in + s), b (out) or null, shared (lists, s) or null. Saves what gelu is taken of: z (rows, out).
void linear_forward(const Context& context, Node& node) {
  const auto& args = args_of<LinearArgs>(node);
  const LinearShape s(node);
  CudaMemory& memory = memory_of(context);
  const float *x = value_of(node.inputs[0]), *w = value_of(node.inputs[1]), *b = value_of(node.inputs[2]);
  const bool gelu = args.activation == Activation::gelu;
  float *const y = value_of(node.output), *const z = gelu && context.tape != nullptr ? floats(context, s.rows * s.out) : y;
  if (s.rows == 0) return;
  if (s.shared > 0) {
    float* common = floats(context, s.lists * s.out);  // (lists, out): what the rows of a list have in common
    product(memory, s.lists, s.out, s.shared, {value_of(node.inputs[3]), s.shared, false}, {w + s.in, s.w_stride(), true}, b, common, s.out, false);
    launch_elements(memory, copy_rows, s.rows * s.out, s.rows * s.out, s.out, common, memory.copy_of(args.index, s.rows), z);
  }
  product(memory, s.rows, s.out, s.in, {x, s.in, false}, {w, s.w_stride(), true}, s.shared > 0 ? nullptr : b, z, s.out, s.shared > 0);
  if (!gelu) return;
  node.saved = z;
  launch_map<1, 1>(memory, s.rows * s.out, {{z}, {{y, true}}}, Gelu{});
}

// A product of no rows adds nothing.
void zero_fresh(const Context& context, const Node& node) {
  for (int i = 0; i < node.input_count; ++i) {
    if (const Gradient g = gradient_of(node, i); g && g.fresh) context.zero(g.to, static_cast<std::size_t>(elements_of(node.inputs[i])) * sizeof(float));
  }
}

// dz = dy * gelu'(z); dx += dz W, dW += dz^T x, db += sum of dz's rows; the same for shared, of the sums of dz's rows by list
void linear_backward(const Context& context, Node& node) {
  const auto& args = args_of<LinearArgs>(node);
  const LinearShape s(node);
  CudaMemory& memory = memory_of(context);
  const float *x = value_of(node.inputs[0]), *w = value_of(node.inputs[1]);
  const Gradient dx = gradient_of(node, 0), dw = gradient_of(node, 1), db = gradient_of(node, 2), dshared = gradient_of(node, 3);
  if (s.rows == 0) return zero_fresh(context, node);

  const float *dz = output_gradient(node), *z = static_cast<const float*>(node.saved);
  const bool gelu = args.activation == Activation::gelu, sums_on_the_way = gelu && db && s.shared == 0;
  if (gelu) {
    float* through = floats(context, s.rows * s.out);
    if (sums_on_the_way) column_sums<1>(context, s.rows, s.out, GeluBackInto{dz, z, through, s.out}, Targets<1>{{db}});
    else launch_map<2, 1>(memory, s.rows * s.out, {{dz, z}, {{through, true}}}, GeluBack{});
    dz = through;
  }
  if (dx) product(memory, s.rows, s.in, s.out, {dz, s.out, false}, {w, s.w_stride(), false}, nullptr, dx.to, s.in, !dx.fresh);
  if (dw) product(memory, s.out, s.in, s.rows, {dz, s.out, true}, {x, s.in, false}, nullptr, dw.to, s.w_stride(), !dw.fresh);
  std::int64_t rows = s.rows;
  if (s.shared > 0) {
    float* sums = floats(context, s.lists * s.out);
    sum_rows(memory, memory.row_sums(args.index, s.rows, s.lists), dz, s.out, sums, true);
    dz = sums, rows = s.lists;
    if (dshared) product(memory, s.lists, s.shared, s.out, {dz, s.out, false}, {w + s.in, s.w_stride(), false}, nullptr, dshared.to, s.shared, !dshared.fresh);
    if (dw) {
      product(memory, s.out, s.shared, s.lists, {dz, s.out, true}, {value_of(node.inputs[3]), s.shared, false}, nullptr, dw.to + s.in, s.w_stride(),
              !dw.fresh);
    }
  }
  if (db && !sums_on_the_way) column_sums<1>(context, rows, s.out, Elements{dz, s.out}, Targets<1>{{db}});
}

// inputs: x (rows, out), w (out, in)
void matmul_forward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), in = cols_of(node.output), out = cols_of(node.inputs[0]);
  product(memory_of(context), rows, in, out, {value_of(node.inputs[0]), out, false}, {value_of(node.inputs[1]), in, false}, nullptr,
          value_of(node.output), in, false);
}

// dx += dy W^T, dW += x^T dy
void matmul_backward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), in = cols_of(node.output), out = cols_of(node.inputs[0]);
  const Gradient dx = gradient_of(node, 0), dw = gradient_of(node, 1);
  const float* dy = output_gradient(node);
  CudaMemory& memory = memory_of(context);
  if (rows == 0) return zero_fresh(context, node);
  if (dx) product(memory, rows, out, in, {dy, in, false}, {value_of(node.inputs[1]), in, true}, nullptr, dx.to, out, !dx.fresh);
  if (dw) product(memory, out, in, rows, {value_of(node.inputs[0]), out, true}, {dy, in, false}, nullptr, dw.to, in, !dw.fresh);
}

}  // namespace

void set_linear(const Kernels& kernels) {
  kernels.set(OpId::linear, linear_forward, linear_backward, 0b1111);
  kernels.set(OpId::matmul, matmul_forward, matmul_backward, 0b11);
}

}  // namespace piano::cuda
