// add, mul, scale, blend, tanh, log_sigmoid, exp, dropout: each element by itself.
#pragma once

#include "engine/ref/matrix.h"
#include "engine/ref/scalar_functions.h"

namespace piano {
namespace {

inline std::int64_t elements(const Node& node) { return node.output->shape.elements(); }

template <class T>
void add_forward(const Context&, Node& node) {
  const auto a = value<T>(node.inputs[0]), b = value<T>(node.inputs[1]), out = value<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) out.data[i] = a.data[i] + b.data[i];
}

template <class T>
void add_backward(const Context&, Node& node) {
  const auto da = grad<T>(node.inputs[0]), db = grad<T>(node.inputs[1]), dout = grad<T>(node.output);
  if (da) add_scaled(da.data, dout.data, elements(node), 1);
  if (db) add_scaled(db.data, dout.data, elements(node), 1);
}

template <class T>
void mul_forward(const Context&, Node& node) {
  const auto a = value<T>(node.inputs[0]), b = value<T>(node.inputs[1]), out = value<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) out.data[i] = a.data[i] * b.data[i];
}

template <class T>
void mul_backward(const Context&, Node& node) {
  const auto a = value<T>(node.inputs[0]), b = value<T>(node.inputs[1]);
  const auto da = grad<T>(node.inputs[0]), db = grad<T>(node.inputs[1]), dout = grad<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) {
    if (da) da.data[i] += dout.data[i] * b.data[i];
    if (db) db.data[i] += dout.data[i] * a.data[i];
  }
}

template <class T>
void scale_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), out = value<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) out.data[i] = static_cast<T>(args<ScaleArgs>(node).factor * x.data[i]);
}

template <class T>
void scale_backward(const Context&, Node& node) {
  add_scaled(grad<T>(node.inputs[0]).data, grad<T>(node.output).data, elements(node), args<ScaleArgs>(node).factor);
}

// out_r = x_r + w_r a + (1 - w_r) b
template <class T>
void blend_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), w = value<T>(node.inputs[1]), a = value<T>(node.inputs[2]), b = value<T>(node.inputs[3]);
  const auto out = value<T>(node.output);
  for (std::int64_t r = 0; r < out.rows; ++r) {
    for (std::int64_t c = 0; c < out.cols; ++c) {
      const double share = w.data[r];
      out(r, c) = static_cast<T>(x(r, c) + share * a.data[c] + (b ? (1 - share) * b.data[c] : 0.0));
    }
  }
}

template <class T>
void blend_backward(const Context&, Node& node) {
  const auto w = value<T>(node.inputs[1]), a = value<T>(node.inputs[2]), b = value<T>(node.inputs[3]), dout = grad<T>(node.output);
  const auto dx = grad<T>(node.inputs[0]), dw = grad<T>(node.inputs[1]), da = grad<T>(node.inputs[2]), db = grad<T>(node.inputs[3]);
  for (std::int64_t r = 0; r < dout.rows; ++r) {
    const double share = w.data[r];
    if (dx) add_scaled(dx.row(r), dout.row(r), dout.cols, 1);
    if (dw) dw.data[r] += static_cast<T>(dot(dout.row(r), a.data, dout.cols) - (b ? dot(dout.row(r), b.data, dout.cols) : 0.0));
    if (da) add_scaled(da.data, dout.row(r), dout.cols, share);
    if (db) add_scaled(db.data, dout.row(r), dout.cols, 1 - share);
  }
}

template <class T>
void tanh_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), out = value<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) out.data[i] = static_cast<T>(std::tanh(double(x.data[i])));
}

// d/dx tanh(x) = 1 - tanh(x)^2
template <class T>
void tanh_backward(const Context&, Node& node) {
  const auto y = value<T>(node.output), dx = grad<T>(node.inputs[0]), dout = grad<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) dx.data[i] += static_cast<T>(dout.data[i] * (1 - double(y.data[i]) * y.data[i]));
}

template <class T>
void log_sigmoid_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), out = value<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) out.data[i] = static_cast<T>(log_sigmoid(x.data[i]));
}

// d/dx log s(x) = s(-x)
template <class T>
void log_sigmoid_backward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), dx = grad<T>(node.inputs[0]), dout = grad<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) dx.data[i] += static_cast<T>(dout.data[i] * sigmoid(-double(x.data[i])));
}

template <class T>
void exp_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), out = value<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) out.data[i] = static_cast<T>(std::exp(double(x.data[i])));
}

template <class T>
void exp_backward(const Context&, Node& node) {
  const auto y = value<T>(node.output), dx = grad<T>(node.inputs[0]), dout = grad<T>(node.output);
  for (std::int64_t i = 0; i < elements(node); ++i) dx.data[i] += dout.data[i] * y.data[i];
}

// Calls f(list, row within the list, row) for each row of all lists.
template <class F>
void for_each_row(Ragged lists, F f) {
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    for (std::int32_t r = 0; r < lists.size(l); ++r) f(l, r, lists.begin(l) + r);
  }
}

// to += mask * from / (1 - p), the mask a pure function of (seed, step, site, list, row, column)
template <class T>
void add_kept(const DropoutArgs& a, Matrix<T> from, Matrix<T> to) {
  for_each_row(a.lists, [&](std::int32_t list, std::int32_t row_in_list, std::int64_t row) {
    for (std::int64_t c = 0; c < to.cols; ++c) {
      const bool kept = a.kept(list, row_in_list, c / 4)[static_cast<std::size_t>(c % 4)];
      if (kept) to(row, c) += static_cast<T>(a.factor * from(row, c));
    }
  });
}

template <class T>
void dropout_forward(const Context&, Node& node) {
  zero(value<T>(node.output));
  add_kept(args<DropoutArgs>(node), value<T>(node.inputs[0]), value<T>(node.output));
}

template <class T>
void dropout_backward(const Context&, Node& node) {
  add_kept(args<DropoutArgs>(node), grad<T>(node.output), grad<T>(node.inputs[0]));
}

}  // namespace
}  // namespace piano
