// Shape checks of the ops. Messages are "[attention] expected k with 64 columns, got 32: what to do", and are built only on failure.
#pragma once

#include <cstdint>
#include <span>

#include "engine/core/tensor.h"

namespace piano {

// Where a check happens and what the reader of the message can do about it.
struct CheckedOp {
  const char* op;
  const char* hint;

  void present(const char* name, const Tensor& x) const;
  void rows(const char* name, const Tensor& x, std::int64_t rows) const;
  void cols(const char* name, const Tensor& x, std::int64_t cols) const;
  // Memory for whole blocks of rows, which products read.
  void padded(const char* name, const Tensor& x) const;
  void elements(const char* name, const Tensor& x, std::int64_t n) const;
  void same_shape(const char* name, const Tensor& x, const Tensor& as) const;
  // Offsets start at 0, do not decrease and end at `rows`.
  void lists(const char* name, Ragged lists, std::int64_t rows) const;
  // 0 <= index < n for all of them
  void indices(const char* name, std::span<const std::int32_t> index, std::int64_t n) const;
};

}  // namespace piano
