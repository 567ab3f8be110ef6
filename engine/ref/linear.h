// linear: y = f(z), z = x W^T + b, f the identity or GELU. matmul: y = x W.
#pragma once

#include "engine/ref/matrix.h"
#include "engine/ref/scalar_functions.h"

namespace piano {
namespace {

// z_ro = sum_i x_ri W_oi + b_o, and sum_j s_{index[r], j} W_{o, in + j} with shared rows s
template <class T>
double before_activation(const Node& node, std::int64_t r, std::int64_t o) {
  const auto x = value<T>(node.inputs[0]), w = value<T>(node.inputs[1]), b = value<T>(node.inputs[2]), s = value<T>(node.inputs[3]);
  const double own = dot(x.row(r), w.row(o), x.cols) + (b ? double(b.data[o]) : 0.0);
  return s ? own + dot(s.row(args<LinearArgs>(node).index[r]), w.row(o) + x.cols, s.cols) : own;
}

template <class T>
void linear_forward(const Context&, Node& node) {
  const bool is_gelu = args<LinearArgs>(node).activation == Activation::gelu;
  const auto out = value<T>(node.output);  // (rows, out)
  for (std::int64_t r = 0; r < out.rows; ++r) {
    for (std::int64_t o = 0; o < out.cols; ++o) {
      const double z = before_activation<T>(node, r, o);
      out(r, o) = static_cast<T>(is_gelu ? gelu(z) : z);
    }
  }
}

// dz = dy * f'(z);  dx += dz W;  ds_{index[r]} += dz_r W_s;  dW += dz^T [x ; s];  db += column sums of dz
template <class T>
void linear_backward(const Context& context, Node& node) {
  const bool is_gelu = args<LinearArgs>(node).activation == Activation::gelu;
  const auto x = value<T>(node.inputs[0]), w = value<T>(node.inputs[1]), s = value<T>(node.inputs[3]);
  const auto dx = grad<T>(node.inputs[0]), dw = grad<T>(node.inputs[1]), db = grad<T>(node.inputs[2]), ds = grad<T>(node.inputs[3]);
  const auto dout = grad<T>(node.output);
  const std::int32_t* index = args<LinearArgs>(node).index;

  const Matrix<double> dz{context.arena->array<double>(dout.rows * dout.cols), dout.rows, dout.cols};  // (rows, out)
  for (std::int64_t r = 0; r < dout.rows; ++r) {
    for (std::int64_t o = 0; o < dout.cols; ++o) {
      dz(r, o) = is_gelu ? dout(r, o) * gelu_slope(before_activation<T>(node, r, o)) : dout(r, o);
    }
  }
  if (dx) {
    for (std::int64_t r = 0; r < dx.rows; ++r) {
      for (std::int64_t i = 0; i < dx.cols; ++i) {
        double sum = 0;
        for (std::int64_t o = 0; o < dz.cols; ++o) sum += dz(r, o) * w(o, i);
        dx(r, i) += static_cast<T>(sum);
      }
    }
  }
  if (dw) {
    for (std::int64_t o = 0; o < dw.rows; ++o) {
      for (std::int64_t i = 0; i < dw.cols; ++i) {
        double sum = 0;
        for (std::int64_t r = 0; r < dz.rows; ++r) sum += dz(r, o) * (i < x.cols ? x(r, i) : s(index[r], i - x.cols));
        dw(o, i) += static_cast<T>(sum);
      }
    }
  }
  for (std::int64_t r = 0; ds && r < dz.rows; ++r) {
    for (std::int64_t o = 0; o < dz.cols; ++o) add_scaled(ds.row(index[r]), w.row(o) + x.cols, ds.cols, dz(r, o));
  }
  if (db) {
    for (std::int64_t o = 0; o < dz.cols; ++o) {
      double sum = 0;
      for (std::int64_t r = 0; r < dz.rows; ++r) sum += dz(r, o);
      db.data[o] += static_cast<T>(sum);
    }
  }
}

// y_ri = sum_o x_ro W_oi
template <class T>
void matmul_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), w = value<T>(node.inputs[1]), out = value<T>(node.output);
  for (std::int64_t r = 0; r < out.rows; ++r) {
    for (std::int64_t i = 0; i < out.cols; ++i) {
      double sum = 0;
      for (std::int64_t o = 0; o < x.cols; ++o) sum += double(x(r, o)) * double(w(o, i));
      out(r, i) = static_cast<T>(sum);
    }
  }
}

// dx_ro += dy_r . W_o;  dW_oi += sum_r x_ro dy_ri
template <class T>
void matmul_backward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), w = value<T>(node.inputs[1]);
  const auto dx = grad<T>(node.inputs[0]), dw = grad<T>(node.inputs[1]), dout = grad<T>(node.output);
  for (std::int64_t o = 0; o < w.rows; ++o) {
    for (std::int64_t r = 0; dx && r < dout.rows; ++r) dx(r, o) += static_cast<T>(dot(dout.row(r), w.row(o), w.cols));
    for (std::int64_t i = 0; dw && i < w.cols; ++i) {
      double sum = 0;
      for (std::int64_t r = 0; r < dout.rows; ++r) sum += double(x(r, o)) * double(dout(r, i));
      dw(o, i) += static_cast<T>(sum);
    }
  }
}

}  // namespace
}  // namespace piano
