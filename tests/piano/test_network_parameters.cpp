// Names and shapes of parameters are a contract with every saved model.
#include <doctest/doctest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "tests/piano/network_bench.h"

using namespace piano;

namespace {

std::string names_and_shapes(const ParameterStore& store) {
  std::ostringstream out;
  for (const Parameter& p : store.parameters()) {
    out << p.name << ' ' << to_string(p.shape) << (p.is_table ? " table" : p.decay ? " decay" : "") << '\n';
  }
  return out.str();
}

}  // namespace

TEST_CASE("the parameters of the default config are those of tests/golden/parameter_names.txt") {
  // Name, shape, and how AdamW treats it. To change a line is to break every saved model: the model's format_version must go up with it.
  const bench::World world;
  ParameterStore store(DType::f32);
  const auto network = make_network(Config{}, bench::feature_space(world), store);
  std::ifstream file(golden::path("parameter_names.txt"));
  std::istringstream declared(names_and_shapes(store));
  std::string expected_line, declared_line;
  while (std::getline(file, expected_line)) {
    REQUIRE_MESSAGE(std::getline(declared, declared_line), "missing: " << expected_line);
    REQUIRE(declared_line == expected_line);
  }
  CHECK_MESSAGE(!std::getline(declared, declared_line), "new: " << declared_line);
}

TEST_CASE("an ablation declares no parameter of a part that it does without") {
  const bench::World world;
  const auto names = [&](const std::string& options) {
    ParameterStore store(DType::f32);
    const auto network = make_network(bench::small_config(options), bench::feature_space(world), store);
    std::set<std::string> all;
    for (const Parameter& p : store.parameters()) all.insert(p.name);
    return all;
  };
  const auto any = [](const std::set<std::string>& all, const std::string& prefix) {
    return std::any_of(all.begin(), all.end(), [&](const std::string& name) { return name.starts_with(prefix); });
  };
  CHECK(any(names(""), "qdir."));
  CHECK_FALSE(any(names("qdir.mode=off"), "qdir."));
  CHECK_FALSE(any(names("qdir.mode=mean"), "qdir.age"));
  CHECK_FALSE(any(names("qdir.mode=mean"), "qdir.attention.null"));
  CHECK_FALSE(any(names("qdir.null_slot=false"), "qdir.attention.null"));
  CHECK_FALSE(any(names("qdir.value=item"), "qdir.value"));
  CHECK(any(names("qdir.query=query+user"), "qdir.query"));
  CHECK_FALSE(any(names("ian.pool=mean"), "ian."));
  CHECK_FALSE(any(names("ian.condition=false"), "ian.condition"));
  CHECK_FALSE(any(names("encoder.position=none"), "encoder.position"));
  CHECK_FALSE(any(names("model.layers=0"), "encoder.0"));
}

TEST_CASE("every parameter of the default config gets a gradient") {
  const bench::World world;
  bench::Bench model(bench::small_config("loss.listwise=0.5"), bench::feature_space(world), reference_device(DType::f64));
  const data::Batch batch = bench::random_batch(world, {{5, 3}, {4, 0}, {6, 5}}, 2);
  model.train(batch, bench::counts(batch));
  for (const Parameter& p : model.store.parameters()) {
    if (p.name.ends_with("attention.bk") && p.name.starts_with("encoder")) continue;  // the softmax does not see a key's bias
    CHECK_MESSAGE(golden::norm(model.gradient(p)) > 0, p.name);
  }
}

TEST_CASE("visit_rows names every row that has a gradient; a rank or position beyond the position table stands for its last row") {
  for (const std::string position : {"initial_rank", "displayed"}) {
    CAPTURE(position);
    const bench::World world;
    const Config config = bench::small_config("encoder.positions=3\nencoder.position=" + position);
    bench::Bench model(config, bench::feature_space(world), reference_device(DType::f64));
    const data::Batch batch = bench::random_batch(world, {{5, 3}, {4, 0}}, 2);
    model.train(batch, bench::counts(batch));
    std::vector<std::set<std::int32_t>> visited(model.store.table_count());
    model.network->visit_rows(batch, [&](ParameterId id, std::span<const std::int32_t> rows) {
      const Parameter& p = model.store[id];
      for (const std::int32_t row : rows) {
        CHECK_MESSAGE((row >= 0 && (row < p.shape.rows() || p.name == "encoder.position")), p.name << " row " << row);
        visited[p.table].insert(std::min(row, static_cast<std::int32_t>(p.shape.rows()) - 1));
      }
    });
    for (const Parameter& p : model.store.parameters()) {
      if (!p.is_table) continue;
      for (const std::int32_t row : model.gradients.tables[p.table].rows()) CHECK_MESSAGE(visited[p.table].contains(row), p.name << " row " << row);
    }
  }
}
