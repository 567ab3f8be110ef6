// add, mul, scale, blend, tanh, log_sigmoid, exp.
#include "engine/cuda/column_sums.h"
#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

__global__ void add_values(std::int64_t n, const float* a, const float* b, float* y) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) y[i] = a[i] + b[i];
}

__global__ void mul_values(std::int64_t n, const float* a, const float* b, float* y) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) y[i] = a[i] * b[i];
}

// a and b may be one tensor, so da and db one array.
__global__ void mul_gradients(std::int64_t n, const float* a, const float* b, const float* dy, Gradient da, Gradient db) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    if (da.to != nullptr) put(da.to + i, dy[i] * b[i], da.fresh);
    if (db.to != nullptr) put(db.to + i, dy[i] * a[i], db.fresh);
  }
}

__global__ void scale_values(std::int64_t n, const float* x, float factor, float* y) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) y[i] = factor * x[i];
}

__global__ void add_scaled(std::int64_t n, const float* dy, float factor, Gradient da, Gradient db) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    if (da.to != nullptr) put(da.to + i, factor * dy[i], da.fresh);
    if (db.to != nullptr) put(db.to + i, factor * dy[i], db.fresh);
  }
}

void add_forward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), add_values, n, n, value_of(node.inputs[0]), value_of(node.inputs[1]), value_of(node.output));
}

void add_backward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), add_scaled, n, n, output_gradient(node), 1.0f, gradient_of(node, 0), gradient_of(node, 1));
}

void mul_forward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), mul_values, n, n, value_of(node.inputs[0]), value_of(node.inputs[1]), value_of(node.output));
}

void mul_backward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), mul_gradients, n, n, value_of(node.inputs[0]), value_of(node.inputs[1]), output_gradient(node),
                  gradient_of(node, 0), gradient_of(node, 1));
}

void scale_forward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), scale_values, n, n, value_of(node.inputs[0]), static_cast<float>(args_of<ScaleArgs>(node).factor),
                  value_of(node.output));
}

void scale_backward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), add_scaled, n, n, output_gradient(node), static_cast<float>(args_of<ScaleArgs>(node).factor),
                  gradient_of(node, 0), Gradient{});
}

// ---- blend: x (rows, d), w (rows, 1), a (d), b (d) or null

__global__ void blend_values(std::int64_t n, std::int64_t d, const float* x, const float* w, const float* a, const float* b, float* y) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const std::int64_t r = i / d, c = i % d;
    y[i] = x[i] + w[r] * a[c] + (b != nullptr ? (1 - w[r]) * b[c] : 0.0f);
  }
}

// A warp for each row: dx_r += dout_r, dw_r += dout_r . (a - b)
__global__ void blend_rows(std::int64_t rows, std::int64_t d, const float* a, const float* b, const float* dy, Gradient dx, Gradient dw) {
  for (std::int64_t r = first_warp(); r < rows; r += warp_stride()) {
    float along_a = 0, along_b = 0;
    for (std::int64_t c = lane(); c < d; c += 32) {
      const float g = dy[r * d + c];
      along_a += g * a[c];
      if (b != nullptr) along_b += g * b[c];
      if (dx.to != nullptr) put(dx.to + r * d + c, g, dx.fresh);
    }
    const float sum = warp_sum(along_a) - warp_sum(along_b);
    if (dw.to != nullptr && lane() == 0) put(dw.to + r, sum, dw.fresh);
  }
}

// da += w_r dout_r, db += (1 - w_r) dout_r
struct BlendColumns {
  const float *w, *dy;
  std::int64_t d;
  __device__ void operator()(std::int64_t r, std::int64_t c, float* values) const {
    const float g = dy[r * d + c];
    values[0] = w[r] * g;
    values[1] = (1 - w[r]) * g;
  }
};

void blend_forward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), blend_values, n, n, cols_of(node.output), value_of(node.inputs[0]), value_of(node.inputs[1]),
                  value_of(node.inputs[2]), value_of(node.inputs[3]), value_of(node.output));
}

void blend_backward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  const float* dy = output_gradient(node);
  if (gradient_of(node, 0) || gradient_of(node, 1)) {
    launch_warps(memory_of(context), blend_rows, rows, rows, d, value_of(node.inputs[2]), value_of(node.inputs[3]), dy, gradient_of(node, 0),
                 gradient_of(node, 1));
  }
  if (gradient_of(node, 2) || gradient_of(node, 3)) {
    column_sums<2>(context, rows, d, BlendColumns{value_of(node.inputs[1]), dy, d}, Targets<2>{{gradient_of(node, 2), gradient_of(node, 3)}});
  }
}

// ---- functions of one number. slope(x, y): the derivative, y being the function's value

struct Tanh {
  __device__ static float value(float x) { return tanhf(x); }
  __device__ static float slope(float, float y) { return 1 - y * y; }
};

struct LogSigmoid {
  __device__ static float value(float x) { return fminf(x, 0.0f) - log1pf(expf(-fabsf(x))); }
  __device__ static float slope(float x, float) {  // s(-x)
    const float e = expf(-fabsf(x));
    return (x > 0 ? e : 1.0f) / (1 + e);
  }
};

struct Exp {
  __device__ static float value(float x) { return expf(x); }
  __device__ static float slope(float, float y) { return y; }
};

template <class F>
__global__ void unary_values(std::int64_t n, const float* x, float* y) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) y[i] = F::value(x[i]);
}

template <class F>
__global__ void unary_gradients(std::int64_t n, const float* x, const float* y, const float* dy, Gradient dx) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) put(dx.to + i, dy[i] * F::slope(x[i], y[i]), dx.fresh);
}

template <class F>
void unary_forward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), unary_values<F>, n, n, value_of(node.inputs[0]), value_of(node.output));
}

template <class F>
void unary_backward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), unary_gradients<F>, n, n, value_of(node.inputs[0]), value_of(node.output), output_gradient(node),
                  gradient_of(node, 0));
}

}  // namespace

void set_elementwise(const Kernels& kernels) {
  kernels.set(OpId::add, add_forward, add_backward, 0b11);
  kernels.set(OpId::mul, mul_forward, mul_backward, 0b11);
  kernels.set(OpId::scale, scale_forward, scale_backward, 0b1);
  kernels.set(OpId::blend, blend_forward, blend_backward, 0b1111);
  kernels.set(OpId::tanh, unary_forward<Tanh>, unary_backward<Tanh>, 0b1);
  kernels.set(OpId::log_sigmoid, unary_forward<LogSigmoid>, unary_backward<LogSigmoid>, 0b1);
  kernels.set(OpId::exp, unary_forward<Exp>, unary_backward<Exp>, 0b1);
}

}  // namespace piano::cuda
