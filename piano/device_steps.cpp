// A step on a device with memory of its own: one walk forward and backward over the whole batch, then the update, all noted down and handed over at
// once. The host does not wait for it: it plans the next step meanwhile, and reads this one's numbers after that. The batches of steps that were
// announced are built by other threads.
#include <algorithm>
#include <cmath>

#include "piano/batch_queue.h"
#include "piano/model_file.h"
#include "piano/padded_batch.h"
#include "piano/training_steps.h"

namespace piano {
namespace {

// One for each thread that builds batches. Building one takes several times as long as a GPU's step; threads beyond what makes up for that would only
// hold batches.
std::vector<data::BatchBuilder> batch_builders(const TrainingParts& parts) {
  constexpr int kMost = 16;
  std::vector<data::BatchBuilder> builders;
  for (int w = 0; w < std::min(parts.pool.size(), kMost); ++w) {
    builders.emplace_back(parts.data.features(), builder_limits(parts.config));
    w == 0 ? builders[0].attach(parts.data) : builders.back().share_maps_with(builders[0]);
  }
  return builders;
}

std::vector<BatchQueue::Build> build_with(std::vector<data::BatchBuilder>& builders, bool padded) {
  std::vector<BatchQueue::Build> builds;
  for (data::BatchBuilder& builder : builders) {
    builds.push_back([&builder, padded](std::span<const std::int64_t> requests, data::Batch& batch) {
      builder.build(requests, batch);
      if (padded) pad_batch(batch);
    });
  }
  return builds;
}

class DeviceSteps final : public TrainingSteps {
 public:
  DeviceSteps(const TrainingParts& parts, const DeviceTraining& options);
  void announce(std::span<const std::int64_t> requests) override { batches_.announce(requests, static_cast<std::size_t>(parts_.config.train.batch)); }
  StepReport step(std::span<const std::int64_t> requests, const LossCounts& counts) override;
  StepReport finish() override { return reported_ < parts_.optimiser.steps() ? report() : StepReport{}; }
  void to_host() override { optimiser_->to_host(parts_.parameters, parts_.optimiser.moments()); }
  void from_host() override;
  DeviceMemory* memory() override { return memory_.get(); }
  const data::BatchBuilder& builder() const override { return builders_[0]; }

 private:
  StepReport report();

  TrainingParts parts_;
  DeviceTraining options_;
  std::vector<data::BatchBuilder> builders_;
  BatchQueue batches_;                         // after the builders that its threads use
  Arena arena_;
  Tape tape_;
  Gradients gradients_;                        // which parameters have one: the numbers are the device's
  std::vector<std::size_t> terms_;             // of the loss, as a step's scalars have them behind the loss
  std::unique_ptr<DeviceMemory> memory_;
  std::unique_ptr<DeviceOptimiser> optimiser_; // after the memory that it works in
  std::int64_t reported_ = 0;                  // the last step whose numbers are known
};

DeviceSteps::DeviceSteps(const TrainingParts& parts, const DeviceTraining& options)
    : parts_(parts), options_(options), builders_(batch_builders(parts)), batches_(build_with(builders_, options.graphs > 0)),
      memory_(options.device->make_memory()) {
  if (parts.config.train.rows != RowUpdates::lazy) {
    throw Error(ErrorCode::usage, "train.rows: on a device only lazy, which moves the rows that a batch has; use train.rows = lazy, or --device cpu");
  }
  gradients_.tables.resize(parts.parameters.table_count());
  gradients_.written.resize(parts.parameters.parameters().size());
  for (std::size_t t = 0; t < parts.weights.term.size(); ++t) {
    if (parts.weights.term[t] > 0) terms_.push_back(t);
  }
  memory_->expect_repeats(options.graphs);
  from_host();
}

void DeviceSteps::from_host() {
  DeviceOptimiser::Settings settings{parts_.config.train.clip};
  for (const ParameterId id : parts_.weights.log_variance) {
    if (id) settings.bounded.push_back(id);
  }
  settings.bound = kMostLogVariance;
  memory_->keep(parts_.parameters, options_.tables);
  optimiser_.reset();  // before there is another: moments are twice the parameters
  optimiser_ = memory_->make_optimiser(settings);
  optimiser_->from_host(parts_.optimiser.moments());
  reported_ = parts_.optimiser.steps();
}

StepReport DeviceSteps::step(std::span<const std::int64_t> requests, const LossCounts& counts) {
  const data::Batch& batch = batches_.next(requests);
  optimiser_->settle();
  memory_->reset();
  arena_.reset();
  tape_.clear();
  std::fill(gradients_.written.begin(), gradients_.written.end(), std::uint8_t{0});
  Context ctx;
  ctx.device = options_.device;
  ctx.arena = &arena_;
  ctx.memory = memory_.get();
  ctx.tape = &tape_;
  ctx.parameters = &parts_.parameters;
  ctx.gradients = &gradients_;
  ctx.random = {static_cast<std::uint64_t>(parts_.config.train.seed), static_cast<std::uint32_t>(parts_.optimiser.steps())};
  ctx.padding = static_cast<std::int32_t>(requests.size());
  ctx.training = true;
  TermTensors terms;
  const Tensor total = loss(ctx, parts_.network(ctx, batch), batch, parts_.weights, counts, &terms);
  tape_.backward(ctx, total);
  const auto& parameters = parts_.parameters.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    if (!p.is_table && gradients_.written[i] == 0) memory_->zero(memory_->gradient(p), static_cast<std::size_t>(p.shape.elements()) * sizeof(float));
  }
  std::vector<Tensor> scalars{total};
  for (const std::size_t t : terms_) scalars.push_back(terms[t]);
  const AdamWArgs args = parts_.optimiser.begin_step();
  optimiser_->step(parts_.optimiser.steps(), args, scalars);
  return reported_ + 1 < parts_.optimiser.steps() ? report() : StepReport{};
}

StepReport DeviceSteps::report() {
  const std::vector<double> numbers = optimiser_->report();
  StepReport report{++reported_, numbers.front()};
  for (std::size_t i = 0; i < terms_.size(); ++i) report.terms[terms_[i]] = numbers[i + 1];
  report.gradient_norm = numbers.back();
  if (std::isfinite(report.loss) && std::isfinite(report.gradient_norm)) return report;
  throw Error(ErrorCode::diverged, "step " + std::to_string(report.step) + ": the " + (std::isfinite(report.loss) ? "gradient" : "loss") +
                                       " is not finite (" + options_.device->name + " is asked one step later; nothing was updated since)" +
                                       "; try a lower train.learning_rate or train.clip; --device cpu names the op");
}

}  // namespace

std::unique_ptr<TrainingSteps> make_device_steps(const TrainingParts& parts, const DeviceTraining& options) {
  return std::make_unique<DeviceSteps>(parts, options);
}

}  // namespace piano
