#include "engine/core/parameters.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <utility>

namespace piano {
namespace {

constexpr std::align_val_t kAlignment{64};

std::byte* zeroed(std::size_t bytes) {
  auto* p = static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes, 1), kAlignment));
  std::memset(p, 0, bytes);
  return p;
}

template <class To, class From>
void convert(const void* from, void* to, std::int64_t n) {
  std::transform(static_cast<const From*>(from), static_cast<const From*>(from) + n, static_cast<To*>(to),
                 [](From v) { return static_cast<To>(v); });
}

void convert(const void* from, DType from_type, void* to, DType to_type, std::int64_t n) {
  if (from_type == DType::f64) {
    to_type == DType::f64 ? convert<double, double>(from, to, n) : convert<float, double>(from, to, n);
  } else {
    to_type == DType::f64 ? convert<double, float>(from, to, n) : convert<float, float>(from, to, n);
  }
}

}  // namespace

void RowGradients::reset(std::int64_t columns, DType dtype) {
  rows_.clear(), values_.clear();
  std::fill(slots_.begin(), slots_.end(), Slot{0, -1});
  columns_ = columns, dtype_ = dtype, touches_ = 0;
}

void RowGradients::reserve(std::int64_t rows) {
  const auto n = static_cast<std::size_t>(rows);
  rows_.reserve(n);
  values_.reserve(n * static_cast<std::size_t>(columns_) * size_of(dtype_));
  if (2 * n > slots_.size()) grow(std::bit_ceil(2 * n));
}

// Where `row` is, or the free slot where it would be: the first, or the next after it.
std::size_t RowGradients::slot_of(std::int32_t row) const {
  std::size_t slot = first_slot(row);
  while (slots_[slot].place >= 0 && slots_[slot].row != row) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void RowGradients::grow(std::size_t slots) {
  slots_.assign(slots, {0, -1});
  for (std::size_t i = 0; i < rows_.size(); ++i) slots_[slot_of(rows_[i])] = {rows_[i], static_cast<std::int32_t>(i)};
}

void* RowGradients::at(std::int32_t row) {
  ++touches_;
  if (2 * (rows_.size() + 1) > slots_.size()) grow(std::max<std::size_t>(64, 2 * slots_.size()));
  auto& [of, place] = slots_[slot_of(row)];
  const std::size_t row_bytes = static_cast<std::size_t>(columns_) * size_of(dtype_);
  if (place < 0) {
    of = row;
    place = static_cast<std::int32_t>(rows_.size());
    rows_.push_back(row);
    values_.resize(values_.size() + row_bytes);  // zeroed
  }
  return values_.data() + static_cast<std::size_t>(place) * row_bytes;
}

const void* RowGradients::find(std::int32_t row) const {
  if (slots_.empty()) return nullptr;
  const std::int32_t place = slots_[slot_of(row)].place;
  return place < 0 ? nullptr : values_.data() + static_cast<std::size_t>(place) * static_cast<std::size_t>(columns_) * size_of(dtype_);
}

void ParameterStore::Free::operator()(std::byte* p) const { ::operator delete(p, kAlignment); }

ParameterId ParameterStore::declare(Parameter p) {
  PIANO_CHECK(!dense_, "[parameters] '" + p.name + "' was declared after allocate()");
  for (const Parameter& other : parameters_) {
    PIANO_CHECK(other.name != p.name, "[parameters] '" + p.name + "' was declared twice: give each module a name of its own");
  }
  parameters_.push_back(std::move(p));
  return {static_cast<std::int32_t>(parameters_.size() - 1)};
}

ParameterId ParameterStore::add(std::string name, Shape shape, bool decay) {
  Parameter p{std::move(name), shape};
  p.decay = decay;
  p.offset = dense_elements_;
  const ParameterId id = declare(std::move(p));
  dense_elements_ += static_cast<std::size_t>(shape.elements());
  return id;
}

ParameterId ParameterStore::add_table(std::string name, std::int64_t rows, std::int64_t cols) {
  Parameter p{std::move(name), Shape{rows, cols}};
  p.is_table = true;
  p.table = table_shapes_.size();
  const ParameterId id = declare(std::move(p));
  table_shapes_.push_back(Shape{rows, cols});
  tables_.emplace_back();
  borrowed_.push_back(nullptr);
  return id;
}

void ParameterStore::allocate() {
  dense_.reset(zeroed(dense_elements_ * size_of(dtype_)));
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    if (borrowed_[i] == nullptr) tables_[i].reset(zeroed(static_cast<std::size_t>(table_shapes_[i].elements()) * size_of(dtype_)));
  }
}

std::int64_t ParameterStore::elements() const {
  std::int64_t n = 0;
  for (const Parameter& p : parameters_) n += p.shape.elements();
  return n;
}

void* ParameterStore::value(const Parameter& p) const {
  PIANO_CHECK(dense_, "[parameters] '" + p.name + "' was read before allocate()");
  if (!p.is_table) return dense_.get() + p.offset * size_of(dtype_);
  if (borrowed_[p.table] != nullptr) return const_cast<void*>(borrowed_[p.table]);  // read-only by contract
  return tables_[p.table].get();
}

void ParameterStore::borrow_table(std::size_t table, const void* values) {
  borrowed_[table] = values;
  tables_[table].reset();
}

void ParameterStore::prepare(Gradients& gradients) const {
  gradients.dense.resize(dense_elements_ * size_of(dtype_));
  gradients.tables.resize(table_shapes_.size());
  gradients.written.resize(parameters_.size());
  zero(gradients);
}

void ParameterStore::zero(Gradients& gradients) const {
  start(gradients);
  finish(gradients);
}

void ParameterStore::start(Gradients& gradients) const {
  std::fill(gradients.written.begin(), gradients.written.end(), std::uint8_t{0});
  for (std::size_t i = 0; i < table_shapes_.size(); ++i) gradients.tables[i].reset(table_shapes_[i].cols(), dtype_);
}

void ParameterStore::finish(Gradients& gradients) const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& p = parameters_[i];
    if (p.is_table || gradients.written[i] != 0) continue;
    std::memset(gradients.dense.data() + p.offset * size_of(dtype_), 0, static_cast<std::size_t>(p.shape.elements()) * size_of(dtype_));
    gradients.written[i] = 1;
  }
}

void ParameterStore::copy_values_from(const ParameterStore& other) {
  PIANO_CHECK(parameters_.size() == other.parameters_.size(), "[parameters] expected the same parameters in both stores");
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter &to = parameters_[i], &from = other.parameters_[i];
    PIANO_CHECK(to.name == from.name && to.shape == from.shape, "[parameters] expected '" + to.name + "' of shape " + to_string(to.shape) +
                                                                    " in both stores, got '" + from.name + "' of shape " + to_string(from.shape));
    convert(other.value(from), other.dtype_, value(to), dtype_, to.shape.elements());
  }
}

}  // namespace piano
