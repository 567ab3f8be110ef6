// The baselines: what each must have of the symmetries and edges that it promises, whatever its parameters are. (test_golden_network.cpp has
// their numbers, test_network_gradient.cpp their gradients.)
#include <doctest/doctest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "engine/ops/shared_forward.h"
#include "piano/models.h"
#include "tests/piano/network_bench.h"

using namespace piano;
using bench::make;
using bench::permuted;

namespace {

const bench::World kWorld;
const std::vector<ModelName> kBaselines{ModelName::dnn,  ModelName::din, ModelName::esmm,    ModelName::mmoe, ModelName::ple,
                                        ModelName::dlcm, ModelName::prm, ModelName::setrank, ModelName::mir,  ModelName::pear};

std::string option(ModelName name) { return std::string("model=") + traits(name).key + "\n"; }

bool finite(const std::vector<double>& v) { return std::all_of(v.begin(), v.end(), [](double x) { return std::isfinite(x); }); }

// Every candidate of list 0 but the first is replaced by what list 1 has there.
data::Batch with_other_neighbours(data::Batch batch) {
  const auto second = static_cast<std::size_t>(batch.offsets[1]);
  for (std::size_t i = 1; i < second; ++i) {
    batch.item.id[i] = batch.item.id[second + i];
    const auto width = [&](const std::vector<float>& column) { return column.size() / static_cast<std::size_t>(batch.rows()); };
    for (auto* column : {&batch.dense, &batch.vector, &batch.match, &batch.score}) {
      for (std::size_t c = 0; c < width(*column); ++c) (*column)[i * width(*column) + c] = (*column)[(second + i) * width(*column) + c] + 0.5f;
    }
  }
  return batch;
}

}  // namespace

TEST_CASE("baselines: a pointwise model gives an item the same logits whatever its neighbours, and no other model does") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}, {5, 3}}, 1), other = with_other_neighbours(batch);
  const std::set<ModelName> pointwise{ModelName::dnn, ModelName::din, ModelName::esmm, ModelName::mmoe, ModelName::ple};
  for (const ModelName name : kBaselines) {
    CAPTURE(std::string(traits(name).key));
    bench::Bench model = make(option(name));
    const bench::Scores a = model.scores(batch), b = model.scores(other);
    CHECK((a.click[0] == b.click[0]) == pointwise.contains(name));
    if (traits(name).conversion) CHECK((a.conversion[0] == b.conversion[0]) == pointwise.contains(name));
    CHECK(a.click[1] != b.click[1]);
  }
}

TEST_CASE("baselines: SetRank and MIR score a set, in whatever order the candidates come; DLCM, PRM and PEAR see the order") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}}, 1);
  const std::vector<std::int32_t> order{3, 0, 4, 1, 2};
  const data::Batch other = bench::reorder_candidates(batch, 0, order);
  for (const std::string options : {"model=setrank\nmodel.layers=2", "model=setrank\nencoder.attention=induced\nencoder.points=3", "model=mir\nmodel.layers=2",
                                    "model=dlcm", "model=pear", "model=prm",
                                    "model=prm\nencoder.position=none"}) {
    CAPTURE(options);
    bench::Bench model = make(options);
    const double distance = golden::error(model.scores(other).click, permuted(model.scores(batch).click, order));
    const bool as_set = options.starts_with("model=setrank") || options.starts_with("model=mir") || options.ends_with("none");
    CHECK(as_set == (distance <= 1e-12));
    if (!as_set) CHECK(distance > 1e-4);
  }
}

TEST_CASE("baselines: a model that reads the past sees what was touched and how, but no past query; the others see nothing of it") {
  const data::Batch batch = bench::random_batch(kWorld, {{3, 5}}, 1);
  const std::vector<std::int32_t> order{3, 0, 4, 1, 2};
  const data::Batch shuffled = bench::reorder_history(batch, 0, order);
  data::Batch queries = batch, items = batch, actions = batch, ages = batch;
  queries.history_query = shuffled.history_query;
  items.history_item = shuffled.history_item;
  for (auto& action : actions.history_action) action = 3 - action;
  for (auto& age : ages.history_age) age = data::kAgeBuckets - 1 - age;
  for (const ModelName name : kBaselines) {
    CAPTURE(std::string(traits(name).key));
    bench::Bench model = make(option(name));
    const bench::Scores before = model.scores(batch);
    const bool past = reads(name, "model.max_history");
    CHECK(model.scores(queries) == before);
    CHECK((model.scores(items) == before) == !past);
    CHECK((model.scores(actions) == before) == !past);
    CHECK((model.scores(ages) == before) == !past);
  }
}

TEST_CASE("baselines: a list's scores have the same bits alone, and anywhere in any batch; a tape changes none") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}, {1, 0}, {13, 9}, {2, 1}, {8, 8}, {31, 17}}, 6);
  std::vector<const Device*> devices{&reference_device(DType::f32)};
  devices.insert(devices.end(), cpu_levels().begin(), cpu_levels().end());
  for (const Device* device : devices) {
    for (const ModelName name : kBaselines) {
      CAPTURE(device->name);
      CAPTURE(std::string(traits(name).key));
      bench::Bench model = make(option(name) + "model.d=20\n", *device);
      const bench::Scores together = model.scores(batch);
      bench::Scores recorded;
      model.train(batch, bench::counts(batch), 0, &recorded);
      CHECK(recorded == together);
      for (std::int32_t l = 0; l < batch.lists; ++l) {
        const auto begin = batch.offsets[static_cast<std::size_t>(l)], end = batch.offsets[static_cast<std::size_t>(l) + 1];
        const bench::Scores alone = model.scores(bench::cut(batch, l, l + 1));
        CHECK(alone.click == std::vector<double>(together.click.begin() + begin, together.click.begin() + end));
        if (traits(name).conversion) {
          CHECK(alone.conversion == std::vector<double>(together.conversion.begin() + begin, together.conversion.begin() + end));
        }
      }
    }
  }
}

TEST_CASE("baselines: empty history, one candidate, many candidates, ids alone: defined and finite; dropout is on in training alone") {
  for (const ModelName name : kBaselines) {
    for (const bench::World& world : {kWorld, bench::bare_world()}) {
      CAPTURE(std::string(traits(name).key));
      bench::Bench model = make(option(name) + "model.dropout=0.3\nmodel.oov_dropout=0.2", cpu_device(), world);
      for (const std::vector<bench::Extent>& lists : {std::vector<bench::Extent>{{1, 0}}, {{3, 0}, {2, 0}}, {{1, 4}}, {{300, 60}, {1, 0}}}) {
        const data::Batch batch = bench::random_batch(world, lists, 4);
        const bench::Scores scores = model.scores(batch);
        CHECK(scores.click.size() == static_cast<std::size_t>(batch.rows()));
        CHECK(scores.conversion.size() == (traits(name).conversion ? scores.click.size() : 0));
        CHECK(scores.list_click.size() == (traits(name).list_click ? lists.size() : 0));
        CHECK((finite(scores.click) && finite(scores.conversion) && finite(scores.list_click)));
        CHECK(std::isfinite(model.train(batch, bench::counts(batch))));
        for (const Parameter& p : model.store.parameters()) CHECK_MESSAGE(std::isfinite(golden::norm(model.gradient(p))), p.name);
        CHECK(model.scores(batch) == scores);
      }
      const data::Batch batch = bench::random_batch(world, {{5, 3}, {4, 2}}, 4);
      bench::Scores with_dropout;
      model.dropout = true;
      model.train(batch, bench::counts(batch), 0, &with_dropout);
      CHECK_FALSE(with_dropout == model.scores(batch));
    }
  }
}

TEST_CASE("baselines: a forward shared by several threads has the bits of one") {
  const data::Batch batch = bench::random_batch(kWorld, {{130, 70}, {3, 0}, {60, 5}}, 3);
  for (const ModelName name : kBaselines) {
    CAPTURE(std::string(traits(name).key));
    bench::Bench b(bench::small_config(option(name)), bench::feature_space(kWorld), cpu_device());
    const bench::Scores expected = b.scores(batch);
    SharedForward shared(3);
    shared.begin();
    Context ctx = b.context();
    ctx.shared = &shared;
    const Logits logits = (*b.network)(ctx, batch);
    shared.run(ctx);
    CHECK(bench::read(logits) == expected);
  }
}

TEST_CASE("baselines: no idle parameters: every one gets a gradient, and visit_rows names every row that has one") {
  for (const ModelName name : kBaselines) {
    CAPTURE(std::string(traits(name).key));
    bench::Bench model = make(option(name));
    const data::Batch batch = bench::random_batch(kWorld, {{5, 3}, {4, 0}, {6, 5}}, 2);
    model.train(batch, bench::counts(batch));
    for (const Parameter& p : model.store.parameters()) {
      if (p.name.ends_with("attention.bk")) continue;  // the softmax does not see a key's bias
      CHECK_MESSAGE(golden::norm(model.gradient(p)) > 0, p.name);
    }
    std::vector<std::set<std::int32_t>> visited(model.store.table_count());
    model.network->visit_rows(batch, [&](ParameterId id, std::span<const std::int32_t> rows) {
      visited[model.store[id].table].insert(rows.begin(), rows.end());
    });
    for (const Parameter& p : model.store.parameters()) {
      if (!p.is_table) continue;
      for (const std::int32_t row : model.gradients.tables[p.table].rows()) CHECK_MESSAGE(visited[p.table].contains(row), p.name << " row " << row);
    }
  }
}

TEST_CASE("baselines: names and shapes of parameters are those of tests/golden/parameter_names_baselines.txt") {
  std::ostringstream declared;
  for (const ModelName name : kBaselines) {
    Config config;
    set_option(config, "model", traits(name).key);
    ParameterStore store(DType::f32);
    make_network(config, bench::feature_space(kWorld), store);
    for (const Parameter& p : store.parameters()) {
      declared << traits(name).key << ": " << p.name << ' ' << to_string(p.shape) << (p.is_table ? " table" : p.decay ? " decay" : "") << '\n';
    }
  }
  std::ifstream file(golden::path("parameter_names_baselines.txt"));
  std::istringstream lines(declared.str());
  std::string expected, got;
  while (std::getline(file, expected)) {
    REQUIRE_MESSAGE(std::getline(lines, got), "missing: " << expected);
    REQUIRE(got == expected);
  }
  CHECK_MESSAGE(!std::getline(lines, got), "new: " << got);
}

TEST_CASE("baselines: options that a model does not read are refused, and a model file says what the model does") {
  CHECK(bench::config_of("model=din").model.name == ModelName::din);
  CHECK_THROWS_WITH_AS(bench::config_of("model=dinn"), doctest::Contains("model.name: expected piano | dnn | din"), Error);
  CHECK_THROWS_WITH_AS(bench::config_of("model=dnn\nqdir.mode=mean"),
                       "qdir.mode: model.name = dnn does not read it (read by: piano); leave it at attend, got mean", Error);
  CHECK_THROWS_WITH_AS(bench::config_of("model=dnn\nmodel.max_history=20"), doctest::Contains("model.max_history: model.name = dnn"), Error);
  CHECK_THROWS_AS(bench::config_of("model=esmm\nian.pool=mean"), Error);
  CHECK_THROWS_AS(bench::config_of("model=prm\nloss.click=2"), Error);
  CHECK_THROWS_AS(bench::config_of("model=setrank\nencoder.positions=20"), Error);
  CHECK_THROWS_WITH_AS(bench::config_of("model=prm\ntrain.select=loss"), doctest::Contains("model.name = prm has none"), Error);
  CHECK_THROWS_WITH_AS(bench::config_of("model=dlcm\nloss.lambda=11"), doctest::Contains("expected 10 or less"), Error);
  CHECK_THROWS_WITH_AS(bench::config_of("model=ple\nmodel.layers=0"), doctest::Contains("expected 1 or more"), Error);
  CHECK_THROWS_AS(bench::config_of("model.experts=3"), Error);
  const Config setrank = as_read(bench::config_of("model=setrank"));
  CHECK((setrank.encoder.position == PositionMode::none && setrank.rank.beta == 0));
  check(setrank);
  CHECK_THROWS_AS(bench::config_of("model=esmm\nloss.click=0\nloss.conversion=0"), Error);
  CHECK(as_read(bench::config_of("model=dnn")).model.max_history == 0);
  CHECK(as_read(bench::config_of("model=din")).model.max_history == 50);
  check(as_read(bench::config_of("model=dnn")));
  Config config;
  parse_toml("model = \"esmm\"", "test", config);
  CHECK(config.model.name == ModelName::esmm);
}
