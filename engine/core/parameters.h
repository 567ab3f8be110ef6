// Parameters: dotted names ("encoder.0.attention.wq") over flat arrays. Dense parameters share one array, so that clipping, AdamW and the
// reduction of gradients are one walk; each embedding table has an array of its own, whose gradients are sparse rows.
//
// Names and shapes are a contract with every saved model (tests/golden/parameter_names.txt).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/shape.h"
#include "engine/core/tensor.h"

namespace piano {

struct Parameter {
  std::string name;
  Shape shape;
  bool is_table = false;        // sparse row gradients, no weight decay
  bool decay = false;           // AdamW's decoupled weight decay applies (matrices, not biases, norms or tables)
  std::size_t offset = 0;       // dense: first element within the flat array
  std::size_t table = 0;        // table: index of its array
};

// A handle: an index into the store. Layers keep these.
struct ParameterId {
  std::int32_t index = -1;
  explicit operator bool() const { return index >= 0; }
};

// The gradient of a table: the rows that were touched, each once, in the order in which they were first touched. A hash map from row to place
// that is as large as the rows touched, never as the table. Ids are Zipf: most touches meet a row that is there, and still in the cache.
class RowGradients {
 public:
  void reset(std::int64_t columns, DType dtype);
  void reserve(std::int64_t rows);
  // The gradient of `row`, to be added to: zeros when it is new. Valid until the next call.
  void* at(std::int32_t row);
  // at(row) will be called soon: fetches where it is looked up.
  void prefetch(std::int32_t row) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[first_slot(row)]);
  }
  // The same if it was touched, else null.
  const void* find(std::int32_t row) const;

  std::span<const std::int32_t> rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t touches() const { return touches_; }  // calls of at() since reset()
  std::span<const std::byte> bytes() const { return values_; }  // (rows().size(), columns), row-major
  template <class T> std::span<const T> values() const {
    return {reinterpret_cast<const T*>(values_.data()), rows_.size() * static_cast<std::size_t>(columns_)};
  }

 private:
  struct Slot {
    std::int32_t row, place;  // place in rows_, or -1: free
  };
  std::size_t first_slot(std::int32_t row) const {  // multiplicative hashing (Knuth, volume 3, 6.4)
    return (static_cast<std::uint64_t>(row) * 0x9E3779B97F4A7C15u >> 32) & (slots_.size() - 1);
  }
  std::size_t slot_of(std::int32_t row) const;
  void grow(std::size_t slots);

  std::vector<std::int32_t> rows_;
  std::vector<std::byte> values_;
  std::vector<Slot> slots_;  // a power of two, at least twice the rows
  std::int64_t columns_ = 0, touches_ = 0;
  DType dtype_ = DType::f32;
};

// The gradients of one accumulator: dense ones as one flat array, tables as touched rows.
struct Gradients {
  std::vector<std::byte> dense;          // dense_elements() of the store's dtype
  std::vector<RowGradients> tables;      // one per table
  std::vector<std::uint8_t> written;     // one per parameter: 0 when its part of `dense` holds nothing yet and is to be written, not added to
  template <class T> std::span<T> dense_as() { return {reinterpret_cast<T*>(dense.data()), dense.size() / sizeof(T)}; }
};

class ParameterStore {
 public:
  explicit ParameterStore(DType dtype = DType::f32) : dtype_(dtype) {}

  DType dtype() const { return dtype_; }

  // Declaration, before allocate(). Throws ErrorCode::internal on a name that exists.
  ParameterId add(std::string name, Shape shape, bool decay);
  ParameterId add_table(std::string name, std::int64_t rows, std::int64_t cols);
  void allocate();  // zeroed values for all that was declared

  const std::vector<Parameter>& parameters() const { return parameters_; }
  const Parameter& operator[](ParameterId id) const { return parameters_[static_cast<std::size_t>(id.index)]; }
  std::size_t dense_elements() const { return dense_elements_; }
  std::size_t table_count() const { return table_shapes_.size(); }
  const Shape& table_shape(std::size_t table) const { return table_shapes_[table]; }
  std::int64_t elements() const;  // of all parameters

  // Values. A store may own them, or borrow f32 values that lie elsewhere (a mapped model file).
  void* value(const Parameter& p) const;
  template <class T> std::span<T> values(const Parameter& p) const {
    PIANO_CHECK(dtype_ == dtype_of<T>::value, "[parameters] wrong element type");
    return {static_cast<T*>(value(p)), static_cast<std::size_t>(p.shape.elements())};
  }
  template <class T> std::span<T> dense() { return {reinterpret_cast<T*>(dense_.get()), dense_elements_}; }
  template <class T> std::span<T> table(std::size_t i) {
    return {reinterpret_cast<T*>(tables_[i].get()), static_cast<std::size_t>(table_shapes_[i].elements())};
  }
  void borrow_table(std::size_t table, const void* values);  // requires: values outlive the store; such a store is read-only

  void prepare(Gradients& gradients) const;  // sizes and zeroes an accumulator for this store
  void zero(Gradients& gradients) const;
  // The same without touching the dense part: between start() and finish() the tape writes what nobody wrote yet, and finish() zeroes the rest.
  void start(Gradients& gradients) const;
  void finish(Gradients& gradients) const;

  // Converts values between dtypes (f32 -> f64 and back). requires: the same parameters in both.
  void copy_values_from(const ParameterStore& other);

 private:
  ParameterId declare(Parameter p);

  DType dtype_;
  std::vector<Parameter> parameters_;
  std::size_t dense_elements_ = 0;
  std::vector<Shape> table_shapes_;
  struct Free { void operator()(std::byte* p) const; };
  std::unique_ptr<std::byte[], Free> dense_;
  std::vector<std::unique_ptr<std::byte[], Free>> tables_;
  std::vector<const void*> borrowed_;
};

}  // namespace piano
