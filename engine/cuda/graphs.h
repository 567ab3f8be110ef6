// Steps that are much like earlier ones: sizes that settle, so that addresses do, and CUDA graphs that start a whole step's kernels by one call.
//
// A graph stands for one list of commands: kernels, grids and arguments, byte by byte. It is used when what was noted down is that list again, and
// only then, so a graph can be missed but never be the wrong one. What differs from step to step lies in memory that kernels read by pointer.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/core/device_memory.h"

namespace piano::cuda {

// Something to be started in its turn; `bytes` long, with plain data behind it that says what.
struct Command {
  void (*start)(const Command* self, cudaStream_t stream);
  std::size_t bytes;
  const void* kernel;  // null: it is none, but
  const char* name;
};
std::string name_of(const Command& command);  // command_times.cu

// The i-th size that is asked for in a round is at least as large as the i-th one of any round before: what is laid out by such sizes comes to lie
// where it lay. Not settling: each size is what it is.
class SettlingSizes {
 public:
  void settle(bool on) { on_ = on; }
  void begin_round() { next_ = 0; }
  // spare > 0: one that has to grow grows by an eighth and so much more, since it will differ from round to round.
  std::size_t of(std::size_t n, std::size_t spare);

 private:
  bool on_ = false;
  std::size_t next_ = 0;
  std::vector<std::size_t> most_;
};

class Graphs {
 public:
  explicit Graphs(cudaStream_t stream) : stream_(stream) {}
  ~Graphs();
  Graphs(const Graphs&) = delete;
  Graphs& operator=(const Graphs&) = delete;

  // Starts the commands: one by one the first time, then by a graph. Of the lists that were seen the `most` used last are kept.
  void run(std::span<const Command* const> commands, std::size_t most);
  DeviceMemory::Replays replays() const { return replays_; }

 private:
  struct Known { std::vector<std::byte> commands; cudaGraphExec_t graph; std::int64_t used; };
  void drop_oldest();
  cudaStream_t stream_;
  std::vector<Known> known_;
  std::vector<std::byte> now_;
  std::int64_t runs_ = 0;
  DeviceMemory::Replays replays_;
};

}  // namespace piano::cuda
