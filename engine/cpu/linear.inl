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

// y = gelu(z), slope = gelu'(z) unless null; y may be z. gelu'(z) = Phi(z) + z phi(z)
inline void gelu(std::int64_t count, float* y, float* slope) {
  for_vectors(count, [&](std::int64_t i, std::int64_t n) {
    const F z = get(y + i, n);
    const Normal at = normal(z);
    put(y + i, z * at.distribution, n);
    if (slope != nullptr) put(slope + i, fma(z, at.density, at.distribution), n);
  });
}

// x (rows, in) and what stands beside it: w's columns are x's, then shared's.
struct LinearShape {
  std::int64_t rows, in, out, lists, shared;
  Weights own, beside;
};

inline LinearShape linear_shape(const Node& node) {
  const TensorRecord *w = node.inputs[1], *shared = node.inputs[3];
  LinearShape s{rows_of(node.output), cols_of(node.inputs[0]), cols_of(node.output), 0, 0, {}, {}};
  if (shared != nullptr) s.lists = rows_of(shared), s.shared = cols_of(shared);
  s.own = {value_of(w), static_cast<const float*>(w->packed), cols_of(w), 0};
  s.beside = s.own;
  s.beside.first = s.in;
  return s;
}

// y (rows, out) = start_r + x w^T, start_r being b, or row index[r] of z (lists, out) when there is one.
template <class Finish>
inline void linear_sums(const LinearShape& s, const float* x, const float* b, const float* z, const std::int32_t* index, float* y, Finish finish) {
  if (s.out == 1) {
    for (std::int64_t r = 0; r < s.rows; ++r) {
      y[r] = (z != nullptr ? z[index[r]] : b != nullptr ? *b : 0.0f) + dot_of(x + r * s.in, s.own.w + s.own.first, s.in);
    }
    return finish(0, 1);
  }
  if (z == nullptr) return biased_sums(s.rows, s.in, s.out, x, s.own, b, y, finish);
  for (std::int64_t r = 0; r < s.rows; ++r) copy(y + r * s.out, z + index[r] * s.out, s.out);
  added_sums(s.rows, s.in, s.out, x, s.own, y, false, finish);
}

// inputs: x (rows, in), w (out, in + s), b (out) or null, shared (lists, s) or null. Saves gelu' (rows, out).
void linear_forward(const Context& context, Node& node) {
  const auto& args = args_of<LinearArgs>(node);
  const LinearShape s = linear_shape(node);
  const float* b = optional_value_of(node.inputs[2]);
  float* y = value_of(node.output);
  if (s.rows == 0) return;

  const bool activate = args.activation == Activation::gelu;
  float* slope = activate && context.tape != nullptr ? scratch(context, s.rows * s.out) : nullptr;
  node.saved = slope;
  float* z = nullptr;  // (lists, out): what the rows of a list have in common
  if (s.shared > 0) {
    z = scratch(context, padded_rows(s.lists) * s.out);
    linear_sums({s.lists, s.shared, s.out, 0, 0, s.beside, {}}, value_of(node.inputs[3]), b, nullptr, nullptr, z, [](std::int64_t, std::int64_t) {});
  }
  linear_sums(s, value_of(node.inputs[0]), b, z, args.index, y, [&](std::int64_t column, std::int64_t columns) {
    if (!activate) return;
    for (std::int64_t r = 0; r < s.rows; ++r) gelu(columns, y + r * s.out + column, slope != nullptr ? slope + r * s.out + column : nullptr);
  });
}

// A product of no rows adds nothing.
inline void zero_fresh(const Node& node) {
  for (int i = 0; i < node.input_count; ++i) {
    if (is_fresh(node, i)) zero(grad_of(node.inputs[i]), elements_of(node.inputs[i]));
  }
}

// dz = dy * gelu'(z); dx += dz W, dW += dz^T x, db += sum of dz's rows; the same for shared, of the sums of dz's rows by list
void linear_backward(const Context& context, Node& node) {
  const auto& args = args_of<LinearArgs>(node);
  const LinearShape s = linear_shape(node);
  float* dx = grad_of(node.inputs[0]);
  float* dw = grad_of(node.inputs[1]);
  float* db = grad_of(node.inputs[2]);
  float* dshared = grad_of(node.inputs[3]);
  if (s.rows == 0) return zero_fresh(node);

  const float* dz = static_cast<const float*>(node.output->grad);
  if (args.activation == Activation::gelu) {
    const float* slope = static_cast<const float*>(node.saved);
    float* product = scratch(context, s.rows * s.out);
    for (std::int64_t i = 0; i < s.rows * s.out; ++i) product[i] = dz[i] * slope[i];
    dz = product;
  }
  if (dx != nullptr) input_gradient(s.rows, s.in, s.out, dz, s.own, dx, is_fresh(node, 0));
  if (dw != nullptr) weight_gradient(s.rows, s.in, s.out, dz, value_of(node.inputs[0]), dw, s.own.row, 0, is_fresh(node, 1));
  std::int64_t rows = s.rows;
  if (s.shared > 0) {
    float* sums = scratch(context, s.lists * s.out);
    zero(sums, s.lists * s.out);
    for (std::int64_t r = 0; r < s.rows; ++r) add_to(sums + args.index[r] * s.out, dz + r * s.out, s.out);
    dz = sums, rows = s.lists;
    if (dshared != nullptr) input_gradient(s.lists, s.shared, s.out, dz, s.beside, dshared, is_fresh(node, 3));
    if (dw != nullptr) weight_gradient(s.lists, s.shared, s.out, dz, value_of(node.inputs[3]), dw, s.own.row, s.in, is_fresh(node, 1));
  }
  if (db != nullptr) {
    if (is_fresh(node, 2)) zero(db, s.out);
    for (std::int64_t r = 0; r < rows; ++r) add_to(db, dz + r * s.out, s.out);
  }
}

// inputs: x (rows, out), w (out, in)
void matmul_forward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), in = cols_of(node.output), out = cols_of(node.inputs[0]);
  if (rows > 0) product(rows, in, out, value_of(node.inputs[0]), {value_of(node.inputs[1]), nullptr, in, 0}, value_of(node.output));
}

// dx += dy W^T, dW += x^T dy
void matmul_backward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), in = cols_of(node.output), out = cols_of(node.inputs[0]);
  if (rows == 0) return zero_fresh(node);
  const float* dy = static_cast<const float*>(node.output->grad);
  const Weights w{value_of(node.inputs[1]), static_cast<const float*>(node.inputs[1]->packed), in, 0};
  if (float* dx = grad_of(node.inputs[0]); dx != nullptr) {
    added_sums(rows, in, out, dy, w, dx, is_fresh(node, 0), [](std::int64_t, std::int64_t) {});
  }
  if (float* dw = grad_of(node.inputs[1]); dw != nullptr) {
    weight_gradient(rows, in, out, value_of(node.inputs[0]), dy, dw, in, 0, is_fresh(node, 1));
  }
}

}  // namespace
}  // namespace piano
