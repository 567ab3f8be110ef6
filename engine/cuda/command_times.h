// How long each command takes: to find out what a step waits for.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/core/device_memory.h"
#include "engine/cuda/graphs.h"

namespace piano::cuda {

// A function's name without namespaces (nvcc makes up names for anonymous ones) and without parameters.
std::string short_name(const char* mangled);

class CommandTimes {
 public:
  CommandTimes() = default;
  ~CommandTimes();
  CommandTimes(const CommandTimes&) = delete;
  CommandTimes& operator=(const CommandTimes&) = delete;

  void time(bool on) { on_ = on; }
  bool on() const { return on_; }
  // Starts the commands one by one, and waits for them. A command's time is that between the end of the one before and its own: of very short ones
  // it is what starting them takes.
  void run(std::span<const Command* const> commands, cudaStream_t stream);
  std::vector<DeviceMemory::CommandTime> all() const;

 private:
  struct Sum { std::int64_t count = 0; double seconds = 0; };
  bool on_ = false;
  std::vector<cudaEvent_t> events_;
  std::map<std::string, Sum> sums_;
};

}  // namespace piano::cuda
