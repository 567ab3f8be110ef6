// One training step, done in one of two ways (training_steps.h), and what both share: which terms of the loss there are, what is counted of a batch,
// the model, its optimiser.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "piano/training_steps.h"

namespace piano {

class Trainer {
 public:
  // Fits to `data`'s training part: declares and initialises the model, switches off loss terms whose label is constant there (`warnings`
  // says which, and what to do), reserves memory for the largest micro-batch. Throws ErrorCode::data when there is no training request.
  // A device with memory of its own gets a copy of the parameters; ErrorCode::usage when it cannot train with train.rows.
  Trainer(const Config& config, const data::Dataset& data, ThreadPool& pool, const DeviceTraining& options = {});
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  // What the next steps will be over: these requests in order, train.batch to a step (the last may have fewer), instead of what was left of those
  // announced before. A device with memory of its own has their batches built ahead, by as many threads as the pool has (16 at most); no bit
  // depends on it. There steps keep to it until all announced ones were done; then, or without any, they are over what they like.
  void announce(std::span<const std::int64_t> requests) { steps_->announce(requests); }
  // One optimiser step over these lists. Throws ErrorCode::diverged, naming the op, when the loss or the gradient is not finite; then nothing
  // was updated. A device with memory of its own works on while the host goes on: its numbers, and what is wrong with them, are known one step
  // later (StepReport::step says whose they are; the op is not named), and nothing was updated since.
  StepReport step(std::span<const std::int64_t> requests);
  // Waits for a step whose numbers are not known yet, and gives them; else StepReport::step is 0.
  StepReport finish() { return steps_->finish(); }

  // On a device with memory of its own, parameters() and optimiser() are copies: to_host() brings them up to date, from_host() is to be called when
  // they were changed.
  void to_host() { steps_->to_host(); }
  void from_host() { steps_->from_host(); }
  DeviceMemory* device_memory() { return steps_->memory(); }  // null on the CPU

  const Config& config() const { return config_; }  // as asked, but as_read(), and without what nothing trains
  const std::vector<std::string>& warnings() const { return warnings_; }
  const LossWeights& weights() const { return weights_; }
  double log_variance(std::size_t term) const;  // with loss.weighting = uncertainty, of a term that is on
  const std::vector<std::int64_t>& training_requests() const { return training_; }
  const data::BatchBuilder& builder() const { return steps_->builder(); }
  const Network& network() const { return *network_; }
  ParameterStore& parameters() { return parameters_; }
  Optimiser& optimiser() { return *optimiser_; }

 private:
  void switch_off_constant_terms();
  void rank_without_the_untrained();
  std::uint8_t label_of(std::size_t kind, std::size_t candidate) const;
  void warn_of_short_theta();
  LossCounts count(std::span<const std::int64_t> requests) const;

  Config config_;
  const data::Dataset& data_;
  std::vector<std::int64_t> training_;
  std::vector<std::span<const std::uint8_t>> conversions_;  // per kind: Dataset::conversions()
  LossWeights weights_;
  std::vector<std::string> warnings_;
  ParameterStore parameters_;
  std::unique_ptr<const Network> network_;
  std::unique_ptr<Optimiser> optimiser_;
  std::unique_ptr<TrainingSteps> steps_;
};

}  // namespace piano
