// Multi-head attention: the edges of its contract, and the weights that people are shown.
#include <doctest/doctest.h>

#include "layers/attention.h"
#include "tests/layers/layer_bench.h"

using namespace piano;

namespace {

constexpr std::int64_t kWidth = 8;

std::vector<double> normals(std::int64_t n, std::uint64_t seed) {
  RandomStream random(seed, "normals");
  std::vector<double> v(static_cast<std::size_t>(n));
  for (double& x : v) x = random.normal();
  return v;
}

struct Attention {
  LayerBench bench;
  MultiHeadAttention layer;
  Attention(const Device& device, int heads, bool null_slot) : bench(device) {
    layer = MultiHeadAttention::declare(bench.store, "layer", kWidth, heads, null_slot);
    bench.allocate();
    for (const Parameter& p : bench.store.parameters()) {
      golden::set_values(bench.store, p, normals(p.shape.elements(), 100 + p.offset));
    }
  }
  void set(const std::string& name, const std::vector<double>& values) { golden::set_values(bench.store, bench.find(name), values); }
  Tensor rows(std::int64_t n, std::uint64_t seed) { return bench.ctx.variable(normals(n * kWidth, seed), {n, kWidth}); }
};

std::vector<double> identity() {
  std::vector<double> eye(kWidth * kWidth, 0.0);
  for (std::size_t i = 0; i < kWidth; ++i) eye[i * kWidth + i] = 1;
  return eye;
}

Ragged view(const std::vector<std::int32_t>& offsets) { return {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}; }

const std::vector<std::int32_t> kQueries{0, 1, 3, 4}, kKeys{0, 3, 3, 4};  // the second list has no keys

}  // namespace

TEST_CASE("without null slot a list without keys gets the output's bias alone, exactly; so does a mean over nothing") {
  for (const golden::Check& check : golden::devices()) {
    const Device* const device = check.device;
    CAPTURE(device->name);
    Attention a(*device, 2, false);
    const std::vector<double> bias = golden::values(a.bench.store, a.bench.find("layer.bo"));
    const Tensor keys = a.rows(4, 1);
    const std::vector<double> out = golden::values(a.layer(a.bench.ctx, a.rows(4, 2), keys, keys, view(kQueries), view(kKeys)));
    const std::vector<double> mean = golden::values(a.layer.mean(a.bench.ctx, keys, view(kKeys)));
    for (const std::size_t row : {std::size_t{1}, std::size_t{2}}) {
      CHECK(std::vector<double>(out.begin() + static_cast<std::ptrdiff_t>(row * kWidth), out.begin() + static_cast<std::ptrdiff_t>((row + 1) * kWidth)) == bias);
    }
    CHECK(std::vector<double>(mean.begin() + kWidth, mean.begin() + 2 * kWidth) == bias);
  }
}

TEST_CASE("with a null slot a list without keys gets the null value") {
  Attention a(reference_device(DType::f64), 2, true);
  a.set("layer.wo", identity());
  const Tensor keys = a.rows(4, 1);
  const std::vector<double> out = golden::values(a.layer(a.bench.ctx, a.rows(4, 2), keys, keys, view(kQueries), view(kKeys)));
  const std::vector<double> null = golden::values(a.bench.store, a.bench.find("layer.null_value"));
  const std::vector<double> bias = golden::values(a.bench.store, a.bench.find("layer.bo"));
  for (std::size_t c = 0; c < kWidth; ++c) CHECK(out[kWidth + c] == doctest::Approx(null[c] + bias[c]).epsilon(1e-12));
}

TEST_CASE("one key without a null slot: its value, whatever the query") {
  Attention a(reference_device(DType::f64), 4, false);
  const std::vector<std::int32_t> one{0, 1};
  const Tensor key = a.rows(1, 1);
  const std::vector<double> x = golden::values(a.layer(a.bench.ctx, a.rows(1, 2), key, key, view(one), view(one)));
  const std::vector<double> y = golden::values(a.layer(a.bench.ctx, a.rows(1, 3), key, key, view(one), view(one)));
  CHECK(x == y);
}

TEST_CASE("scores of 1,000 do not overflow") {
  for (const golden::Check& check : golden::devices()) {
    const Device* const device = check.device;
    CAPTURE(device->name);
    Attention a(*device, 2, true);
    const std::vector<std::int32_t> one{0, 1}, three{0, 3};
    std::vector<double> large = normals(3 * kWidth, 1);
    for (double& v : large) v *= 1000;
    const Tensor keys = a.bench.ctx.variable(large, {3, kWidth});
    for (const double v : golden::values(a.layer(a.bench.ctx, a.rows(1, 2), keys, keys, view(one), view(three)))) CHECK(std::isfinite(v));
  }
}

TEST_CASE("weights() is what the op weighs the values with: in [0, 1], summing to 1 with the null slot's share") {
  for (const bool null_slot : {false, true}) {
    for (const Device* device : cpu_levels()) {
      CAPTURE(device->name);
      CAPTURE(null_slot);
      Attention a(*device, 1, null_slot);  // one head, so that the mean over heads is the softmax itself
      // Values are one-hot and pass through unchanged: column j of the result is the weight of key j, column 7 that of the null slot.
      for (const char* w : {"layer.wv", "layer.wo"}) a.set(w, identity());
      for (const char* b : {"layer.bv", "layer.bo"}) a.set(b, std::vector<double>(kWidth, 0.0));
      if (null_slot) a.set("layer.null_value", {0, 0, 0, 0, 0, 0, 0, 1});
      std::vector<double> hot(4 * kWidth, 0.0);
      for (const auto& [row, column] : {std::pair{0, 0}, {1, 1}, {2, 2}, {3, 0}}) hot[static_cast<std::size_t>(row * kWidth + column)] = 1;
      const Tensor queries = a.rows(4, 2), keys = a.rows(4, 1), values = a.bench.ctx.variable(hot, {4, kWidth});
      const std::vector<double> out = golden::values(a.layer(a.bench.ctx, queries, keys, values, view(kQueries), view(kKeys)));
      std::vector<double> weights(3 + 0 + 1, -1);  // queries x keys of each list
      a.layer.weights(a.bench.ctx, queries, keys, view(kQueries), view(kKeys), weights);
      for (std::size_t j = 0; j < 3; ++j) CHECK(weights[j] == doctest::Approx(out[j]).epsilon(1e-5));
      CHECK(weights[3] == doctest::Approx(out[3 * kWidth]).epsilon(1e-5));
      const double null_weight = null_slot ? out[7] : 0;
      CHECK(weights[0] + weights[1] + weights[2] == doctest::Approx(1 - null_weight).epsilon(1e-5));
      CHECK((null_weight > 0) == null_slot);
    }
  }
}

TEST_CASE("weights() with several heads is their mean") {
  // Head h sees the columns 2h and 2h + 1: a layer of one head with the same projections of those columns is that head alone.
  Attention four(cpu_device(), 4, true);
  const Tensor queries = four.rows(4, 2), keys = four.rows(4, 1);
  std::vector<double> weights(4), sum(4, 0.0), one(4);
  four.layer.weights(four.bench.ctx, queries, keys, view(kQueries), view(kKeys), weights);
  const auto masked = [&](const std::string& name, std::size_t head) {
    std::vector<double> v = golden::values(four.bench.store, four.bench.find(name));
    const std::size_t per_column = v.size() / kWidth;  // a row of a matrix makes one column of the result
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = i / per_column / 2 == head ? 2 * v[i] : 0;  // sqrt(8) / sqrt(2) = 2 scales the scores
    return v;
  };
  for (std::size_t head = 0; head < 4; ++head) {
    Attention single(cpu_device(), 1, true);
    for (const char* name : {"layer.wq", "layer.bq"}) single.set(name, masked(name, head));
    single.layer.weights(single.bench.ctx, single.rows(4, 2), single.rows(4, 1), view(kQueries), view(kKeys), one);
    for (std::size_t j = 0; j < 4; ++j) sum[j] += one[j] / 4;
  }
  for (std::size_t j = 0; j < 4; ++j) CHECK(weights[j] == doctest::Approx(sum[j]).epsilon(1e-5));
}
