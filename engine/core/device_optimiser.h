// AdamW where a device keeps the parameters: gradients, moments and values stay there. The host does not wait for a step; it asks for what the step
// found when it likes to know.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/core/device.h"
#include "engine/core/parameters.h"

namespace piano {

class DeviceOptimiser {
 public:
  virtual ~DeviceOptimiser() = default;

  struct Settings {
    double clip = 0;                          // the gradient's norm, dense and rows together, is brought down to it; 0: never
    std::vector<ParameterId> bounded = {};    // dense parameters that are put back into -bound .. bound after each step
    double bound = 0;
  };
  // m and v of each parameter of the store, in its order, in the host's memory; of a table also the last step that moved each row.
  struct Moments { std::byte *m, *v; std::int64_t* last_step; };

  virtual void from_host(std::span<const Moments> moments) = 0;  // the arrays must outlive the optimiser
  virtual void to_host(ParameterStore& store, std::span<const Moments> moments) = 0;  // values too; waits

  // The step whose forward and backward were noted down since the memory's reset(): adds its kernels and runs them all, without waiting. Every
  // parameter moves by its gradient; of tables only the rows that have one (lazy). From the first step on whose loss (scalars[0]) or norm is not
  // finite nothing moves any more. number: what rows' last_step becomes. args: weight_decay is that of parameters that decay; gradient_scale is found here.
  virtual void step(std::int64_t number, const AdamWArgs& args, std::span<const Tensor> scalars) = 0;
  // With tables in the host's memory: waits until the last step's rows are back in the store and in the moments, which the next forward wants. Else
  // nothing is to be done.
  virtual void settle() = 0;
  // Waits for the oldest step that was not asked for yet: its scalars, then the gradient's norm before clipping. At most two steps may be open.
  virtual std::vector<double> report() = 0;
};

}  // namespace piano
