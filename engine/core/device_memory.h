// The memory of a device that does not compute in the host's (CUDA). The host plans ahead of the device: allocate() and stage() give addresses
// at once, kernels are noted down; run() hands over everything staged in one transfer and starts the kernels, without waiting for them.
// Whatever is not said to last lives until reset(). One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/core/device_optimiser.h"
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
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;  // both the device's
  virtual void add(void* to, const void* from, std::int64_t n) = 0;      // to += from, n elements
  virtual void run() = 0;
  struct Part { void* to; const void* from; std::size_t bytes; };
  virtual void read(std::span<const Part> parts) = 0;                    // of the device into the host's: runs, and waits once
  void read(void* to, const void* from, std::size_t bytes) {
    const Part part{to, from, bytes};
    read({&part, 1});
  }
  // run(), of what is likely to come again, at most `graphs` different ones: in a way that starts them faster when they do (CUDA graphs). From
  // expect_repeats() on sizes do not shrink from one reset() to the next, so that memory lies where it lay. 0: nothing is expected, nothing kept.
  virtual void run_step() = 0;
  virtual void expect_repeats(std::size_t graphs) = 0;
  struct Replays { std::int64_t hits = 0, misses = 0; };                 // steps that were started as a whole, and others
  virtual Replays replays() const = 0;
  // From time_commands(true) on each thing that run() and run_step() start is timed, and nothing is started as a whole.
  virtual void time_commands(bool on) = 0;
  struct CommandTime { std::string name; std::int64_t count; double seconds; };
  virtual std::vector<CommandTime> command_times() const = 0;            // the longest first; names as in the sources, products with their sizes
  virtual void reset() = 0;                                              // everything noted down must have been run

  // A copy of the store's values, and room for the gradient of its dense parameters: until the next keep(). The store must outlive it.
  // host: embedding tables stay in the store, from which each step brings the rows that it reads (tables that do not fit here).
  enum class Tables { resident, host };
  virtual void keep(const ParameterStore& store, Tables tables = Tables::resident) = 0;
  virtual bool tables_on_host() const = 0;                               // by the last keep(): who notes an op down must know its ids then
  virtual void* value(const Parameter& p) const = 0;
  virtual void* gradient(const Parameter& p) const = 0;                  // of a dense parameter
  // Adds what the backward passes since reset() gave to each table's rows to the host's gradients: runs, and waits.
  virtual void read_row_gradients(std::span<RowGradients> tables) = 0;
  // Of what keep() put here: until the next keep().
  virtual std::unique_ptr<DeviceOptimiser> make_optimiser(const DeviceOptimiser::Settings& settings) = 0;
};

}  // namespace piano
