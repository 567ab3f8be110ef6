// Ops at the sizes of a large batch on a device with memory of its own, timed from outside: what is noted down is started at once, and waited for.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/core/device.h"
#include "engine/core/device_memory.h"
#include "engine/ops/op_table.h"
#include "tools/bench_op_shapes.h"

namespace piano::tools {

class DeviceBench {
 public:
  explicit DeviceBench(const Device& device) : device_(device), memory_(device.make_memory()) {}

  double copy_gb_s(std::size_t bytes);    // of a copy on the device: bytes read and bytes written
  double matrix_gflops(std::int64_t n);   // of (n, n) by (n, n), in the device's precision

  // Inputs lie on the device as parameters until the next call. `op` outlives it.
  struct OpTimes {
    double forward = 0, backward = 0;     // seconds; of a table, backward has the step of AdamW that moves its rows
    OpCost cost;                          // of one forward
  };
  OpTimes time(const BenchOp& op);

 private:
  double wait();                          // starts what was noted down, and waits: seconds
  Context context(Tape* tape);

  const Device& device_;
  std::unique_ptr<DeviceMemory> memory_;
  Arena arena_;
  std::unique_ptr<ParameterStore> store_;
  Gradients gradients_;
};

// The ops that read and write much and compute little, `rows` rows of 64 columns; `tables` rows in an embedding table.
std::vector<BenchOp> memory_bound_ops(std::int64_t rows, std::int64_t tables);

}  // namespace piano::tools
