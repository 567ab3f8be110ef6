// The memory of a device that does not compute in the host's (CUDA). The host plans ahead of the device: allocate() and stage() give addresses
// at once, kernels are noted down; run() hands over everything staged in one transfer and starts the kernels, without waiting for them.
// Whatever is not said to last lives until reset(). One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/core/parameters.h"

namespace piano {

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  virtual void* allocate(std::size_t bytes) = 0;  // uninitialised
  struct Staged {
    void* host;    // to be written before run()
    void* device;  // where it will be
  };
  virtual Staged stage(std::size_t bytes) = 0;
  virtual void zero(void* to, std::size_t bytes) = 0;
  virtual void add(void* to, const void* from, std::int64_t n) = 0;      // to += from, n elements
  virtual void run() = 0;
  virtual void read(void* to, const void* from, std::size_t bytes) = 0;  // of the device into the host's: runs, and waits
  virtual void reset() = 0;                                              // everything noted down must have been run

  // A copy of the store's values, and room for the gradient of its dense parameters: until the next keep(). The store must outlive it.
  virtual void keep(const ParameterStore& store) = 0;
  virtual void* value(const Parameter& p) const = 0;
  virtual void* gradient(const Parameter& p) const = 0;                  // of a dense parameter
  // Adds what the backward passes since reset() gave to each table's rows to the host's gradients: runs, and waits.
  virtual void read_row_gradients(std::span<RowGradients> tables) = 0;
};

}  // namespace piano
