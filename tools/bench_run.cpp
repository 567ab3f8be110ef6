#include "tools/bench_run.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <fstream>

#include "data/dataset_writer.h"
#include "engine/base/random.h"
#include "engine/ops/op_table.h"
#include "layers/initialise.h"
#include "piano/model_file.h"
#include "tools/bench_data.h"
#include "tools/temporary_folder.h"

namespace piano::tools {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// With the loss if there are weights for it. `parameters` are only read.
ForwardCost cost_of(const Network& network, ParameterStore& parameters, const data::Batch& batch, const LossWeights* weights) {
  Arena arena;
  Tape tape;
  Context ctx;
  ctx.device = &cpu_device(), ctx.arena = &arena, ctx.tape = &tape, ctx.parameters = &parameters;
  const Logits logits = network(ctx, batch);
  if (weights != nullptr) loss(ctx, logits, batch, *weights, {1, 1, 1});
  ForwardCost total;
  for (const Node* node = tape.last(); node != nullptr; node = node->previous) {
    const OpCost cost = op_info(node->op).cost(*node);
    total.flops += cost.flops, total.bytes += cost.bytes;
  }
  return total;
}

}  // namespace

void write_bench_model(const Config& config, const data::Dataset& dataset, const std::string& path) {
  ParameterStore parameters;
  const auto network = make_network(config, dataset.features(), parameters);
  parameters.allocate();
  initialise(parameters, static_cast<std::uint64_t>(config.train.seed));
  for (const Parameter& p : parameters.parameters()) {
    if (p.is_table) continue;
    RandomStream random(1, "bench." + p.name);
    for (float& v : parameters.values<float>(p)) v += static_cast<float>(0.05 * random.normal());
  }
  save_model(path, config, dataset.features(), parameters);
}

ForwardCost forward_cost(const Config& config, const data::FeatureSpace& features, const data::Batch& batch, bool with_loss) {
  ParameterStore parameters;
  const auto network = make_network(config, features, parameters);
  parameters.allocate();
  const LossWeights weights = loss_weights(config);
  return cost_of(*network, parameters, batch, with_loss ? &weights : nullptr);
}

TrainRun::TrainRun(const Config& config, const std::string& data, int threads, const std::string& model, const Device& device)
    : dataset_(data), pool_(threads), trainer_(config, dataset_, pool_, {&device}), lists_(bench_lists(dataset_)) {
  if (model.empty()) return;
  load_parameters(SafetensorsFile(model), trainer_.parameters());
  trainer_.from_host();
}

std::span<const std::int64_t> TrainRun::batch(std::int64_t index) const {
  const auto size = static_cast<std::size_t>(trainer_.config().train.batch);
  return std::span(lists_).subspan(static_cast<std::size_t>(index) % (lists_.size() / size) * size, size);
}

std::span<const std::int64_t> TrainRun::next() {
  constexpr std::int64_t kAnnounced = 100;  // batches, as of an epoch
  if (next_ % kAnnounced == 0) {
    std::vector<std::int64_t> requests;
    for (std::int64_t b = next_; b < next_ + kAnnounced; ++b) requests.insert(requests.end(), batch(b).begin(), batch(b).end());
    trainer_.announce(requests);
  }
  return batch(next_++);
}

double TrainRun::step() {
  const auto requests = next();
  const auto start = Clock::now();
  report_ = trainer_.step(requests);
  return 1e3 * since(start);
}

double TrainRun::steps(std::int64_t n) {
  const auto start = Clock::now();
  for (std::int64_t s = 0; s < n; ++s) trainer_.step(next());
  report_ = trainer_.finish();
  return 1e3 * since(start) / static_cast<double>(n);
}

double TrainRun::step_flops() {
  data::BatchBuilder builder(dataset_.features(), builder_limits(trainer_.config()));
  builder.attach(dataset_);
  data::Batch list;
  const std::int64_t size = trainer_.config().train.batch, batches = std::min<std::int64_t>(8, static_cast<std::int64_t>(lists_.size()) / size);
  double flops = 0;
  for (std::int64_t b = 0; b < batches; ++b) {
    for (const std::int64_t& request : batch(b)) {  // one by one: this must not need more memory than training, whose peak is measured
      builder.build({&request, 1}, list);
      flops += 3 * cost_of(trainer_.network(), trainer_.parameters(), list, &trainer_.weights()).flops;
    }
  }
  return flops / static_cast<double>(batches);
}

double TrainRun::reading_ms() {
  data::BatchBuilder builder(dataset_.features(), builder_limits(trainer_.config()));
  builder.attach(dataset_);
  data::Batch batch;
  const auto read = [&](std::span<const std::int64_t> requests) {
    const auto start = Clock::now();
    for (const std::int64_t& request : requests) builder.build({&request, 1}, batch);
    return 1e3 * since(start);
  };
  read(this->batch(next_ + 1));  // the builder's memory
  return read(this->batch(next_));
}

InferRun::InferRun(std::shared_ptr<const Model> model, std::vector<std::string> requests, SessionOptions options)
    : model_(std::move(model)), session_(model_, options), requests_(std::move(requests)), parsed_(requests_.size()) {}

const Request& InferRun::request(std::size_t index) {
  if (parsed_ != index) request_ = &parser_.parse(requests_[index]), parsed_ = index;
  return *request_;
}

double InferRun::rerank(std::size_t index) {
  const Request& asked = request(index);
  const auto start = Clock::now();
  response_ = &session_.rerank(asked);
  return 1e6 * since(start);
}

ForwardRun::ForwardRun(std::shared_ptr<const Model> model, const std::string& request, std::int64_t lists, const Device& device)
    : model_(std::move(model)), device_(device) {
  const Model::Impl& m = model_->impl();
  const TemporaryFolder folder;
  data::RequestParser parser;
  data::DatasetWriter writer(folder / "data", {});
  writer.add_request(parser.parse(request), 0, false);
  writer.commit();
  const data::Dataset dataset(folder / "data");
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(dataset);
  builder.build(std::vector<std::int64_t>(static_cast<std::size_t>(lists), 0), batch_);
  builder.build(std::vector<std::int64_t>{0}, one_);
  flops_ = static_cast<double>(lists) * forward_cost(m.config, m.features, one_, false).flops;
  if (device.make_memory == nullptr) return;
  memory_ = device.make_memory();
  memory_->keep(m.parameters);
}

std::vector<std::vector<float>> ForwardRun::logits(const Device& device, DeviceMemory* memory, const data::Batch& batch) {
  const Model::Impl& m = model_->impl();
  arena_.reset();
  if (memory != nullptr) memory->reset();
  Context ctx;
  ctx.device = &device, ctx.arena = &arena_, ctx.memory = memory, ctx.parameters = &m.parameters;
  const Logits logits = (*m.network)(ctx, batch);
  to_host(ctx, logits);
  std::vector<std::vector<float>> all;
  for (const Tensor& t : {logits.click, logits.conversion[0], logits.list_click, logits.list_conversion[0]}) {
    if (t) all.emplace_back(t.values<float>().begin(), t.values<float>().end());
  }
  return all;
}

double ForwardRun::forward() {
  const auto start = Clock::now();
  logits(device_, memory_.get(), batch_);
  return 1e3 * since(start);
}

double ForwardRun::difference() {
  const auto here = logits(cpu_device(), nullptr, one_), there = logits(device_, memory_.get(), batch_);
  double squares = 0, difference = 0;
  for (std::size_t t = 0; t < here.size(); ++t) {
    for (std::size_t i = 0; i < there[t].size(); ++i) {
      const double expected = here[t][i % here[t].size()];
      squares += std::pow(expected, 2), difference += std::pow(static_cast<double>(there[t][i]) - expected, 2);
    }
  }
  return std::sqrt(difference / squares);
}

double lists_per_second(std::shared_ptr<const Model> model, const std::vector<std::string>& requests, int threads, double seconds) {
  constexpr std::size_t kEach = 4;  // requests a thread answers in turn, parsed before
  struct Worker {
    explicit Worker(const std::shared_ptr<const Model>& m) : session(m, kForgetful) {}
    Session session;
    std::vector<data::RequestParser> parsers = std::vector<data::RequestParser>(kEach);
    std::vector<const Request*> requests;
  };
  std::vector<std::unique_ptr<Worker>> workers;
  for (int w = 0; w < threads; ++w) {
    Worker& worker = *workers.emplace_back(std::make_unique<Worker>(model));
    for (std::size_t i = 0; i < kEach; ++i) {
      worker.requests.push_back(&worker.parsers[i].parse(requests[(static_cast<std::size_t>(w) * kEach + i) % requests.size()]));
      worker.session.rerank(*worker.requests.back());
    }
  }
  ThreadPool pool(threads);
  std::atomic<std::int64_t> answers{0};
  const auto start = Clock::now();
  pool.run([&](int w) {
    Worker& worker = *workers[static_cast<std::size_t>(w)];
    std::int64_t n = 0;
    for (; since(start) < seconds; ++n) worker.session.rerank(*worker.requests[static_cast<std::size_t>(n) % kEach]);
    answers += n;
  });
  return static_cast<double>(answers) / since(start);
}

ProcessMemory process_memory() {
  ProcessMemory memory;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::int64_t* to = word == "VmHWM:" ? &memory.peak : word == "VmRSS:" ? &memory.current : word == "RssAnon:" ? &memory.anonymous
                     : word == "RssFile:" ? &memory.file : nullptr;
    if (to != nullptr && status >> *to) *to *= 1024;  // kB
  }
  return memory;
}

}  // namespace piano::tools
