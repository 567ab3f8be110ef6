// One training step: a batch of lists is cut into micro-batches of whole lists; each goes forward and backward on one worker before the next;
// micro-batch j adds to accumulator j mod S, and the accumulators are added in a fixed tree. The bits depend on train.accumulators and
// train.micro_tokens, which say how a batch is cut, never on the threads. A warmed-up step does not allocate.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "engine/core/thread_pool.h"
#include "piano/config.h"
#include "piano/loss.h"
#include "piano/network.h"
#include "piano/optimiser.h"

namespace piano {

struct StepReport {
  double loss = 0;                          // weighted sum of the terms
  LossTerms terms{};                        // means over the batch, unweighted
  double gradient_norm = 0;                 // before clipping
};

class Trainer {
 public:
  // Fits to `data`'s training part: declares and initialises the model, switches off loss terms whose label is constant there (`warnings`
  // says which, and what to do), reserves memory for the largest micro-batch. Throws ErrorCode::data when there is no training request.
  Trainer(const Config& config, const data::Dataset& data, ThreadPool& pool);
  ~Trainer();

  // One optimiser step over these lists. Throws ErrorCode::diverged, naming the op, when the loss or the gradient is not finite; then nothing
  // was updated.
  StepReport step(std::span<const std::int64_t> requests);

  const Config& config() const { return config_; }  // as asked, but as_read(), and without what nothing trains
  const std::vector<std::string>& warnings() const { return warnings_; }
  const LossWeights& weights() const { return weights_; }
  double log_variance(std::size_t term) const;  // with loss.weighting = uncertainty, of a term that is on
  const std::vector<std::int64_t>& training_requests() const { return training_; }
  const data::BatchBuilder& builder() const;
  const Network& network() const { return *network_; }
  ParameterStore& parameters() { return parameters_; }
  Optimiser& optimiser() { return *optimiser_; }

 private:
  struct Worker;
  struct MicroBatch { std::int32_t begin = 0, end = 0; };  // lists within the batch
  struct Partial { LossTerms terms{}; double loss = 0; };

  void switch_off_constant_terms();
  void rank_without_the_untrained();
  void bound_log_variances();
  std::uint8_t label_of(std::size_t kind, std::size_t candidate) const;
  void warn_of_short_theta();
  void reserve();
  LossCounts count(std::span<const std::int64_t> requests) const;
  std::int64_t micro_tokens() const;
  void cut(std::span<const std::int64_t> requests);
  void catch_up(std::span<const std::int64_t> requests);
  void build(Worker& worker, std::span<const std::int64_t> requests, MicroBatch micro);
  void forward_backward(Worker& worker, std::int32_t first_list, const LossCounts& counts, Gradients& gradients, Partial& partial, Spent spent);
  [[noreturn]] void diverged(std::span<const std::int64_t> requests, const LossCounts& counts);

  Config config_;
  const data::Dataset& data_;
  ThreadPool& pool_;
  std::vector<std::int64_t> training_;
  std::vector<std::span<const std::uint8_t>> conversions_;  // per kind: Dataset::conversions()
  LossWeights weights_;
  std::vector<std::string> warnings_;
  ParameterStore parameters_;
  PackedWeights packed_;                    // of this step
  std::unique_ptr<const Network> network_;
  std::unique_ptr<Optimiser> optimiser_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Gradients> accumulators_;
  std::int64_t used_ = 0;                   // of them, in this step
  std::vector<Partial> partials_;           // one per accumulator
  std::vector<MicroBatch> micro_batches_;
  std::vector<std::int32_t> rows_read_;     // scratch of catch_up()
};

}  // namespace piano
