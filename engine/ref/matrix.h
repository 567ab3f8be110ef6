// The reference kernels: scalar loops, the executable specification of each op. Written to be read, not to be fast.
//
// Every kernel is templated on the element type (float or double) and adds up in double. What forward would have to save, backward computes
// again. The functions have internal linkage: reference.cpp is the one file that includes these headers.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/core/context.h"
#include "engine/core/tape.h"
#include "engine/ops/args.h"

namespace piano {
namespace {

// A row-major matrix, or nothing (data == nullptr): a gradient that is not wanted, an optional input that is absent.
template <class T>
struct Matrix {
  T* data = nullptr;
  std::int64_t rows = 0, cols = 0;

  explicit operator bool() const { return data != nullptr; }
  T* row(std::int64_t r) const { return data + r * cols; }
  T& operator()(std::int64_t r, std::int64_t c) const { return data[r * cols + c]; }
};

template <class T>
Matrix<T> value(const TensorRecord* record) {
  if (record == nullptr) return {};
  return {static_cast<T*>(record->value), record->shape.rows(), record->shape.cols()};
}

// The gradient: null when nobody wants it.
template <class T>
Matrix<T> grad(const TensorRecord* record) {
  if (record == nullptr || !record->requires_grad) return {};
  return {static_cast<T*>(record->grad), record->shape.rows(), record->shape.cols()};
}

template <class Args>
const Args& args(const Node& node) {
  return *static_cast<const Args*>(node.args);
}

template <class T>
void zero(Matrix<T> m) {
  std::fill(m.data, m.data + m.rows * m.cols, T(0));
}

// to += factor * from, over n elements
template <class T>
void add_scaled(T* to, const T* from, std::int64_t n, double factor) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += static_cast<T>(factor * from[i]);
}

template <class T>
double dot(const T* a, const T* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double(a[i]) * double(b[i]);
  return sum;
}

}  // namespace
}  // namespace piano
