// linear: out = activation(x W^T + b); matmul: out = x W. A single output column is a dot product a row, of our own on every level: Eigen's matrix-vector
// product gives a row other bits in another place.
#pragma once

#if defined(__FMA__)
#include "engine/cpu/gemm.inl"
#else
#include "engine/cpu/gemm_eigen.inl"
#endif
#include "engine/cpu/math.inl"
#include "engine/cpu/node.inl"

namespace piano {
namespace {

// y (rows, 1) = b + x (rows, in) w (in)
inline void dot_rows(std::int64_t rows, std::int64_t in, const float* x, const float* w, float b, float* y) {
  for (std::int64_t r = 0; r < rows; ++r) {
    F total{};
    for_vectors(in, [&](std::int64_t i, std::int64_t n) { total = fma(get(x + r * in + i, n), get(w + i, n), total); });
    y[r] = b + sum(total);
  }
}

// y = gelu(z), slope = gelu'(z) unless null; y may be z. gelu'(z) = Phi(z) + z phi(z)
inline void gelu(std::int64_t count, float* y, float* slope) {
  for_vectors(count, [&](std::int64_t i, std::int64_t n) {
    const F z = get(y + i, n);
    const Normal at = normal(z);
    put(y + i, z * at.distribution, n);
    if (slope != nullptr) put(slope + i, fma(z, at.density, at.distribution), n);
  });
}

// inputs: x (rows, in), w (out, in), b (out) or null. Saves gelu' (rows, out).
void linear_forward(const Context& context, Node& node) {
  const float* x = value_of(node.inputs[0]);
  const float* w = value_of(node.inputs[1]);
  const float* b = optional_value_of(node.inputs[2]);
  float* y = value_of(node.output);
  const std::int64_t rows = rows_of(node.output), in = cols_of(node.inputs[0]), out = cols_of(node.output);
  if (rows == 0) return;

  const bool activate = args_of<LinearArgs>(node).activation == Activation::gelu;
  float* slope = activate && context.tape != nullptr ? scratch(context, rows * out) : nullptr;
  node.saved = slope;
  const auto finish = [&](std::int64_t column, std::int64_t columns) {
    if (!activate) return;
    for (std::int64_t r = 0; r < rows; ++r) gelu(columns, y + r * out + column, slope != nullptr ? slope + r * out + column : nullptr);
  };
  if (out == 1) {
    dot_rows(rows, in, x, w, b != nullptr ? *b : 0.0f, y);
    finish(0, 1);
  } else {
    biased_sums(rows, in, out, x, w, static_cast<const float*>(node.inputs[1]->packed), b, y, finish);
  }
}

// A product of no rows adds nothing.
inline void zero_fresh(const Node& node) {
  for (int i = 0; i < node.input_count; ++i) {
    if (is_fresh(node, i)) zero(grad_of(node.inputs[i]), elements_of(node.inputs[i]));
  }
}

// dz = dy * gelu'(z); dx += dz W, dW += dz^T x, db += sum of dz's rows
void linear_backward(const Context& context, Node& node) {
  const float* x = value_of(node.inputs[0]);
  const float* w = value_of(node.inputs[1]);
  float* dx = grad_of(node.inputs[0]);
  float* dw = grad_of(node.inputs[1]);
  float* db = grad_of(node.inputs[2]);
  const std::int64_t rows = rows_of(node.output), in = cols_of(node.inputs[0]), out = cols_of(node.output);
  if (rows == 0) return zero_fresh(node);

  const float* dz = static_cast<const float*>(node.output->grad);
  if (args_of<LinearArgs>(node).activation == Activation::gelu) {
    const float* slope = static_cast<const float*>(node.saved);
    float* product = scratch(context, rows * out);
    for (std::int64_t i = 0; i < rows * out; ++i) product[i] = dz[i] * slope[i];
    dz = product;
  }
  if (dx != nullptr) input_gradient(rows, in, out, dz, w, dx, is_fresh(node, 0));
  if (dw != nullptr) weight_gradient(rows, in, out, dz, x, dw, is_fresh(node, 1));
  if (db != nullptr) {
    if (is_fresh(node, 2)) zero(db, out);
    for (std::int64_t r = 0; r < rows; ++r) add_to(db, dz + r * out, out);
  }
}

// inputs: x (rows, out), w (out, in)
void matmul_forward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), in = cols_of(node.output), out = cols_of(node.inputs[0]);
  if (rows > 0) product(rows, in, out, value_of(node.inputs[0]), value_of(node.inputs[1]), value_of(node.output));
}

// dx += dy W^T, dW += x^T dy
void matmul_backward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), in = cols_of(node.output), out = cols_of(node.inputs[0]);
  if (rows == 0) return zero_fresh(node);
  const float* x = value_of(node.inputs[0]);
  const float* w = value_of(node.inputs[1]);
  const float* dy = static_cast<const float*>(node.output->grad);
  if (float* dx = grad_of(node.inputs[0]); dx != nullptr) {
    product_gradient(rows, in, out, dy, w, static_cast<const float*>(node.inputs[1]->packed), dx, is_fresh(node, 0));
  }
  if (float* dw = grad_of(node.inputs[1]); dw != nullptr) weight_gradient(rows, in, out, x, dy, dw, is_fresh(node, 1));
}

}  // namespace
}  // namespace piano
