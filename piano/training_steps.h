// The two ways to do a training step, behind Trainer. On the CPU: micro-batches on several workers (cpu_steps.cpp). On a device with memory of its
// own: the whole batch in one walk, parameters, gradients and moments staying there (device_steps.cpp).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "engine/core/device.h"
#include "engine/core/thread_pool.h"
#include "piano/config.h"
#include "piano/loss.h"
#include "piano/network.h"
#include "piano/optimiser.h"

namespace piano {

struct StepReport {
  std::int64_t step = 0;                    // which one, from 1; 0: no step's numbers are known yet
  double loss = 0;                          // weighted sum of the terms
  LossTerms terms{};                        // means over the batch, unweighted
  double gradient_norm = 0;                 // before clipping
};

// What both ways work with. It outlives them.
struct TrainingParts {
  const Config& config;
  const data::Dataset& data;
  ThreadPool& pool;
  const std::vector<std::int64_t>& training;
  const LossWeights& weights;
  const Network& network;
  ParameterStore& parameters;
  Optimiser& optimiser;
};

// How a device with memory of its own trains.
struct DeviceTraining {
  const Device* device = &cpu_device();       // that, or one without such memory: then nothing else counts
  DeviceMemory::Tables tables = DeviceMemory::Tables::resident;  // host: for tables that do not fit on the device
  std::size_t graphs = 32;                    // steps of so many different sizes are kept ready to be started as a whole; batches are padded for them
};

class TrainingSteps {
 public:
  virtual ~TrainingSteps() = default;
  // As Trainer's.
  virtual void announce(std::span<const std::int64_t>) {}
  virtual StepReport step(std::span<const std::int64_t> requests, const LossCounts& counts) = 0;
  virtual StepReport finish() { return {}; }
  virtual void to_host() {}
  virtual void from_host() {}
  virtual DeviceMemory* memory() { return nullptr; }
  virtual const data::BatchBuilder& builder() const = 0;
};

std::unique_ptr<TrainingSteps> make_cpu_steps(const TrainingParts& parts);
std::unique_ptr<TrainingSteps> make_device_steps(const TrainingParts& parts, const DeviceTraining& options);

}  // namespace piano
