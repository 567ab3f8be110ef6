// Initial values: by what a parameter is, the same in both widths, each from its own stream.
#include <doctest/doctest.h>

#include "layers/encoder.h"
#include "layers/embedding.h"
#include "tests/layers/layer_bench.h"

using namespace piano;

namespace {

ParameterStore initialised(DType dtype, std::uint64_t seed, bool with_more = false) {
  ParameterStore store(dtype);
  if (with_more) Linear::declare(store, "earlier", 3, 4);
  Embedding::declare(store, "table", 200, 16, 0);
  MultiHeadAttention::declare(store, "attention", 16, 2, true);
  Linear::declare(store, "linear", 100, 50);
  LayerNorm::declare(store, "norm", 16);
  store.allocate();
  initialise(store, seed);
  return store;
}

std::vector<double> of(const ParameterStore& store, const std::string& name) {
  for (const Parameter& p : store.parameters()) {
    if (p.name == name) return golden::values(store, p);
  }
  return {};
}

double deviation(const std::vector<double>& v) { return golden::norm(v) / std::sqrt(static_cast<double>(v.size())); }

}  // namespace

TEST_CASE("initial values have the sizes that their header states") {
  const ParameterStore store = initialised(DType::f32, 1);
  CHECK(std::abs(deviation(of(store, "table")) / 0.25 - 1) < 0.05);           // 1 / sqrt(16)
  CHECK(deviation(of(store, "attention.null_key")) > 0.05);
  const double limit = std::sqrt(6.0 / 150);
  for (const double v : of(store, "linear.weight")) CHECK(std::abs(v) <= limit);
  CHECK(std::abs(deviation(of(store, "linear.weight")) / (limit / std::sqrt(3.0)) - 1) < 0.05);
  CHECK(of(store, "linear.bias") == std::vector<double>(50, 0.0));
  CHECK(of(store, "norm.gamma") == std::vector<double>(16, 1.0));
  CHECK(of(store, "norm.beta") == std::vector<double>(16, 0.0));
  CHECK(of(store, "attention.bq") == std::vector<double>(16, 0.0));
}

TEST_CASE("what QDIR's attention learns from starts where the header says") {
  ParameterStore store(DType::f32);
  MultiHeadAttention::declare(store, "qdir.attention", 4, 2, true);
  Embedding::declare(store, "query.id", 200, 16, 0);
  Linear::declare(store, "head.click.match", 3, 1, false);
  Linear::declare(store, "head.click.wide", 3, 1, false);
  store.allocate();
  initialise(store, 1);
  const std::vector<double> identity{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1};
  CHECK(of(store, "qdir.attention.wq") == identity);
  CHECK(of(store, "qdir.attention.wk") == identity);
  CHECK(of(store, "qdir.attention.wv") != identity);
  CHECK(std::abs(deviation(of(store, "query.id")) / 0.005 - 1) < 0.05);  // 1 / sqrt(16) / 50
  CHECK(of(store, "head.click.match.weight") == std::vector<double>(3, static_cast<double>(0.1f)));
  CHECK(of(store, "head.click.wide.weight") == std::vector<double>(3, 0.0));
}

TEST_CASE("initial values are the same in float and double, depend on the seed, and not on what else is declared") {
  const ParameterStore store = initialised(DType::f32, 1), wide = initialised(DType::f64, 1), other = initialised(DType::f32, 2),
                       more = initialised(DType::f32, 1, true);
  for (const char* name : {"table", "attention.wq", "attention.null_value", "linear.weight"}) {
    CAPTURE(name);
    CHECK(of(store, name) == of(wide, name));
    CHECK(of(store, name) == of(more, name));
    CHECK(of(store, name) != of(other, name));
  }
  CHECK(of(store, "attention.wq") != of(store, "attention.wk"));
}
