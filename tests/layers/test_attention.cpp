// Multi-head attention: the edges of its contract, and the weights that people are shown.
#include <doctest/doctest.h>

#include <algorithm>

#include "layers/attention.h"
#include "layers/query_attention.h"
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
  QueryAttention of_query;  // of the same parameters
  Attention(const Device& device, int heads, bool null_slot) : bench(device) {
    of_query = QueryAttention::declare(bench.store, "layer", kWidth, heads, null_slot);
    const QueryAttention& q = of_query;
    layer = {q.wq, q.bq, q.wk, q.bk, q.wv, q.bv, q.wo, q.bo, q.null_key, q.null_value, heads};
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
    const std::vector<double> mean = golden::values(a.of_query(a.bench.ctx, QueryAttention::uniform_weights(a.bench.ctx, view(kKeys)), keys, view(kKeys)));
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
    const std::vector<double> weights = golden::values(a.of_query.weights(a.bench.ctx, a.rows(1, 2), keys, view(three)));
    CHECK(*std::max_element(weights.begin(), weights.end()) <= 1);
    for (const double w : weights) CHECK(w >= 0);
  }
}

TEST_CASE("one query a list: the weights lie in [0, 1] and sum to 1 with the null slot's share, and the sum is multi-head attention") {
  const std::vector<std::int32_t> one_each{0, 1, 2, 3};
  for (const bool null_slot : {false, true}) {
    for (const golden::Check& check : golden::devices()) {
      CAPTURE(check.device->name);
      CAPTURE(null_slot);
      Attention a(*check.device, 4, null_slot);
      const Tensor queries = a.rows(3, 2), keys = a.rows(4, 1), values = a.rows(4, 3);
      const Tensor weights = a.of_query.weights(a.bench.ctx, queries, keys, view(kKeys));
      const std::vector<double> w = golden::values(weights);  // (4, heads)
      for (std::size_t h = 0; h < 4; ++h) {
        for (std::size_t j = 0; j < 4; ++j) CHECK((w[j * 4 + h] > 0 && w[j * 4 + h] <= 1));
        const double first = w[h] + w[4 + h] + w[8 + h];
        CHECK((null_slot ? first < 1 : first == doctest::Approx(1).epsilon(1e-6)));
      }
      const std::vector<double> expected = golden::values(a.layer(a.bench.ctx, queries, keys, values, view(one_each), view(kKeys)));
      CHECK(golden::error(golden::values(a.of_query(a.bench.ctx, weights, values, view(kKeys))), expected) <= check.tolerance);
    }
  }
}
