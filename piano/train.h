// Training from start to end: epochs, validation, early stop, checkpoints, log.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "data/dataset.h"
#include "engine/core/thread_pool.h"
#include "piano/config.h"
#include "piano/training_steps.h"

namespace piano {

struct TrainProgress {
  std::int64_t epoch = 0, epochs = 0;       // from 1
  std::int64_t lists = 0, lists_total = 0;  // of this epoch
  std::int64_t step = 0;
  double loss = 0, lists_per_second = 0, seconds_left = 0;  // of training, not of the epoch
};

struct TrainOptions {
  std::string out;                          // the best model; <out>.state: the last step; <out>.log.jsonl: the log
  bool resume = false;                      // go on from <out>.state
  DeviceTraining device;                    // where steps are done, and validation is computed
  const std::atomic<bool>* stop = nullptr;  // set: save the state at the next step and return
  std::function<void(const TrainProgress&)> progress;  // a few times a second
};

struct TrainSummary {
  std::int64_t steps = 0, epochs = 0;       // done, over all runs of this training
  std::int64_t best_epoch = 0;              // 0: no epoch has ended yet
  double best = 0;                          // its value of train.select; minus the loss for SelectBy::loss. NaN when there is nothing to validate on
                                            // (then the latest epoch is kept), or no epoch has ended
  std::string stopped_by;                   // "epochs", "early stop", "max_steps", "interrupted", "already finished"
};

// `out` always holds the best epoch's model (the latest parameters as long as no epoch has ended). Two trainings with the same configuration, data
// and device write the same bytes, whatever the threads, and whether resumed or not. A training may go on, on another device, where one stopped.
// Throws ErrorCode::diverged as Trainer::step, and when validation gives a score that is not finite; ErrorCode::usage when a resumed training has another configuration or other data.
TrainSummary train(const Config& config, const data::Dataset& data, ThreadPool& pool, const TrainOptions& options);

}  // namespace piano
