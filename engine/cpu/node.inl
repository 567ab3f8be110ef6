// What kernels read of a node. Internal linkage on purpose: an inline function of a shared header that the compiler leaves out of line here
// would be compiled for this level's instruction set and could be linked into code that runs on every machine.
#pragma once

#include <cstdint>

#include "engine/core/context.h"
#include "engine/core/device.h"
#include "engine/cpu/lanes.inl"
#include "engine/ops/args.h"

namespace piano {
namespace {

inline std::int64_t cols_of(const TensorRecord* t) { return t->shape.rank() == 0 ? 1 : t->shape[t->shape.rank() - 1]; }

inline std::int64_t rows_of(const TensorRecord* t) {
  std::int64_t n = 1;
  for (int i = 0; i + 1 < t->shape.rank(); ++i) n *= t->shape[i];
  return n;
}

inline std::int64_t elements_of(const TensorRecord* t) { return rows_of(t) * cols_of(t); }

inline float* value_of(const TensorRecord* t) { return static_cast<float*>(t->value); }

inline const float* optional_value_of(const TensorRecord* t) { return t == nullptr ? nullptr : value_of(t); }

// Where the gradient of an input is to be added; null when nobody asks for it.
inline float* grad_of(const TensorRecord* t) { return t != nullptr && t->requires_grad ? static_cast<float*>(t->grad) : nullptr; }

// The gradient of input i holds nothing yet: write it, do not add.
inline bool is_fresh(const Node& node, int i) { return (node.fresh >> i & 1) != 0; }

template <class Args>
inline const Args& args_of(const Node& node) { return *static_cast<const Args*>(node.args); }

inline float* scratch(const Context& context, std::int64_t n) {
  return static_cast<float*>(context.arena->allocate(static_cast<std::size_t>(n) * sizeof(float)));
}

inline void copy(float* to, const float* from, std::int64_t n) { std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(float)); }
inline void zero(float* to, std::int64_t n) { std::memset(to, 0, static_cast<std::size_t>(n) * sizeof(float)); }

inline void add_to(float* to, const float* from, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += from[i];
}

// to += from, or = when it is fresh
inline void pass_to(float* to, const float* from, std::int64_t n, bool fresh) { fresh ? copy(to, from, n) : add_to(to, from, n); }

inline void add_scaled_to(float* to, const float* from, float factor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] += factor * from[i];
}

inline float dot_of(const float* a, const float* b, std::int64_t n) {
  F total{};
  for_vectors(n, [&](std::int64_t i, std::int64_t lanes) { total = fma(get(a + i, lanes), get(b + i, lanes), total); });
  return sum(total);
}

}  // namespace
}  // namespace piano
