// A tensor is a small handle to a record that lives in the arena of its micro-batch (an activation, a constant, or a leaf for a parameter).
#pragma once

#include <cstdint>
#include <span>

#include "engine/base/dtype.h"
#include "engine/core/shape.h"

namespace piano {

class RowGradients;

// Activations are padded: a matrix has room for a multiple of kRowBlock rows, so that a kernel may work on whole blocks of rows and a row's
// bits do not depend on how many rows there are. What the padding rows hold is unspecified.
inline constexpr std::int64_t kRowBlock = 8;

constexpr std::int64_t padded_rows(std::int64_t rows) { return (rows + kRowBlock - 1) / kRowBlock * kRowBlock; }

struct TensorRecord {
  Shape shape;
  DType dtype = DType::f32;
  bool requires_grad = false;
  bool padded = true;                  // room for whole blocks of rows, as an activation has and a parameter has not
  void* value = nullptr;               // row-major
  void* grad = nullptr;                // same shape; null until backward reaches it (for a dense parameter: its slice of the accumulator)
  const void* packed = nullptr;        // a weight matrix as the device's products want it (PackedWeights), or null
  std::uint8_t* grad_written = nullptr;  // a dense parameter: Gradients::written of it
  RowGradients* row_grads = nullptr;   // an embedding table's gradient goes here, row by row, and not into `grad`
};

// Of an activation's value, or of its gradient.
inline std::size_t padded_bytes(const TensorRecord& record) {
  return static_cast<std::size_t>(padded_rows(record.shape.rows()) * record.shape.cols()) * size_of(record.dtype);
}

class Tensor {
 public:
  Tensor() = default;  // "no tensor", for optional inputs
  Tensor(TensorRecord* record, const std::uint32_t* arena_epoch) : record_(record), arena_epoch_(arena_epoch), epoch_(*arena_epoch) {}

  explicit operator bool() const { return record_ != nullptr; }
  TensorRecord* record() const {
    PIANO_ASSERT(record_ == nullptr || *arena_epoch_ == epoch_, "[tensor] used after its arena was reset");
    return record_;
  }

  const Shape& shape() const { return record()->shape; }
  DType dtype() const { return record()->dtype; }
  std::int64_t rows() const { return shape().rows(); }
  std::int64_t cols() const { return shape().cols(); }

  // requires: T is the tensor's element type
  template <class T>
  std::span<T> values() const {
    PIANO_CHECK(dtype() == dtype_of<T>::value, "[tensor] wrong element type");
    return {static_cast<T*>(record()->value), static_cast<std::size_t>(shape().elements())};
  }
  template <class T>
  std::span<T> grads() const {  // empty when no gradient reached the tensor
    PIANO_CHECK(dtype() == dtype_of<T>::value, "[tensor] wrong element type");
    if (record()->grad == nullptr) return {};
    return {static_cast<T*>(record()->grad), static_cast<std::size_t>(shape().elements())};
  }
  double item() const;  // requires: one element

 private:
  TensorRecord* record_ = nullptr;
  const std::uint32_t* arena_epoch_ = nullptr;
  std::uint32_t epoch_ = 0;
};

// Rows of several lists, back to back: list i has the rows offsets[i] .. offsets[i+1]-1 (ragged; also called jagged, varlen, cu_seqlens).
// A view: the offsets must outlive the tape.
struct Ragged {
  const std::int32_t* offsets = nullptr;  // (lists + 1), offsets[0] = 0, not decreasing
  std::int32_t lists = 0;

  std::int32_t rows() const { return lists == 0 ? 0 : offsets[lists]; }
  std::int32_t begin(std::int32_t list) const { return offsets[list]; }
  std::int32_t end(std::int32_t list) const { return offsets[list + 1]; }
  std::int32_t size(std::int32_t list) const { return end(list) - begin(list); }
};

// Bags of ids into an embedding table: row r of the result pools the rows ids[offsets[r]] .. ids[offsets[r+1]-1] of the table.
struct Bags {
  const std::int32_t* offsets = nullptr;  // (rows + 1); null: one id per row
  const std::int32_t* ids = nullptr;
  std::int32_t rows = 0;
};

// Pairs of a row and a key of the same list that share something: list l has the pairs offsets[l] .. offsets[l+1]-1.
struct Matches {
  const std::int32_t* offsets = nullptr;  // (lists + 1)
  const std::int32_t* rows = nullptr;     // counted over all lists, as are the keys
  const std::int32_t* keys = nullptr;
  const std::int32_t* columns = nullptr;  // what is shared
  std::int32_t lists = 0;

  std::int32_t size() const { return lists == 0 ? 0 : offsets[lists]; }
};

}  // namespace piano
