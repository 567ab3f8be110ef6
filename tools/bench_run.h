// A case at work: training steps and answers, by the code that users run, timed from outside.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/request_json.h"
#include "engine/core/device.h"
#include "engine/core/device_memory.h"
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
  TrainRun(const Config& config, const std::string& data, int threads, const std::string& model = "", const Device& device = cpu_device());
  // Milliseconds of the next optimiser step: reading the batch, forward, backward, reduction, clipping, AdamW.
  double step();
  // The mean of the next n, until the last one's numbers are known: a GPU's steps, which go on while the next is prepared.
  double steps(std::int64_t n);
  double loss() const { return report_.loss; }
  std::span<const std::int64_t> batch(std::int64_t index) const;  // the requests of batch index modulo their number
  Trainer& trainer() { return trainer_; }
  const data::Dataset& dataset() const { return dataset_; }
  double step_flops();        // forward and twice that for backward, the mean over the first batches
  double reading_ms();        // of the next batch, on one thread: what of a step is building micro-batches

 private:
  std::span<const std::int64_t> next();
  data::Dataset dataset_;
  ThreadPool pool_;
  Trainer trainer_;
  std::vector<std::int64_t> lists_;
  std::int64_t next_ = 0;
  StepReport report_;
};

// Histories are not kept from request to request unless asked for: the same request again and again would be half the work.
inline constexpr SessionOptions kForgetful{.threads = 1, .history_cache_bytes = 0};

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

// Forward passes over a batch of lists on a device, until the logits are the host's: `lists` times the first of `requests`. The batch is built before.
class ForwardRun {
 public:
  ForwardRun(std::shared_ptr<const Model> model, const std::string& request, std::int64_t lists, const Device& device);
  double forward();                     // milliseconds
  double difference();                  // of the logits from the CPU's, by norm
  double flops() const { return flops_; }

 private:
  std::vector<std::vector<float>> logits(const Device& device, DeviceMemory* memory, const data::Batch& batch);

  std::shared_ptr<const Model> model_;
  const Device& device_;
  std::unique_ptr<DeviceMemory> memory_;
  data::Batch batch_, one_;             // one_: of one list
  Arena arena_;
  double flops_ = 0;
};

// Answers a second with one session a thread, each on its own share of the requests in turn; they are parsed before, and histories not kept.
double lists_per_second(std::shared_ptr<const Model> model, const std::vector<std::string>& requests, int threads, double seconds);

struct ProcessMemory { std::int64_t peak = 0, current = 0, anonymous = 0, file = 0; };  // bytes; file: mapped pages that are resident
ProcessMemory process_memory();

}  // namespace piano::tools
