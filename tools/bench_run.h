// A case at work: training steps and answers, by the code that users run, timed from outside.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/request_json.h"
#include "engine/core/thread_pool.h"
#include "piano/piano.h"
#include "piano/trainer.h"

namespace piano::tools {

// An untrained model for the data set, its parameters initialised and then moved a little, so that no gradient is trivially zero.
void write_bench_model(const Config& config, const data::Dataset& dataset, const std::string& path);

// What one forward pass of the model over `batch` costs, by the op table; with_loss: and the loss.
struct ForwardCost { double flops = 0, bytes = 0; };
ForwardCost forward_cost(const Config& config, const data::FeatureSpace& features, const data::Batch& batch, bool with_loss);

class TrainRun {
 public:
  TrainRun(const Config& config, const std::string& data, int threads, const std::string& model = "");
  // Milliseconds of the next optimiser step: reading the batch, forward, backward, reduction, clipping, AdamW.
  double step();
  double loss() const { return report_.loss; }
  std::span<const std::int64_t> batch(std::int64_t index) const;  // the requests of batch index modulo their number
  Trainer& trainer() { return trainer_; }
  const data::Dataset& dataset() const { return dataset_; }
  double step_flops() const;  // forward and twice that for backward, the mean over the first batches
  double reading_ms();        // of the next batch, on one thread: what of a step is building micro-batches

 private:
  data::Dataset dataset_;
  ThreadPool pool_;
  Trainer trainer_;
  std::vector<std::int64_t> lists_;
  std::int64_t next_ = 0;
  StepReport report_;
};

// Histories are not kept from request to request unless asked for: the same request again and again would be half the work.
inline constexpr SessionOptions kForgetful{1, 0};

class InferRun {
 public:
  InferRun(std::shared_ptr<const Model> model, std::vector<std::string> requests, SessionOptions options = kForgetful);
  double rerank(std::size_t request);  // microseconds
  const Response& last() const { return *response_; }
  const Request& request(std::size_t index);
  std::size_t size() const { return requests_.size(); }

 private:
  std::shared_ptr<const Model> model_;
  Session session_;
  std::vector<std::string> requests_;
  data::RequestParser parser_;
  std::size_t parsed_ = 0;
  const Request* request_ = nullptr;
  const Response* response_ = nullptr;
};

// Answers a second with one session a thread, each on its own share of the requests in turn; they are parsed before, and histories not kept.
double lists_per_second(std::shared_ptr<const Model> model, const std::vector<std::string>& requests, int threads, double seconds);

struct ProcessMemory { std::int64_t peak = 0, current = 0, anonymous = 0, file = 0; };  // bytes; file: mapped pages that are resident
ProcessMemory process_memory();

}  // namespace piano::tools
