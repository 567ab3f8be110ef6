// 20 steps of AdamW with clipping and decay against torch.optim.AdamW in float64.
#include <doctest/doctest.h>

#include "piano/optimiser.h"
#include "tests/piano/golden_network.h"

using namespace piano;

TEST_CASE("20 AdamW steps end where PyTorch ends") {
  const golden::ModelFile golden_model("adamw.safetensors");
  const SafetensorsFile& file = golden_model.file;
  const data::Batch batches[2] = {golden_model.batch("batch"), golden_model.batch("batch2")};
  const std::vector<double> norms = golden::numbers(file, "norms");
  ThreadPool pool(1);

  // Of the distance moved: rounding in float is amplified where a gradient is small against AdamW's epsilon.
  std::vector<golden::Check> checks{{&reference_device(DType::f64), 1e-9}, {&reference_device(DType::f32), 1e-3}};
  for (const Device* device : cpu_levels()) checks.push_back({device, 1e-3});
  for (const golden::Check& check : checks) {
    const Device* const device = check.device;
    const double tolerance = check.tolerance;
    CAPTURE(device->name);
    bench::Bench model(golden_model.config, golden_model.features, *device);
    golden_model.load_parameters(model);
    Optimiser optimiser(golden_model.config, model.store, *device);
    for (std::size_t step = 0; step < norms.size(); ++step) {
      const data::Batch& batch = batches[step % 2];
      model.store.zero(model.gradients);
      model.train(batch, bench::counts(batch));
      const double norm = optimiser.step({&model.gradients, 1}, pool);
      CHECK(std::abs(norm / norms[step] - 1) <= tolerance);
    }
    double moved = 0, missed = 0;
    for (const Parameter& p : model.store.parameters()) {
      const std::vector<double> start = golden::numbers(file, "param." + p.name), end = golden::numbers(file, "final." + p.name);
      const std::vector<double> got = golden::values(model.store, p);
      for (std::size_t i = 0; i < got.size(); ++i) {
        moved += (end[i] - start[i]) * (end[i] - start[i]);
        missed += (end[i] - got[i]) * (end[i] - got[i]);
      }
    }
    CHECK(moved > 1);
    CHECK(std::sqrt(missed / moved) <= tolerance);
  }
}
