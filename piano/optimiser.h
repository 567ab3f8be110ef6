// AdamW (Loshchilov & Hutter 2019) over a ParameterStore: dense parameters in one walk, embedding tables by row.
//
// Row modes. lazy: only rows with a gradient move, with the bias correction of the global step. dense: every row moves every step.
// catchup: as dense, but a row's steps without a gradient are replayed when it is next read: the first kReplay of a gap exactly, after which
// beta1^kReplay is all that is left of a step (with beta1 = 0.9: 2e-12) and only the moments decay. Rows have no weight decay.
//
// The bits depend on the number and order of the accumulators, not on the threads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/safetensors.h"
#include "engine/core/device.h"
#include "engine/core/device_optimiser.h"
#include "engine/core/parameters.h"
#include "engine/core/thread_pool.h"
#include "piano/config.h"

namespace piano {

class Optimiser {
 public:
  static constexpr std::int64_t kReplay = 256;

  // requires: store outlives it; store.dtype() = device.dtype
  // total_steps: of the whole training, for train.schedule = linear: step s moves by learning_rate * (1 - (s - 1) / total_steps).
  Optimiser(const Config& config, ParameterStore& store, const Device& device, std::int64_t total_steps = 0);

  // Adds up the accumulators (dense: a fixed pairwise tree; rows: de-duplicated, in the accumulators' order), clips by the norm over dense and
  // row gradients together, and moves the parameters. Returns the norm before clipping; when it is not finite nothing moved.
  double step(std::span<Gradients> accumulators, ThreadPool& pool);

  // The host's part of a step that a device takes (engine/core/device_optimiser.h): counts it and gives its numbers; and what the device takes over, and
  // gives back.
  AdamWArgs begin_step();
  std::vector<DeviceOptimiser::Moments> moments();

  // catchup: replays what `rows` of a table have missed, so that they can be read. Does nothing in the other modes.
  void catch_up(std::size_t table, std::span<const std::int32_t> rows);
  void catch_up_all();

  std::int64_t steps() const { return steps_; }

  // Norms of a step's clipped gradient, of its update and of the values before it, by the first part of a parameter's name. For the log:
  // measured in the steps for which it was asked; none of other steps, nor of a device's.
  struct ModuleNorms { std::string module; double gradient = 0, update = 0, value = 0; };
  void measure_next_step() { measure_ = true; }
  std::span<const ModuleNorms> module_norms() const { return measured_ ? std::span<const ModuleNorms>(modules_) : std::span<const ModuleNorms>(); }

  // Room for the gradients of a step that touches up to `rows` rows of a table.
  void reserve(std::size_t table, std::int64_t rows);

  // Tensors m.<name>, v.<name>, last_step.<name>. The optimiser must live until the writer's commit().
  void save(SafetensorsWriter& writer) const;
  void load(const SafetensorsFile& file, std::int64_t steps);

 private:
  struct Table {
    std::vector<std::byte> m, v;              // (rows, d)
    std::vector<std::int64_t> last_step;      // (rows): the step of a row's last update
    RowGradients gradient;                    // of this step, all accumulators together
    double squares = 0;
  };
  // What one worker does at a time: rows begin..end-1 of the touched ones (train.rows = dense: of all), or a whole dense parameter.
  struct Piece { std::size_t parameter; std::int64_t begin, end; };
  void reduce_dense(std::span<Gradients> accumulators, std::size_t chunk);
  void reduce_rows(std::span<const Gradients> accumulators, std::size_t table);
  void update_dense(const Parameter& p, const AdamWArgs& args, const void* gradient);
  void update_rows(const Parameter& p, const AdamWArgs& args, std::int64_t begin, std::int64_t end);
  void cut_update();
  void update(const Parameter& p, const AdamWArgs& args, std::int64_t n, std::byte* value, const std::byte* gradient, std::byte* m,
              std::byte* v);
  void replay(std::size_t table, std::int64_t row);
  AdamWArgs args_of_step(std::int64_t step, double gradient_scale) const;

  Config config_;
  ParameterStore& store_;
  const Device& device_;
  std::int64_t total_steps_ = 0, steps_ = 0;
  std::vector<std::byte> m_, v_;              // dense
  std::vector<Table> tables_;
  std::vector<double> chunk_squares_;
  std::vector<Piece> pieces_;
  std::vector<std::byte> zeros_;              // a row's worth: the gradient of a row that has none
  bool measure_ = false, measured_ = false;   // the next step, the last one
  std::vector<ModuleNorms> modules_;
  std::vector<std::byte> before_;             // scratch of a measured step
};

}  // namespace piano
