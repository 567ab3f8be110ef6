// add, mul, scale, blend, tanh, log_sigmoid, exp.
#include "engine/cuda/column_sums.h"
#include "engine/cuda/device_code.h"
#include "engine/cuda/elements.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

struct Plus {
  __device__ void operator()(const float* x, float* y) const { y[0] = x[0] + x[1]; }
};

// dy, a and b to da and db, which are one array where a and b are one tensor.
struct TimesBack {
  __device__ void operator()(const float* x, float* y) const { y[0] = x[0] * x[2], y[1] = x[0] * x[1]; }
};

// factor: on the device, as it differs from step to step (a batch's counts); null: 1.
template <int outs>
struct Scaled {
  const double* factor;
  __device__ void operator()(const float* x, float* y) const {
    for (int k = 0; k < outs; ++k) y[k] = factor == nullptr ? x[0] : static_cast<float>(*factor) * x[0];
  }
};

Gradient result_of(const Node& node) { return {value_of(node.output), true}; }

void add_forward(const Context& context, Node& node) {
  launch_map<2, 1>(memory_of(context), elements_of(node.output), {{value_of(node.inputs[0]), value_of(node.inputs[1])}, {result_of(node)}}, Plus{});
}

void add_backward(const Context& context, Node& node) {
  launch_map<1, 2>(memory_of(context), elements_of(node.output), {{output_gradient(node)}, {gradient_of(node, 0), gradient_of(node, 1)}},
                   Scaled<2>{nullptr});
}

void mul_forward(const Context& context, Node& node) {
  launch_map<2, 1>(memory_of(context), elements_of(node.output), {{value_of(node.inputs[0]), value_of(node.inputs[1])}, {result_of(node)}}, Times{});
}

void mul_backward(const Context& context, Node& node) {
  launch_map<3, 2>(memory_of(context), elements_of(node.output),
                   {{output_gradient(node), value_of(node.inputs[0]), value_of(node.inputs[1])}, {gradient_of(node, 0), gradient_of(node, 1)}},
                   TimesBack{});
}

const double* factor_of(const Context& context, const Node& node) { return memory_of(context).copy_of(&args_of<ScaleArgs>(node).factor, 1); }

void scale_forward(const Context& context, Node& node) {
  launch_map<1, 1>(memory_of(context), elements_of(node.output), {{value_of(node.inputs[0])}, {result_of(node)}}, Scaled<1>{factor_of(context, node)});
}

void scale_backward(const Context& context, Node& node) {
  launch_map<1, 1>(memory_of(context), elements_of(node.output), {{output_gradient(node)}, {gradient_of(node, 0)}},
                   Scaled<1>{factor_of(context, node)});
}

// ---- blend: x (rows, d), w (rows, 1), a (d), b (d) or null

__global__ void blend_values(std::int64_t n, std::int64_t d, const float* x, const float* w, const float* a, const float* b, float* y) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const auto [r, c] = cell_of(i, d);
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
struct Values {
  __device__ void operator()(const float* x, float* y) const { y[0] = F::value(x[0]); }
};

// Of x, the function's value and its gradient.
template <class F>
struct Slopes {
  __device__ void operator()(const float* x, float* y) const { y[0] = x[2] * F::slope(x[0], x[1]); }
};

template <class F>
void unary_forward(const Context& context, Node& node) {
  launch_map<1, 1>(memory_of(context), elements_of(node.output), {{value_of(node.inputs[0])}, {result_of(node)}}, Values<F>{});
}

template <class F>
void unary_backward(const Context& context, Node& node) {
  launch_map<3, 1>(memory_of(context), elements_of(node.output), {{value_of(node.inputs[0]), value_of(node.output), output_gradient(node)},
                                                                  {gradient_of(node, 0)}}, Slopes<F>{});
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
