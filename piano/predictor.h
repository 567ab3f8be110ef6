// Inference over a data set's requests: what `evaluate`, validation and model selection look at. Threads share the work by lists; a list's
// numbers have the same bits whatever the batch and the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "engine/core/device.h"
#include "engine/core/device_memory.h"
#include "engine/core/thread_pool.h"
#include "piano/config.h"
#include "piano/network.h"

namespace piano {

// Logits of some requests, in their order; candidates back to back. NaN where the model gives none.
struct PredictedLogits {
  std::vector<std::int64_t> offsets{0};          // (requests + 1)
  std::size_t kinds = 1;                         // of conversion
  std::vector<float> click, conversion;          // (candidates), (candidates, kinds)
  std::vector<float> list_click, list_conversion;// (requests), (requests, kinds)
  std::vector<float> recency;                    // (candidates): Batch::recency, for last-interacted-first
  std::vector<float> value;                      // (candidates, kinds)
  std::vector<std::int32_t> place;               // (candidates), from 0: where list_search puts each; empty with rank.by = score
};

// What a model says of whole orders, (requests) each.
struct JudgedOrders {
  std::vector<float> list_click, list_conversion;  // logits, the second (requests, kinds)
};

// What orders the answer, in double: alpha log pctr + beta log pcvr + gamma log value; of several kinds of conversion k with weights w
// (rank.conversion_weights), log sum_k w_k pctr^alpha pcvr_k^beta value_k^gamma. Of a model whose click logit is a score (traits()) the score itself
// stands for log pctr. With beta = 0 the conversion logits are not looked at.
double ranking_score(const Config& config, float click_logit, std::span<const float> conversion_logits, std::span<const float> values);
double ranking_score(const Config& config, const PredictedLogits& logits, std::size_t candidate);
// Throws ErrorCode::model unless all are finite: a list has one wrong score as soon as one parameter is not a number, and no order then.
void require_finite(std::span<const double> scores);
double sigmoid(double x);
double softplus(double x);

class Predictor {
 public:
  // `builder` is attached to the data set that predict() is called with. Everything must outlive the predictor. On a device with memory of its
  // own the threads build batches, and one after the other has them computed there; parameters are copied at each call, embedding tables as
  // `tables` says.
  Predictor(const Config& config, const Network& network, const ParameterStore& parameters, const data::FeatureSpace& features,
            const data::BatchBuilder& builder, ThreadPool& pool, const Device& device = cpu_device(),
            DeviceMemory::Tables tables = DeviceMemory::Tables::resident);
  ~Predictor();

  // `permute_past_queries`: a control. Each history's queries change places among its events at random (a function of the request alone), so
  // that items, actions and ages stay and only "under which query" is wrong. A model that reads past queries must lose by it.
  // With rank.by = list_search it throws as require_finite() does; else it does not look at scores.
  // With encoder.position = displayed the candidates stand at their initial ranks, as in serving, wherever the log showed them.
  PredictedLogits predict(const data::Dataset& data, std::span<const std::int64_t> requests, bool permute_past_queries = false);
  // The list heads' logits of the lists as they are sorted by each of `scores`, (candidates) each; equal scores by initial rank.
  // requires: a model with list heads and encoder.position = displayed
  std::vector<JudgedOrders> judge(const data::Dataset& data, std::span<const std::int64_t> requests,
                                  std::span<const std::span<const double>> scores);

 private:
  struct Worker;
  void each_micro_batch(const data::Dataset& data, std::span<const std::int64_t> requests,
                        const std::function<void(Worker&, const Context&, std::size_t first, std::int64_t row)>& visit);
  const Config& config_;
  const Network& network_;
  const ParameterStore& parameters_;
  std::size_t kinds_;                        // of conversion
  PackedWeights packed_;
  ThreadPool& pool_;
  const Device& device_;
  DeviceMemory::Tables tables_;
  std::unique_ptr<DeviceMemory> memory_;     // the device's own; null: it computes in the host's
  std::mutex on_device_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace piano
