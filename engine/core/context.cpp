#include "engine/core/context.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/core/device.h"

namespace piano {
namespace {

template <class To, class From>
void convert(std::span<const From> from, void* to) {
  if constexpr (std::is_same_v<To, From>) std::copy(from.begin(), from.end(), static_cast<To*>(to));  // by memmove
  else std::transform(from.begin(), from.end(), static_cast<To*>(to), [](From v) { return static_cast<To>(v); });
}

TensorRecord* new_record(const Context& context, Shape shape) {
  auto* record = context.arena->make<TensorRecord>();
  record->shape = shape;
  record->dtype = context.dtype();
  return record;
}

template <class From>
Tensor filled(const Context& context, std::span<const From> values, Shape shape) {
  PIANO_CHECK(static_cast<std::int64_t>(values.size()) == shape.elements(),
              "[constant] expected " + std::to_string(shape.elements()) + " values for shape " + to_string(shape) + ", got " +
                  std::to_string(values.size()));
  TensorRecord* record = new_record(context, shape);
  void* host = nullptr;
  if (context.memory != nullptr) {
    const DeviceMemory::Staged staged = context.memory->stage(padded_bytes(*record));
    record->value = staged.device, host = staged.host;
  } else {
    record->value = host = context.arena->allocate(padded_bytes(*record));
  }
  record->dtype == DType::f64 ? convert<double>(values, host) : convert<float>(values, host);
  return {record, context.arena->epoch()};
}

}  // namespace

DType Context::dtype() const { return device->dtype; }

void Context::zero(void* to, std::size_t bytes) const { memory != nullptr ? memory->zero(to, bytes) : void(std::memset(to, 0, bytes)); }

Tensor Context::empty(Shape shape) const {
  TensorRecord* record = new_record(*this, shape);
  record->value = allocate(padded_bytes(*record));
  return {record, arena->epoch()};
}

Tensor Context::constant(std::span<const float> values, Shape shape) const { return filled(*this, values, shape); }

Tensor Context::constant(std::span<const double> values, Shape shape) const { return filled(*this, values, shape); }

Tensor Context::variable(std::span<const double> values, Shape shape) const {
  const Tensor tensor = filled(*this, values, shape);
  tensor.record()->requires_grad = tape != nullptr;
  return tensor;
}

void Context::to_host(std::span<const Tensor> tensors) const {
  if (memory == nullptr) return;
  std::vector<DeviceMemory::Part> parts;
  for (const Tensor& t : tensors) {
    if (!t) continue;
    const std::size_t bytes = static_cast<std::size_t>(t.shape().elements()) * size_of(t.dtype());
    void* const host = arena->allocate(padded_bytes(*t.record()));
    parts.push_back({host, std::exchange(t.record()->value, host), bytes});
  }
  memory->read(parts);
}

Tensor Context::parameter(ParameterId id) const {
  PIANO_CHECK(parameters != nullptr && id, "[parameter] expected a declared parameter and a context with its store");
  PIANO_CHECK(parameters->dtype() == dtype(), "[parameter] the store's element type is not the device's: use copy_values_from()");
  const Parameter& p = (*parameters)[id];
  auto* record = arena->make<TensorRecord>();
  record->shape = p.shape;
  record->dtype = parameters->dtype();
  record->value = memory != nullptr ? memory->value(p) : parameters->value(p);
  record->padded = false;
  record->packed = packed != nullptr ? packed->of(id) : nullptr;
  record->requires_grad = tape != nullptr && gradients != nullptr;
  if (record->requires_grad) {
    if (p.is_table) {
      record->row_grads = &gradients->tables[p.table];
    } else {
      record->grad = memory != nullptr ? memory->gradient(p) : gradients->dense.data() + p.offset * size_of(parameters->dtype());
      record->grad_written = &gradients->written[static_cast<std::size_t>(id.index)];
    }
  }
  return {record, arena->epoch()};
}

}  // namespace piano
