#include "engine/core/context.h"

#include <algorithm>

#include "engine/core/device.h"

namespace piano {
namespace {

template <class To, class From>
void convert(std::span<const From> from, void* to) {
  std::transform(from.begin(), from.end(), static_cast<To*>(to), [](From v) { return static_cast<To>(v); });
}

template <class From>
Tensor filled(const Context& context, std::span<const From> values, Shape shape) {
  PIANO_CHECK(static_cast<std::int64_t>(values.size()) == shape.elements(),
              "[constant] expected " + std::to_string(shape.elements()) + " values for shape " + to_string(shape) + ", got " +
                  std::to_string(values.size()));
  const Tensor tensor = context.empty(shape);
  if (tensor.dtype() == DType::f64) {
    convert<double>(values, tensor.record()->value);
  } else {
    convert<float>(values, tensor.record()->value);
  }
  return tensor;
}

}  // namespace

DType Context::dtype() const { return device->dtype; }

Tensor Context::empty(Shape shape) const {
  auto* record = arena->make<TensorRecord>();
  record->shape = shape;
  record->dtype = dtype();
  record->value = arena->allocate(static_cast<std::size_t>(padded_rows(shape.rows()) * shape.cols()) * size_of(dtype()));
  return {record, arena->epoch()};
}

Tensor Context::constant(std::span<const float> values, Shape shape) const { return filled(*this, values, shape); }

Tensor Context::constant(std::span<const double> values, Shape shape) const { return filled(*this, values, shape); }

Tensor Context::variable(std::span<const double> values, Shape shape) const {
  const Tensor tensor = filled(*this, values, shape);
  tensor.record()->requires_grad = tape != nullptr;
  return tensor;
}

Tensor Context::parameter(ParameterId id) const {
  PIANO_CHECK(parameters != nullptr && id, "[parameter] expected a declared parameter and a context with its store");
  PIANO_CHECK(parameters->dtype() == dtype(), "[parameter] the store's element type is not the device's: use copy_values_from()");
  const Parameter& p = (*parameters)[id];
  auto* record = arena->make<TensorRecord>();
  record->shape = p.shape;
  record->dtype = parameters->dtype();
  record->value = parameters->value(p);
  record->padded = false;
  record->packed = packed != nullptr ? packed->of(id) : nullptr;
  record->requires_grad = tape != nullptr && gradients != nullptr;
  if (record->requires_grad) {
    if (p.is_table) {
      record->row_grads = &gradients->tables[p.table];
    } else {
      record->grad = gradients->dense.data() + p.offset * size_of(parameters->dtype());
      record->grad_written = &gradients->written[static_cast<std::size_t>(id.index)];
    }
  }
  return {record, arena->epoch()};
}

}  // namespace piano
