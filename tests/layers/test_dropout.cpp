// Dropout inside layers: off at inference, kept elements scaled, the mean preserved, places apart from each other.
#include <doctest/doctest.h>

#include "layers/encoder.h"
#include "tests/layers/layer_bench.h"

using namespace piano;

namespace {

Ragged view(const std::vector<std::int32_t>& offsets) { return {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}; }

// A feed-forward layer that shows its hidden units: up and down are identities on large inputs (GELU is the identity there).
struct Hidden {
  LayerBench bench;
  FeedForward layer;
  Hidden(const Device& device, double rate, const std::string& name = "layer") : bench(device) {
    layer = FeedForward::declare(bench.store, name, 16, 16, 16, rate);
    bench.allocate();
    std::vector<double> eye(16 * 16, 0.0);
    for (std::size_t i = 0; i < 16; ++i) eye[i * 16 + i] = 1;
    golden::set_values(bench.store, bench.find(name + ".up.weight"), eye);
    golden::set_values(bench.store, bench.find(name + ".down.weight"), eye);
    bench.ctx.random = {3, 1};
    bench.ctx.training = true;
  }
  std::vector<double> run(std::int64_t rows) {
    const std::vector<std::int32_t> offsets{0, static_cast<std::int32_t>(rows)};
    const std::vector<double> x(static_cast<std::size_t>(16 * rows), 32.0);
    return golden::values(layer(bench.ctx, bench.ctx.variable(x, {rows, 16}), view(offsets)));
  }
};

}  // namespace

TEST_CASE("dropout: a hidden unit is 0 or scaled by 1 / (1 - p), at the given rate") {
  for (const golden::Check& check : golden::devices()) {
    const Device* const device = check.device;
    CAPTURE(device->name);
    Hidden hidden(*device, 0.25);
    const std::vector<double> out = hidden.run(1000);
    const auto zeros = std::count(out.begin(), out.end(), 0.0);
    const auto kept = std::count_if(out.begin(), out.end(), [](double v) { return std::abs(v - 32 / 0.75) < 1e-4; });
    CHECK(zeros + kept == 16000);
    CHECK(std::abs(static_cast<double>(zeros) / 16000 - 0.25) < 0.02);  // five standard deviations
  }
}

TEST_CASE("the masks are the same on every device, and differ from layer to layer") {
  const std::vector<double> reference = Hidden(reference_device(DType::f64), 0.25).run(50);
  for (const golden::Check& check : golden::devices()) {
    const Device* const device = check.device;
    CAPTURE(device->name);
    const std::vector<double> out = Hidden(*device, 0.25).run(50);
    for (std::size_t i = 0; i < out.size(); ++i) CHECK((out[i] == 0) == (reference[i] == 0));
  }
  CHECK(Hidden(reference_device(DType::f64), 0.25, "another").run(50) != reference);
}

TEST_CASE("outside training, or at rate 0, nothing is dropped") {
  Hidden hidden(reference_device(DType::f64), 0.25);
  hidden.bench.ctx.training = false;
  CHECK(hidden.run(5) == std::vector<double>(80, 32.0));
  CHECK(Hidden(reference_device(DType::f64), 0).run(5) == std::vector<double>(80, 32.0));
}

TEST_CASE("an encoder block drops its attention and its feed-forward with different masks; residuals are never dropped") {
  LayerBench bench(reference_device(DType::f64));
  const EncoderBlock block = EncoderBlock::declare(bench.store, "block", 8, 2, 8, 0.5);
  bench.allocate();
  initialise(bench.store, 1);
  golden::set_values(bench.store, bench.find("block.attention.bo"), std::vector<double>(8, 1.0));
  golden::set_values(bench.store, bench.find("block.ffn.down.bias"), std::vector<double>(8, 1000.0));
  for (const char* name : {"block.attention.wo", "block.ffn.down.weight"}) {
    golden::set_values(bench.store, bench.find(name), std::vector<double>(64, 0.0));
  }
  bench.ctx.training = true;
  bench.ctx.random = {3, 1};
  // Each branch adds its bias, dropped or doubled: x + {0, 2} + {0, 2000}.
  const std::vector<std::int32_t> offsets{0, 60, 100};
  const std::vector<double> x(800, 0.25), out = golden::values(block(bench.ctx, bench.ctx.variable(x, {100, 8}), view(offsets)));
  int counts[2][2] = {};
  for (const double v : out) {
    const bool attention = std::abs(std::fmod(v, 2000.0) - 2.25) < 1e-9, feed_forward = v > 1000;
    CHECK(v == doctest::Approx(0.25 + (attention ? 2 : 0) + (feed_forward ? 2000 : 0)).epsilon(1e-12));
    ++counts[attention][feed_forward];
  }
  for (const auto& row : counts) {
    for (const int n : row) CHECK(std::abs(n - 200) < 65);  // five standard deviations: independent masks
  }
}
