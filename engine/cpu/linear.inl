// linear: out = activation(x W^T + b), the products by Eigen.
//
// A row's bits must not depend on how many rows there are. Eigen computes the last n mod 4 rows otherwise than the rest, so the forward works on
// padded rows; its blocking is pinned (kernels.inl) so that it depends on (in, out) alone. A single output column would go to Eigen's
// matrix-vector product, whose rows differ by position: dot products of our own.
#pragma once

#include <Eigen/Core>

#include "engine/cpu/math.inl"
#include "engine/cpu/node.inl"

namespace piano {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixMap = Eigen::Map<Matrix>;
using ConstMatrixMap = Eigen::Map<const Matrix>;

// y (rows, 1) += x (rows, in) w (in)
inline void dot_rows(std::int64_t rows, std::int64_t in, const float* x, const float* w, float* y) {
  for (std::int64_t r = 0; r < rows; ++r) {
    F total{};
    for_vectors(in, [&](std::int64_t i, std::int64_t n) { total = fma(get(x + r * in + i, n), get(w + i, n), total); });
    y[r] += sum(total);
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

  const std::int64_t padded = padded_rows(rows);
  for (std::int64_t r = 0; r < padded; ++r) {
    if (b != nullptr) copy(y + r * out, b, out);
    else zero(y + r * out, out);
  }
  if (out == 1) dot_rows(rows, in, x, w, y);
  else MatrixMap(y, padded, out).noalias() += ConstMatrixMap(x, padded, in) * ConstMatrixMap(w, out, in).transpose();

  if (args_of<LinearArgs>(node).activation == Activation::gelu) {
    float* slope = context.tape != nullptr ? scratch(context, rows * out) : nullptr;
    gelu(rows * out, y, slope);
    node.saved = slope;
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
  if (rows == 0) return;

  const float* dz = static_cast<const float*>(node.output->grad);
  if (args_of<LinearArgs>(node).activation == Activation::gelu) {
    const float* slope = static_cast<const float*>(node.saved);
    float* product = scratch(context, rows * out);
    for (std::int64_t i = 0; i < rows * out; ++i) product[i] = dz[i] * slope[i];
    dz = product;
  }
  const ConstMatrixMap dz_map(dz, rows, out);
  if (dx != nullptr) MatrixMap(dx, rows, in).noalias() += dz_map * ConstMatrixMap(w, out, in);
  if (dw != nullptr) MatrixMap(dw, out, in).noalias() += dz_map.transpose() * ConstMatrixMap(x, rows, in);
  if (db != nullptr) {
    for (std::int64_t r = 0; r < rows; ++r) add_to(db, dz + r * out, out);
  }
}

}  // namespace
}  // namespace piano
