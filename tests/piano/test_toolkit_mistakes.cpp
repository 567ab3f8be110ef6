// Mistakes that toolkits for ranking are known to make, each with a test that would see it here. Those that have theirs elsewhere:
// - the early-stop flag never obeyed; the last epoch saved and not the best: test_training.cpp, "the early stop is obeyed ..."
// - padding that leaks into normalisation or softmax (there is none): test_properties.cpp, "a list's scores have the same bits alone ..."
// - dropout left on at inference: test_properties.cpp, "dropout is off at inference ..."
// - candidates ordered positives first: test_evaluation.cpp, "a constant scorer does not win, even where positives come first"
// - MRR of 1.0 for a list with no positive: test_metrics.cpp, "a list without a positive has no ranking metric, not a perfect one"
// - vocabularies, scaling, popularity fitted on test rows: tests/data/test_leak.cpp
#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include <nlohmann/json.hpp>

#include "piano/metrics_pointwise.h"
#include "piano/model_file.h"
#include "piano/predictor.h"
#include "piano/train.h"
#include "piano/trainer.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/network_bench.h"
#include "tests/piano/tiny_data.h"

using namespace piano;
using nlohmann::json;

namespace {

using Change = std::function<void(std::int64_t request, json& line)>;

// A simulated log, each line changed, split by time into 55 %, 5 % and 40 %.
void write_changed(const std::string& path, std::int64_t requests, const Change& change) {
  data::WriterOptions options;
  options.valid_fraction = 0.05, options.test_fraction = 0.4;
  data::DatasetWriter writer(path, options);
  data::RequestParser parser;
  data::SimulatorOptions simulation;
  simulation.requests = requests;
  std::int64_t number = 0;
  data::simulate(simulation, [&](std::string_view text) {
    json line = json::parse(text);
    change(number++, line);
    writer.add_request(parser.parse(line.dump()), 0, true);
  }, nullptr);
  writer.commit();
}

// Each list's labels in another order of its candidates.
void shuffle_labels(std::int64_t request, json& line) {
  RandomStream random(static_cast<std::uint64_t>(request), "labels");
  json& candidates = line["candidates"];
  std::vector<std::pair<json, json>> labels;
  for (const json& c : candidates) labels.emplace_back(c["click"], c["conversion"]);
  random.shuffle(labels);
  for (std::size_t i = 0; i < labels.size(); ++i) candidates[i]["click"] = labels[i].first, candidates[i]["conversion"] = labels[i].second;
}

struct AucOfLists {
  double mean = 0, standard_error = 0;
};

// The AUC of pctr within each test list, after training on the log's training part. (Pooled over lists it would not be a half even for
// shuffled labels: which users and queries get clicks at all can be learnt.)
AucOfLists held_out_auc(const Change& change) {
  const TemporaryFolder folder;
  write_changed(folder / "data", 500, change);
  const data::Dataset data(folder / "data");
  ThreadPool pool(2);
  Config config = tiny_config();
  config.train.learning_rate = 1e-2;
  Trainer trainer(config, data, pool);
  const std::vector<std::int64_t>& order = trainer.training_requests();
  for (int epoch = 0; epoch < 3; ++epoch) {
    for (std::size_t at = 0; at + 32 <= order.size(); at += 32) trainer.step(std::span(order).subspan(at, 32));
  }
  const std::vector<std::int64_t> requests = data.requests(data::Split::test);
  Predictor predictor(trainer.config(), trainer.network(), trainer.parameters(), data.features(), trainer.builder(), pool);
  const PredictedLogits logits = predictor.predict(data, requests);
  std::vector<double> p, y;
  std::vector<std::int32_t> list;
  for (std::size_t l = 0; l < requests.size(); ++l) {
    for (std::int64_t i = logits.offsets[l]; i < logits.offsets[l + 1]; ++i) {
      p.push_back(sigmoid(logits.click[static_cast<std::size_t>(i)]));
      y.push_back(data.clicks()[static_cast<std::size_t>(data.candidate_begin(requests[l]) + i - logits.offsets[l])]);
      list.push_back(static_cast<std::int32_t>(l));
    }
  }
  const GroupedAuc lists = grouped_auc(p, y, list, static_cast<std::int32_t>(requests.size()), GroupWeight::uniform);
  REQUIRE(lists.used > 120);
  AucOfLists result{*lists.value, 0};
  const auto n = static_cast<double>(lists.used);
  for (std::size_t l = 0; l < lists.auc.size(); ++l) {
    if (lists.weight[l] > 0) result.standard_error += std::pow(lists.auc[l] - result.mean, 2);
  }
  result.standard_error = std::sqrt(result.standard_error / (n - 1) / n);
  return result;
}

std::string bytes_of(const std::string& path) {
  const std::string bytes = read_all(path);
  REQUIRE(!bytes.empty());
  return bytes;
}

}  // namespace

// A label among the features, or a model that knows test rows: then shuffled labels give more than chance.
TEST_CASE("shuffled labels give chance, true labels do not, and a label among the features would show") {
  const AucOfLists shuffled = held_out_auc(shuffle_labels);
  CHECK(std::abs(shuffled.mean - 0.5) <= 4 * shuffled.standard_error);
  const AucOfLists real = held_out_auc([](std::int64_t, json&) {});
  CHECK(real.mean - 0.5 > 4 * real.standard_error);
  const AucOfLists leaked = held_out_auc([](std::int64_t request, json& line) {
    shuffle_labels(request, line);
    for (json& c : line["candidates"]) c["dense"][0] = c["click"];
  });
  CHECK(leaked.mean > 0.9);
}

// Model selection on test lists, or any other way from them into the model.
TEST_CASE("another test part gives the same model, to the byte; another validation part may choose another epoch") {
  const TemporaryFolder folder;
  const auto trained = [&](std::int64_t first_changed, std::int64_t end_changed) {
    write_changed(folder / "data", 200, [&](std::int64_t request, json& line) {
      if (request < first_changed || request >= end_changed) return;
      for (json& c : line["candidates"]) c["click"] = 1 - c["click"].get<int>(), c["conversion"] = 0, c["dense"] = {9, 9};
    });
    Config config = tiny_config();
    config.train.epochs = 6;
    config.train.learning_rate = 0.02;
    ThreadPool pool(1);
    TrainOptions options;
    options.out = folder / "model";
    const TrainSummary summary = train(config, data::Dataset(folder / "data"), pool, options);
    return std::pair{bytes_of(options.out), summary.best};
  };
  const auto before = trained(0, 0), other_test = trained(120, 200), other_validation = trained(110, 120);
  CHECK(other_test == before);
  CHECK(other_validation.second != before.second);
}

// The last partial batch dropped.
TEST_CASE("every request has a prediction, whatever the number of requests and of threads") {
  const TemporaryFolder folder;
  write_tiny_data(folder / "data", 121);
  const data::Dataset data(folder / "data");
  ThreadPool one(1), three(3);
  Trainer trainer(tiny_config(), data, one);
  std::vector<std::int64_t> requests(static_cast<std::size_t>(data.size()));
  std::iota(requests.begin(), requests.end(), std::int64_t{0});
  const auto predict = [&](ThreadPool& pool, std::size_t count) {
    return Predictor(trainer.config(), trainer.network(), trainer.parameters(), data.features(), trainer.builder(), pool)
        .predict(data, std::span(requests).first(count));
  };
  const PredictedLogits all = predict(one, requests.size());
  for (const std::size_t count : {std::size_t{1}, std::size_t{2}, std::size_t{31}, std::size_t{32}, std::size_t{33}, requests.size()}) {
    const PredictedLogits some = predict(three, count);
    CHECK(some.list_click.size() == count);
    CHECK(static_cast<std::int64_t>(some.click.size()) == data.candidate_end(static_cast<std::int64_t>(count) - 1));
    CHECK(std::equal(some.click.begin(), some.click.end(), all.click.begin()));
    CHECK(std::equal(some.list_click.begin(), some.list_click.end(), all.list_click.begin()));
  }
  Config one_epoch = tiny_config();
  one_epoch.train.epochs = 1;
  TrainOptions options;
  options.out = folder / "model";
  const auto lists = static_cast<std::int64_t>(trainer.training_requests().size());
  REQUIRE(lists % 32 != 0);
  CHECK(train(one_epoch, data, one, options).steps == lists / 32 + 1);
}

// User fields, or any other column, loaded and unused.
TEST_CASE("every column that a batch has moves the scores") {
  const bench::World world;
  bench::Bench model(bench::small_config("qdir.query=query+user"), bench::feature_space(world), reference_device(DType::f64));
  const data::Batch batch = bench::random_batch(world, {{5, 4}, {3, 3}}, 3);
  const bench::Scores before = model.scores(batch);
  using Ids = std::function<std::vector<std::int32_t>&(data::Batch&)>;
  using Numbers = std::function<std::vector<float>&(data::Batch&)>;
  const std::vector<std::pair<const char*, Ids>> ids{
      {"user", [](data::Batch& b) -> auto& { return b.user; }},
      {"user field", [](data::Batch& b) -> auto& { return b.user_fields[0].ids; }},
      {"context field", [](data::Batch& b) -> auto& { return b.context_fields[0].ids; }},
      {"query", [](data::Batch& b) -> auto& { return b.query.id; }},
      {"query term", [](data::Batch& b) -> auto& { return b.query.terms.ids; }},
      {"past query", [](data::Batch& b) -> auto& { return b.history_query.id; }},
      {"past query term", [](data::Batch& b) -> auto& { return b.history_query.terms.ids; }},
      {"past item", [](data::Batch& b) -> auto& { return b.history_item.id; }},
      {"past item's field", [](data::Batch& b) -> auto& { return b.history_item.fields[0].ids; }},
      {"past action", [](data::Batch& b) -> auto& { return b.history_action; }},
      {"past age", [](data::Batch& b) -> auto& { return b.history_age; }},
      {"item", [](data::Batch& b) -> auto& { return b.item.id; }},
      {"item field", [](data::Batch& b) -> auto& { return b.item.fields[1].ids; }},
      {"initial rank", [](data::Batch& b) -> auto& { return b.rank; }}};
  const std::vector<std::pair<const char*, Numbers>> numbers{
      {"user dense", [](data::Batch& b) -> auto& { return b.user_dense; }}, {"dense", [](data::Batch& b) -> auto& { return b.dense; }},
      {"vector", [](data::Batch& b) -> auto& { return b.vector; }},         {"match", [](data::Batch& b) -> auto& { return b.match; }},
      {"score", [](data::Batch& b) -> auto& { return b.score; }}};
  for (const auto& [key, column] : ids) {
    const std::string name = key;  // doctest's lambda cannot capture a binding (clang 14)
    CAPTURE(name);
    data::Batch other = batch;
    REQUIRE(!column(other).empty());
    for (std::int32_t& id : column(other)) id = id == 1 ? 0 : 1;
    CHECK_FALSE(model.scores(other) == before);
  }
  for (const auto& [key, column] : numbers) {
    const std::string name = key;
    CAPTURE(name);
    data::Batch other = batch;
    REQUIRE(!column(other).empty());
    for (float& x : column(other)) x += 1;
    CHECK_FALSE(model.scores(other) == before);
  }
  data::Batch labels = batch;  // ... but for the labels
  for (auto* column : {&labels.click, &labels.conversion, &labels.labelled}) {
    for (float& x : *column) x = 1 - x;
  }
  CHECK(model.scores(labels) == before);
}

// The same from the text of a request to the answer.
TEST_CASE("a request's user fields reach the answer, its labels do not") {
  const TemporaryFolder folder;
  {
    data::DatasetWriter writer(folder / "data", {});
    data::RequestParser parser;
    for (int i = 0; i < 40; ++i) {
      const json line{{"id", std::to_string(i)}, {"time", i}, {"user", {{"id", "u"}, {"fields", {{"country", i % 2 == 0 ? "se" : "no"}}}}},
                      {"query", "q"}, {"candidates", {{{"id", "a"}, {"click", i % 2}}, {{"id", "b"}, {"click", (i + 1) % 2}}}}};
      writer.add_request(parser.parse(line.dump()), 0, true);
    }
    writer.commit();
  }
  const data::Dataset data(folder / "data");
  ThreadPool pool(1);
  Trainer trainer(tiny_config(), data, pool);
  save_model(folder / "model", trainer.config(), data.features(), trainer.parameters());
  Session session(Model::load(folder / "model"));
  data::RequestParser parser;
  const auto score = [&](const std::string& country, const std::string& labels) {
    const std::string line = R"({"user":{"id":"u","fields":{"country":")" + country + R"("}},"query":"q",)" +
                             R"("candidates":[{"id":"a")" + labels + R"(},{"id":"b"}]})";
    return session.rerank(parser.parse(line)).ranking[0].score;
  };
  CHECK(score("se", "") != score("no", ""));
  CHECK(score("se", "") == score("se", R"(,"click":1,"conversion":1)"));
}
