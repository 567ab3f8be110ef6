// Whole models on the device: what evaluate and rerank do there is what they do on the CPU. Part of test_cuda, and of test_gpu.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/core/device_memory.h"
#include "piano/model_predictions.h"
#include "tests/piano/golden_network.h"
#include "tests/piano/served_world.h"

using namespace piano;

namespace {

bench::Scores on_device(bench::Bench& model, const Device& device, const data::Batch& batch) {
  const auto memory = device.make_memory();
  memory->keep(model.store);
  Context ctx = model.context();
  ctx.device = &device, ctx.memory = memory.get();
  const Logits logits = (*model.network)(ctx, batch);
  to_host(ctx, logits);
  return bench::read(logits);
}

// The greatest of the logits' errors by norm, against PyTorch's.
double golden_error(const std::string& name, const Device& device) {
  const golden::ModelFile golden_model("model_" + name + ".safetensors");
  bench::Bench model(golden_model.config, golden_model.features, cpu_device());
  golden_model.load_parameters(model);
  const bench::Scores out = on_device(model, device, golden_model.batch("batch"));
  double most = 0;
  using Output = std::pair<const char*, const std::vector<double>*>;
  for (const auto& [logit, got] : {Output{"out.click", &out.click}, {"out.conversion", &out.conversion}, {"out.list_click", &out.list_click},
                                   {"out.list_conversion", &out.list_conversion}}) {
    if (!got->empty()) most = std::max(most, golden::error(*got, golden::numbers(golden_model.file, logit)));
  }
  return most;
}

void check_close(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<double> x, y;  // without what a model does not give
  for (const float v : a) if (std::isfinite(v)) x.push_back(v);
  for (const float v : b) if (std::isfinite(v)) y.push_back(v);
  CHECK(golden::error(x, y) <= 1e-5);
}

std::vector<std::int32_t> order_of(const Response& response) {
  std::vector<std::int32_t> order;
  for (const Ranked& r : response.ranking) order.push_back(r.from);
  return order;
}

}  // namespace

TEST_CASE("predictions on the device: every golden model's logits are PyTorch's to 1e-5") {
  for (const std::string name : golden::kModels) {
    CAPTURE(name);
    CHECK(golden_error(name, cuda_device()) <= 1e-5);
  }
}

TEST_CASE("predictions on the device: tf32 and bf16 stay within what they round away") {
  for (const std::string name : {"default", "kinds", "mmoe"}) {
    CAPTURE(name);
    CHECK(golden_error(name, cuda_device(Precision::tf32)) <= 2e-3);
    CHECK(golden_error(name, cuda_device(Precision::bf16)) <= 2e-2);
  }
}

TEST_CASE("predictions on the device: evaluate's numbers and rerank's orders are the CPU's, by score and by list search") {
  for (const bool searches : {false, true}) {
    CAPTURE(searches);
    Config config = tiny_config();
    if (searches) config.encoder.position = PositionMode::displayed, config.rank.by = RankBy::list_search, config.rank.places = 3, config.rank.swaps = 1;
    const World world(config);
    const Model::Impl& m = world.model->impl();
    const data::Dataset data(world.folder / "data");
    std::vector<std::int64_t> requests(30);
    std::iota(requests.begin(), requests.end(), std::int64_t{0});
    data::BatchBuilder builder(m.features, m.limits());
    builder.attach(data);
    ThreadPool pool(1);
    const auto predicted = [&](const Device& device) {
      return Predictor(m.config, *m.network, m.parameters, m.features, builder, pool, device).predict(data, requests);
    };
    const PredictedLogits cpu = predicted(cpu_device()), device = predicted(cuda_device());
    check_close(device.click, cpu.click), check_close(device.conversion, cpu.conversion);
    check_close(device.list_click, cpu.list_click), check_close(device.list_conversion, cpu.list_conversion);
    CHECK(device.place == cpu.place);
    CHECK(predicted(cuda_device(Precision::bf16)).click != cpu.click);  // it is the device that computes

    Session session(world.model, {.device = &cuda_device()}), expected(world.model);
    data::RequestParser parser;
    for (std::size_t i = 0; i < 12; ++i) {
      const Request& request = parser.parse(world.lines[i]);
      CHECK(order_of(session.rerank(request)) == order_of(expected.rerank(request)));
    }
    CHECK(session.history_use().requests == 0);
  }
}

TEST_CASE("predictions on the device: the bits are those of any number of threads that build its batches") {
  Config config = tiny_config();
  config.model.d = 8, config.model.max_history = 1;
  const World world(config);
  const Model::Impl& m = world.model->impl();
  const data::Dataset data(world.folder / "data");
  std::vector<std::int64_t> requests(300);  // more than one of its batches
  std::iota(requests.begin(), requests.end(), std::int64_t{0});
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(data);
  const auto predicted = [&](int threads) {
    ThreadPool pool(threads);
    return Predictor(m.config, *m.network, m.parameters, m.features, builder, pool, cuda_device()).predict(data, requests);
  };
  const PredictedLogits alone = predicted(1), shared = predicted(3);
  CHECK(alone.click == shared.click);
  CHECK(alone.list_conversion == shared.list_conversion);
}

TEST_CASE("predictions on the device: what a system's order is worth is what the CPU says") {
  Config config = tiny_config();
  config.encoder.position = PositionMode::displayed;
  const World world(config);
  const data::Dataset data(world.folder / "data");
  const std::vector<std::int64_t> requests{0, 3, 5};
  ThreadPool pool(1);
  std::vector<Predictions> cpu{predict(*world.model, data, requests, pool)}, device{predict(*world.model, data, requests, pool, false, cuda_device())};
  CHECK(golden::error(device[0].score, cpu[0].score) <= 1e-5);
  judge_orders(*world.model, data, requests, pool, cpu);
  judge_orders(*world.model, data, requests, pool, device, cuda_device());
  CHECK(golden::error(device[0].order_ctr, cpu[0].order_ctr) <= 1e-5);
  CHECK(golden::error(device[0].order_cvr, cpu[0].order_cvr) <= 1e-5);
}

TEST_CASE("predictions on the device: threads for one request are refused") {
  const World world;
  CHECK_THROWS_WITH_AS(Session(world.model, {.threads = 2, .device = &cuda_device()}), doctest::Contains("expected threads = 1, got 2"), Error);
}
