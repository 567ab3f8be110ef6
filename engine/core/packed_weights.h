// Weight matrices in the order in which a device's products read them: packed once per update, read by every micro-batch or request after it.
#pragma once

#include <cstddef>
#include <vector>

#include "engine/core/parameters.h"

namespace piano {

struct Device;  // engine/core/device.h

class PackedWeights {
 public:
  // Of every weight matrix of the store; of none on a device that reads them as they lie. To be called again when values changed.
  void pack(const ParameterStore& store, const Device& device);
  // Null when the parameter is no weight matrix, or nothing was packed.
  const void* of(ParameterId id) const;

 private:
  struct Free { void operator()(float* p) const; };
  std::vector<std::size_t> offsets_;  // by parameter: first element, or kNone
  std::unique_ptr<float[], Free> packed_;
};

}  // namespace piano
