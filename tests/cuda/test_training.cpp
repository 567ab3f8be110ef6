// Training on a device with memory of its own, which here is the emulation (tests/cuda_emulation): the same numbers as on the CPU, but for rounding;
// the same files; the same bits each time.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "engine/base/safetensors.h"
#include "piano/train.h"
#include "piano/trainer.h"
#include "tests/base/temporary_folder.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/piano/tiny_data.h"

using namespace piano;

namespace {

constexpr auto kResident = DeviceMemory::Tables::resident, kHost = DeviceMemory::Tables::host;

struct World {
  explicit World(std::int64_t requests = 120) { write_tiny_data(folder / "data.safetensors", requests); }
  data::Dataset open() const { return data::Dataset(folder / "data.safetensors"); }
  TemporaryFolder folder;
};

Config small_config() {
  Config config = tiny_config();
  config.model.d = 8;
  config.model.oov_dropout = 0.1;  // which ids are dropped decides much of a step
  config.train.batch = 8;
  return config;
}

std::span<const std::int64_t> batch_of(const Trainer& trainer, std::size_t step) {
  const auto& all = trainer.training_requests();
  return std::span(all).subspan(step * 8 % (all.size() - 8), 8);
}

// `steps` steps: each one's report, and where they led.
struct Walk {
  std::vector<StepReport> reports;
  DeviceMemory::Replays replays;
  std::vector<std::vector<float>> values;  // of each parameter
};

// Of batches that are alike: other lists, sizes in the same buckets.
std::span<const std::int64_t> alike(const Trainer& trainer, std::size_t step) {
  static std::vector<std::int64_t> order;
  order = trainer.training_requests();
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return trainer.builder().tokens(a) < trainer.builder().tokens(b); });
  return std::span(order).subspan(order.size() / 2 + step % 4, 8);
}

Walk walk(const Config& config, const data::Dataset& data, const DeviceTraining& options, std::size_t steps, decltype(&batch_of) batch = batch_of) {
  ThreadPool pool(1);
  Trainer trainer(config, data, pool, options);
  Walk walked;
  const auto keep = [&](const StepReport& report) {
    if (report.step > 0) walked.reports.push_back(report);
  };
  for (std::size_t s = 0; s < steps; ++s) keep(trainer.step(batch(trainer, s)));
  keep(trainer.finish());
  trainer.to_host();
  walked.replays = trainer.device_memory() != nullptr ? trainer.device_memory()->replays() : DeviceMemory::Replays{};
  for (const Parameter& p : trainer.parameters().parameters()) {
    const auto values = trainer.parameters().values<float>(p);
    walked.values.emplace_back(values.begin(), values.end());
  }
  return walked;
}

double distance(const Walk& a, const Walk& b) {
  double squares = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    for (std::size_t k = 0; k < a.values[i].size(); ++k) squares += std::pow(static_cast<double>(a.values[i][k]) - b.values[i][k], 2);
  }
  return std::sqrt(squares);
}

void check_close(const Walk& device, const Walk& cpu) {
  REQUIRE(device.reports.size() == cpu.reports.size());
  for (std::size_t s = 0; s < cpu.reports.size(); ++s) {
    CAPTURE(s);
    CHECK(device.reports[s].step == cpu.reports[s].step);
    CHECK(device.reports[s].loss == doctest::Approx(cpu.reports[s].loss).epsilon(1e-4));
    CHECK(device.reports[s].gradient_norm == doctest::Approx(cpu.reports[s].gradient_norm).epsilon(1e-3));
    for (std::size_t t = 0; t < cpu.reports[s].terms.size(); ++t) CHECK(device.reports[s].terms[t] == doctest::Approx(cpu.reports[s].terms[t]).epsilon(1e-4));
  }
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Trains up to `steps` steps into `name`, anew or further, and returns the bytes of the model and of the state.
std::pair<std::string, std::string> run(const World& world, const Device& device, std::int64_t steps, const std::string& name, bool resume,
                                        DeviceMemory::Tables tables = kResident, int threads = 1) {
  const data::Dataset data = world.open();
  ThreadPool pool(threads);
  Config config = small_config();
  config.train.max_steps = steps;
  TrainOptions options;
  options.out = world.folder / name, options.resume = resume, options.device = {&device, tables};
  train(config, data, pool, options);
  return {bytes_of(options.out), bytes_of(options.out + ".state")};
}

}  // namespace

TEST_CASE("training on a device: 20 steps give the CPU's losses, norms and parameters, and the same bits twice") {
  const World world;
  const data::Dataset data = world.open();
  Config config = small_config();
  config.train.epsilon = 1e-3;  // at its default AdamW moves by the gradient's sign where that is all but zero, and rounding decides the sign
  const Walk cpu = walk(config, data, {}, 20), device = walk(config, data, {&cuda_device()}, 20);
  check_close(device, cpu);
  const double moved = distance(cpu, walk(config, data, {}, 0)), apart = distance(device, cpu);
  INFO("moved ", moved, ", apart ", apart);
  CHECK(apart < 1e-5 * moved);
  const Walk again = walk(config, data, {&cuda_device()}, 20);
  CHECK(again.values == device.values);
  emulation::shuffle_threads(3);
  const Walk shuffled = walk(config, data, {&cuda_device()}, 3);
  emulation::shuffle_threads(0);
  CHECK(shuffled.values == walk(config, data, {&cuda_device()}, 3).values);
}

TEST_CASE("training on a device: a step started as a whole does what its kernels do one by one") {
  const World world;
  const data::Dataset data = world.open();
  const Config config = small_config();
  const Walk graphs = walk(config, data, {&cuda_device()}, 24, alike);
  // Two graphs, one for each half of what is staged, take turns: if one alone may be kept, none is ever there when it is wanted.
  const Walk direct = walk(config, data, {&cuda_device(), kResident, 1}, 24, alike);
  CHECK(graphs.replays.hits >= 12);
  CHECK(graphs.replays.hits + graphs.replays.misses == 24);
  CHECK(direct.replays.hits == 0);
  CHECK(graphs.values == direct.values);
  for (std::size_t s = 0; s < graphs.reports.size(); ++s) CHECK(graphs.reports[s].loss == direct.reports[s].loss);
  const Walk as_they_are = walk(config, data, {&cuda_device(), kResident, 0}, 10), cpu = walk(config, data, {}, 10);  // batches are not padded
  CHECK(as_they_are.replays.hits + as_they_are.replays.misses == 0);
  check_close(as_they_are, cpu);
}

TEST_CASE("training on a device: tables in the host's memory give the bits of tables on the device") {
  const World world(60);
  const data::Dataset data = world.open();
  const Walk there = walk(small_config(), data, {&cuda_device()}, 12, alike), here = walk(small_config(), data, {&cuda_device(), kHost}, 12, alike);
  CHECK(here.values == there.values);
  CHECK(here.reports.back().loss == there.reports.back().loss);
  CHECK(here.replays.hits > 0);
  CHECK(there.replays.hits > 0);  // which ids are dropped is drawn anew, though the kernels are those of an earlier step: the host drew them here
}

TEST_CASE("training on a device: 7 + resume + 5 steps are 12, from within an epoch; a state goes from device to device") {
  const World world(60);
  const auto whole = run(world, cuda_device(), 12, "whole", false);
  run(world, cuda_device(), 7, "parts", false);
  CHECK(run(world, cuda_device(), 12, "parts", true) == whole);
  run(world, cuda_device(), 7, "parts", false, kHost);
  CHECK(run(world, cuda_device(), 12, "parts", true, kHost) == whole);
  const auto there = run(world, cpu_device(), 12, "whole_cpu", false);
  CHECK(there.second != whole.second);
  for (const auto& [first, second] : {std::pair{&cuda_device(), &cpu_device()}, std::pair{&cpu_device(), &cuda_device()}}) {
    run(world, *first, 7, "mixed", false);
    run(world, *second, 12, "mixed", true);
    const SafetensorsFile mixed(world.folder / "mixed.state"), one(world.folder / "whole_cpu.state");
    CHECK(mixed.metadata().at("config") == one.metadata().at("config"));
    double apart = 0, size = 0;
    for (const char* name : {"m.encoder.0.attention.wq", "v.encoder.0.attention.wq", "m.item.id"}) {
      const auto a = mixed.at(name).bytes, b = one.at(name).bytes;
      REQUIRE(a.size() == b.size());
      for (std::size_t i = 0; i < a.size(); i += sizeof(float)) {
        float x, y;
        std::memcpy(&x, a.data() + i, sizeof x), std::memcpy(&y, b.data() + i, sizeof y);
        apart += std::abs(x - y), size += std::abs(y);
      }
    }
    CHECK(apart < 1e-2 * size);
    const auto a = mixed.at("last_step.item.id").bytes, b = one.at("last_step.item.id").bytes;
    CHECK(std::equal(a.begin(), a.end(), b.begin(), b.end()));
  }
}

TEST_CASE("training on a device: who builds the batches ahead changes no bit, resumed or not, over epochs' ends") {
  const World world(60);
  const auto whole = run(world, cuda_device(), 14, "one", false);
  CHECK(run(world, cuda_device(), 14, "four", false, kResident, 4) == whole);
  run(world, cuda_device(), 3, "parts", false, kResident, 4);
  run(world, cuda_device(), 9, "parts", true, kResident, 2);
  CHECK(run(world, cuda_device(), 14, "parts", true, kResident, 4) == whole);
}

TEST_CASE("training on a device: steps that were announced are those of steps that were not") {
  const World world(60);
  const data::Dataset data = world.open();
  ThreadPool pool(3);
  std::vector<float> last;
  for (const bool announced : {false, true}) {
    Trainer trainer(small_config(), data, pool, {&cuda_device()});
    const auto requests = std::span(trainer.training_requests()).first(30);
    if (announced) trainer.announce(requests);
    for (std::size_t at = 0; at < 30; at += 8) trainer.step(requests.subspan(at, std::min<std::size_t>(8, 30 - at)));
    trainer.step(requests.first(5));
    trainer.to_host();
    const auto dense = trainer.parameters().dense<float>();
    if (announced) CHECK(std::equal(dense.begin(), dense.end(), last.begin(), last.end()));
    last.assign(dense.begin(), dense.end());
  }
}

TEST_CASE("training on a device: a loss that is not finite is found one step later, and nothing was updated since") {
  const World world(60);
  const data::Dataset data = world.open();
  ThreadPool pool(1);
  Trainer trainer(small_config(), data, pool, {&cuda_device()});
  CHECK(trainer.step(batch_of(trainer, 0)).step == 0);
  CHECK(trainer.step(batch_of(trainer, 1)).step == 1);
  CHECK(trainer.finish().step == 2);
  CHECK(trainer.finish().step == 0);
  trainer.to_host();
  const auto& parameters = trainer.parameters().parameters();
  const auto wq = std::find_if(parameters.begin(), parameters.end(), [](const Parameter& p) { return p.name == "encoder.0.attention.wq"; });
  trainer.parameters().values<float>(*wq)[0] = NAN;
  trainer.from_host();
  const auto dense = trainer.parameters().dense<float>();
  const std::vector<float> before(dense.begin(), dense.end());
  CHECK(trainer.step(batch_of(trainer, 2)).step == 0);
  CHECK_THROWS_WITH_AS(trainer.step(batch_of(trainer, 3)), doctest::Contains("step 3: the loss is not finite"), Error);
  trainer.to_host();
  CHECK(std::equal(before.begin(), before.end(), dense.begin(), [](float a, float b) { return a == b || (a != a && b != b); }));
}

TEST_CASE("training on a device: weighting by uncertainty keeps its bounds; rows that were not touched cannot be moved") {
  const World world(60);
  const data::Dataset data = world.open();
  Config config = small_config();
  config.loss.weighting = LossWeighting::uncertainty;
  config.train.learning_rate = 1;  // past the bound in four steps
  ThreadPool pool(1);
  Trainer device(config, data, pool, {&cuda_device()}), cpu(config, data, pool);
  for (std::size_t s = 0; s < 2; ++s) device.step(batch_of(device, s)), cpu.step(batch_of(cpu, s));
  device.to_host();
  CHECK(device.log_variance(kClick) == doctest::Approx(cpu.log_variance(kClick)).epsilon(1e-3));
  config.loss.click = 100, config.train.clip = 0;
  Trainer far(config, data, pool, {&cuda_device()});
  for (std::size_t s = 0; s < 5; ++s) far.step(batch_of(far, s));
  far.to_host();
  CHECK(far.log_variance(kClick) <= kMostLogVariance);
  CHECK(far.log_variance(kClick) > 2);
  for (const RowUpdates rows : {RowUpdates::dense, RowUpdates::catchup}) {
    config.train.rows = rows;
    CHECK_THROWS_WITH_AS(Trainer(config, data, pool, {&cuda_device()}), doctest::Contains("use train.rows = lazy, or --device cpu"), Error);
  }
}
