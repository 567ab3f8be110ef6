// <out>.state: everything that the next step depends on. Parameters, moments, rows' last steps, epoch, place in it, best value and patience.
// The order of an epoch and all random numbers follow from the seed and the step, so they need no saving.
#pragma once

#include <cstdint>
#include <string>

#include "piano/config.h"
#include "piano/optimiser.h"

namespace piano {

struct TrainState {
  std::int64_t epoch = 0;        // epochs completed
  std::int64_t cursor = 0;       // batches done of the next epoch
  std::int64_t best_epoch = 0;   // 0: none
  double best = 0;               // value of train.select; larger is better (the loss is negated)
  std::int64_t worse = 0;        // epochs since the best

  bool has_best() const { return best_epoch > 0; }
};

void save_state(const std::string& path, const TrainState& state, const Config& config, const std::string& data_fingerprint,
                const ParameterStore& parameters, const Optimiser& optimiser);

// Throws ErrorCode::usage when the state belongs to another configuration (train.max_steps and patience may differ,
// and train.epochs unless the schedule depends on it) or other data.
TrainState load_state(const std::string& path, const Config& config, const std::string& data_fingerprint, ParameterStore& parameters,
                      Optimiser& optimiser);

}  // namespace piano
