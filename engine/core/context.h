// Where ops run and what they record: device, arena, tape, randomness. One Context is used by one thread at a time.
#pragma once

#include <cstdint>
#include <span>

#include "engine/base/random.h"
#include "engine/core/arena.h"
#include "engine/core/device_memory.h"
#include "engine/core/packed_weights.h"
#include "engine/core/parameters.h"
#include "engine/core/tape.h"
#include "engine/core/tensor.h"

namespace piano {

struct Device;        // engine/core/device.h
class SharedForward;  // engine/ops/shared_forward.h

struct Context {
  const Device* device = nullptr;
  Arena* arena = nullptr;
  DeviceMemory* memory = nullptr;             // where tensors lie on a device with memory of its own; null: in the arena
  Tape* tape = nullptr;                       // null: inference, nothing is recorded
  SharedForward* shared = nullptr;            // inference on several threads: ops are noted down, and computed when it runs
  const ParameterStore* parameters = nullptr;
  const PackedWeights* packed = nullptr;      // of `parameters` as they are now; null: products pack on the way
  Gradients* gradients = nullptr;             // the accumulator; null: parameters get no gradient
  RandomKey random;                           // seed and step
  std::int32_t first_list = 0;                // index within the whole batch of this micro-batch's first list
  bool training = false;                      // dropout and id dropout are on
  std::int32_t padding = INT32_MAX;           // lists from this one on are there for a batch's size alone: their ids are not dropped

  DType dtype() const;

  // Memory for values, gradients and what is saved: the device's.
  void* allocate(std::size_t bytes) const { return memory != nullptr ? memory->allocate(bytes) : arena->allocate(bytes); }
  void zero(void* to, std::size_t bytes) const;

  // An uninitialised matrix (rows padded, see kRowBlock).
  Tensor empty(Shape shape) const;
  // A constant: `values` converted to the device's dtype. No gradient.
  Tensor constant(std::span<const float> values, Shape shape) const;
  Tensor constant(std::span<const double> values, Shape shape) const;
  // A variable whose gradient is wanted (tests).
  Tensor variable(std::span<const double> values, Shape shape) const;
  // Brings the values of these tensors, or none, from the device's memory into the arena, once all that was noted down has run. Nothing is to be
  // done where the device computes in the host's memory.
  void to_host(std::span<const Tensor> tensors) const;
  // The leaf of a parameter: its value in the store, its gradient in this context's accumulator.
  Tensor parameter(ParameterId id) const;
};

}  // namespace piano
