// Elementwise ops: add, mul, scale, blend, tanh, log_sigmoid.
#pragma once

#include "engine/cpu/math.inl"
#include "engine/cpu/node.inl"

namespace piano {
namespace {

void add_forward(const Context&, Node& node) {
  const float* a = value_of(node.inputs[0]);
  const float* b = value_of(node.inputs[1]);
  float* y = value_of(node.output);
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) y[i] = a[i] + b[i];
}

void add_backward(const Context&, Node& node) {
  const float* dy = static_cast<const float*>(node.output->grad);
  for (int side = 0; side < 2; ++side) {
    if (float* dx = grad_of(node.inputs[side]); dx != nullptr) pass_to(dx, dy, elements_of(node.output), is_fresh(node, side));
  }
}

void mul_forward(const Context&, Node& node) {
  const float* a = value_of(node.inputs[0]);
  const float* b = value_of(node.inputs[1]);
  float* y = value_of(node.output);
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) y[i] = a[i] * b[i];
}

void mul_backward(const Context&, Node& node) {
  const float* dy = static_cast<const float*>(node.output->grad);
  for (int side = 0; side < 2; ++side) {
    const float* other = value_of(node.inputs[1 - side]);
    float* dx = grad_of(node.inputs[side]);
    if (dx == nullptr) continue;
    for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) dx[i] += dy[i] * other[i];
  }
}

void scale_forward(const Context&, Node& node) {
  const float factor = static_cast<float>(args_of<ScaleArgs>(node).factor);
  const float* x = value_of(node.inputs[0]);
  float* y = value_of(node.output);
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) y[i] = factor * x[i];
}

void scale_backward(const Context&, Node& node) {
  const float factor = static_cast<float>(args_of<ScaleArgs>(node).factor);
  if (float* dx = grad_of(node.inputs[0]); dx != nullptr) {
    add_scaled_to(dx, static_cast<const float*>(node.output->grad), factor, elements_of(node.output));
  }
}

// inputs: x (rows, d), w (rows, 1), a (d), b (d) or null
void blend_forward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  const float* w = value_of(node.inputs[1]);
  const float* b = optional_value_of(node.inputs[3]);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* to = value_of(node.output) + r * d;
    copy(to, value_of(node.inputs[0]) + r * d, d);
    add_scaled_to(to, value_of(node.inputs[2]), w[r], d);
    if (b != nullptr) add_scaled_to(to, b, 1 - w[r], d);
  }
}

// dx_r += dout_r;  dw_r += dout_r . (a - b);  da += w_r dout_r;  db += (1 - w_r) dout_r
void blend_backward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  const float* w = value_of(node.inputs[1]);
  const float* b = optional_value_of(node.inputs[3]);
  float* dx = grad_of(node.inputs[0]);
  float* dw = grad_of(node.inputs[1]);
  float* da = grad_of(node.inputs[2]);
  float* db = grad_of(node.inputs[3]);
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* dy = static_cast<const float*>(node.output->grad) + r * d;
    if (dx != nullptr) add_to(dx + r * d, dy, d);
    if (dw != nullptr) dw[r] += dot_of(dy, value_of(node.inputs[2]), d) - (b != nullptr ? dot_of(dy, b, d) : 0.0f);
    if (da != nullptr) add_scaled_to(da, dy, w[r], d);
    if (db != nullptr) add_scaled_to(db, dy, 1 - w[r], d);
  }
}

void tanh_forward(const Context&, Node& node) {
  const float* x = value_of(node.inputs[0]);
  float* y = value_of(node.output);
  for_vectors(elements_of(node.output), [&](std::int64_t i, std::int64_t n) { put(y + i, tanh(get(x + i, n)), n); });
}

// d tanh(x) / dx = 1 - y^2
void tanh_backward(const Context&, Node& node) {
  const float* y = value_of(node.output);
  const float* dy = static_cast<const float*>(node.output->grad);
  float* dx = grad_of(node.inputs[0]);
  if (dx == nullptr) return;
  for_vectors(elements_of(node.output), [&](std::int64_t i, std::int64_t n) {
    const F t = get(y + i, n);
    put(dx + i, fma(get(dy + i, n), 1.0f - t * t, get(dx + i, n)), n);
  });
}

void log_sigmoid_forward(const Context&, Node& node) {
  const float* x = value_of(node.inputs[0]);
  float* y = value_of(node.output);
  for_vectors(elements_of(node.output), [&](std::int64_t i, std::int64_t n) { put(y + i, log_sigmoid(get(x + i, n)), n); });
}

// d log s(x) / dx = s(-x)
void log_sigmoid_backward(const Context&, Node& node) {
  const float* x = value_of(node.inputs[0]);
  const float* dy = static_cast<const float*>(node.output->grad);
  float* dx = grad_of(node.inputs[0]);
  if (dx == nullptr) return;
  for_vectors(elements_of(node.output), [&](std::int64_t i, std::int64_t n) {
    put(dx + i, fma(get(dy + i, n), sigmoid(-get(x + i, n)), get(dx + i, n)), n);
  });
}

}  // namespace
}  // namespace piano
