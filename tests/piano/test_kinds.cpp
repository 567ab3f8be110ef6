// Several kinds of conversion, from a log to an order: a head each, losses where a kind is known, one number to rank by.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/dataset_columns.h"
#include "piano/calibration.h"
#include "piano/evaluation_probabilities.h"
#include "piano/evaluation_pool.h"
#include "piano/list_search.h"
#include "piano/model_predictions.h"
#include "piano/train.h"
#include "tests/piano/evaluation_fixture.h"
#include "tests/piano/kinds_log.h"
#include "tests/piano/network_bench.h"
#include "tests/piano/served_world.h"

using namespace piano;
using namespace piano::kinds;
using doctest::Approx;

namespace {

std::vector<std::string> parameter_names(const bench::Bench& model) {
  std::vector<std::string> names;
  for (const Parameter& p : model.store.parameters()) names.push_back(p.name);
  return names;
}

void step_through(Trainer& trainer) {
  for (std::size_t at = 0; at + 32 <= trainer.training_requests().size(); at += 32) trainer.step(std::span(trainer.training_requests()).subspan(at, 32));
}

Config of_options(const std::vector<std::string>& options) {
  Config config = tiny_config();
  for (const std::string& option : options) set_option(config, option);
  return config;
}

void train_to(const std::string& path, const Config& config, const data::Dataset& d, ThreadPool& pool) {
  TrainOptions options;
  options.out = path;
  train(config, d, pool, options);
}

}  // namespace

TEST_CASE("kinds: the first one has the names that a conversion without a name has; others have a number") {
  bench::World plain, one, two;
  one.kinds = {"save"}, two.kinds = {"purchase", "save"};
  const std::vector<std::string> names = parameter_names(bench::make("", cpu_device(), plain));
  CHECK(parameter_names(bench::make("", cpu_device(), one)) == names);
  std::vector<std::string> more = parameter_names(bench::make("", cpu_device(), two));
  std::vector<std::string> added;
  std::copy_if(more.begin(), more.end(), std::back_inserter(added), [&](const std::string& n) { return std::find(names.begin(), names.end(), n) == names.end(); });
  CHECK(added == std::vector<std::string>{"head.conversion.1.up.weight", "head.conversion.1.up.bias", "head.conversion.1.down.weight",
                                          "head.conversion.1.down.bias", "head.conversion.1.wide.weight", "head.conversion.1.match.weight",
                                          "head.list_conversion.1.up.weight", "head.list_conversion.1.up.bias",
                                          "head.list_conversion.1.down.weight", "head.list_conversion.1.down.bias"});
}

TEST_CASE("kinds: one kind with a name is trained to the bits of one without") {
  const TemporaryFolder folder;
  pack(folder / "plain", 200, 1);
  pack(folder / "named", 200, 1, [](const std::string& text, std::int64_t) {
    return replaced(replaced(text, R"("conversion":0)", R"("conversion":{"conversion":0})"), R"("conversion":1)", R"("conversion":{"conversion":1})");
  });
  const data::Dataset plain(folder / "plain"), named(folder / "named");
  CHECK(plain.features().schema.conversions.empty());
  CHECK(named.features().schema.conversions == std::vector<std::string>{"conversion"});
  ThreadPool pool(1);
  Trainer a(tiny_config(), plain, pool), b(tiny_config(), named, pool);
  step_through(a), step_through(b);
  for (const Parameter& p : a.parameters().parameters()) {
    const auto x = a.parameters().values<float>(p), y = b.parameters().values<float>(b.parameters().parameters()[static_cast<std::size_t>(&p - a.parameters().parameters().data())]);
    CHECK_MESSAGE(std::ranges::equal(x, y), p.name);
  }
}

TEST_CASE("kinds: what is not known of a kind teaches it nothing, and the others what they learnt without it") {
  bench::World world;
  world.kinds = {"purchase", "save"};
  data::Batch batch = bench::random_batch(world, {{5, 3}, {4, 0}}, 3);
  for (std::size_t i = 0; i < batch.conversion.size(); ++i) {
    if (i % 2 == 1) batch.conversion[i] = float{data::kUnknownLabel};
    else if (batch.conversion[i] == float{data::kUnknownLabel}) batch.conversion[i] = 0;
  }
  data::Batch first = batch;  // of one kind
  first.kinds = 1;
  first.conversion.clear(), first.value.clear();
  for (std::size_t i = 0; i < batch.conversion.size(); i += 2) first.conversion.push_back(batch.conversion[i]), first.value.push_back(batch.value[i]);

  bench::Bench both = bench::make("", reference_device(DType::f64), world), alone = bench::make("");
  const double loss = both.train(batch, bench::counts(batch));
  CHECK(loss == Approx(alone.train(first, bench::counts(first))).epsilon(1e-12));
  for (const Parameter& p : both.store.parameters()) {
    const bool second = p.name.starts_with("head.conversion.1") || p.name.starts_with("head.list_conversion.1");
    CHECK_MESSAGE((golden::norm(both.gradient(p)) == 0) == (second || golden::norm(alone.gradient(alone.find(second ? "head.click.up.weight" : p.name))) == 0), p.name);
  }
}

TEST_CASE("kinds: the score is the log of the weighted sum, and of one kind what it was") {
  Config config;
  const auto log_s = [](double x) { return -softplus(-x); };
  const std::vector<float> b{0.3f, -1.2f, 2.0f}, v{2.0f, 0.5f, 4.0f};
  CHECK(ranking_score(config, 0.7f, std::span(b).first(1), std::span(v).first(1)) == log_s(0.7f) + log_s(0.3f));
  CHECK(ranking_score(config, 0.7f, b, v) == Approx(log_s(0.7f) + std::log(sigmoid(0.3f) + sigmoid(-1.2f) + sigmoid(2.0f))));
  config.rank.gamma = 1;
  CHECK(ranking_score(config, 0.7f, std::span(b).first(1), std::span(v).first(1)) == log_s(0.7f) + log_s(0.3f) + std::log(2.0));
  config.rank.conversion_weights = {1, 0, 0.25};
  CHECK(ranking_score(config, 0.7f, b, v) == Approx(log_s(0.7f) + std::log(2 * sigmoid(0.3f) + 0.25 * 4 * sigmoid(2.0f))));
  config.rank.alpha = 0.5, config.rank.beta = 2, config.rank.gamma = 0;
  CHECK(ranking_score(config, 0.7f, b, v) == Approx(0.5 * log_s(0.7f) + std::log(std::pow(sigmoid(0.3f), 2) + 0.25 * std::pow(sigmoid(2.0f), 2))));
  config.rank.beta = 0;
  const std::vector<float> none(3, NAN);  // a model without conversions
  CHECK(ranking_score(config, 0.7f, none, v) == 0.5 * log_s(0.7f));
}

TEST_CASE("kinds: weights that do not fit are refused by name") {
  const TemporaryFolder folder;
  pack(folder / "two", 60, 2);
  const data::Dataset two(folder / "two");
  ThreadPool pool(1);
  CHECK_THROWS_WITH_AS(Trainer(of_options({"rank.conversion_weights=1 2 3"}), two, pool),
                       "rank.conversion_weights: expected 2 numbers, for follow, save, got 3", Error);
  CHECK_THROWS_WITH_AS(check(of_options({"rank.conversion_weights=0 0"})), doctest::Contains("all are 0"), Error);
  CHECK_THROWS_AS(of_options({"rank.conversion_weights=1 -1"}), Error);
}

TEST_CASE("kinds: a head that nothing trains has no say in the order") {
  const TemporaryFolder folder;
  // Each follow is one of a list that says nothing else of follows: known to happen, never known not to.
  pack(folder / "d", 120, 2, [](const std::string& text, std::int64_t) { return replaced(text, R"("conversion":{"follow":0,)", R"("conversion":{)"); });
  const data::Dataset d(folder / "d");
  CHECK(d.features().schema.conversions == std::vector<std::string>{"follow", "save"});
  ThreadPool pool(1);
  const Trainer trainer(of_options({"loss.listwise=0"}), d, pool);
  CHECK(trainer.config().rank.conversion_weights == std::vector<double>{0, 1});
  CHECK(trainer.config().rank.beta == 1);
  CHECK(trainer.weights().term[conversion_term(0)] == 0);
  CHECK(trainer.weights().term[conversion_term(1)] == 1);
  CHECK(std::ranges::find(trainer.warnings(), "rank.conversion_weights: 0 for follow, whose head nothing trains") != trainer.warnings().end());
  CHECK(std::ranges::find(trainer.warnings(), "loss.conversion.follow is switched off: its label is the same everywhere in the training part") !=
        trainer.warnings().end());
  CHECK(Trainer(of_options({"loss.listwise=1"}), d, pool).config().rank.conversion_weights.empty());  // which trains them all
  const Trainer unsaved(of_options({"loss.listwise=0", "rank.conversion_weights=1 0"}), d, pool);
  CHECK(unsaved.config().rank.beta == 0);
}

TEST_CASE("kinds: never known of a whole list is not the same everywhere, and the warnings say whose head it is") {
  const TemporaryFolder folder;
  const std::string both = R"("conversion":{"follow":0,"save":0})";
  pack(folder / "d", 120, 2, [&](std::string text, std::int64_t) { return text.replace(text.find(both), both.size(), R"("conversion":{"follow":0})"); });
  const data::Dataset d(folder / "d");
  REQUIRE(d.features().schema.conversions == std::vector<std::string>{"follow", "save"});
  ThreadPool pool(1);
  const std::vector<std::string> options{"encoder.position=displayed", "rank.by=list_search", "loss.listwise=0"};
  const auto has = [](const Trainer& trainer, const std::string& warning) { return std::ranges::find(trainer.warnings(), warning) != trainer.warnings().end(); };
  const Trainer trainer(of_options(options), d, pool);
  CHECK(trainer.weights().term[list_conversion_term(0)] != 0);
  CHECK(trainer.weights().term[list_conversion_term(1)] == 0);
  CHECK(trainer.weights().term[conversion_term(1)] != 0);
  CHECK(has(trainer, "loss.list_conversion.save is switched off: it needs a list of which the kind is known throughout, and the training part has none"));
  CHECK(has(trainer, "rank.list_conversion = 0: nothing trains P_cvr of save, so orders are judged by P_ctr alone"));
  CHECK(trainer.config().rank.list_conversion == 0);

  // A kind that no order is judged by needs no head.
  std::vector<std::string> unsaved = options;
  unsaved.push_back("rank.conversion_weights=1 0");
  CHECK(Trainer(of_options(unsaved), d, pool).config().rank.list_conversion != 0);
}

TEST_CASE("kinds: of a log whose training part has no conversion, clicks alone are learnt") {
  const TemporaryFolder folder;
  pack(folder / "d", 120, 2, [](const std::string& text, std::int64_t) { return replaced(replaced(text, R"("follow":1)", R"("follow":0)"), R"("save":1})", R"("save":0})"); });
  const data::Dataset d(folder / "d");
  CHECK(d.features().schema.conversions.empty());
  ThreadPool pool(1);
  const Trainer trainer(of_options({"loss.listwise=0"}), d, pool);
  CHECK(trainer.config().rank.beta == 0);
  CHECK(trainer.weights().term[kConversion] == 0);
  CHECK(trainer.weights().term[kClick] == 1);
  CHECK(std::ranges::find(trainer.warnings(), "loss.conversion is switched off: nothing in the training part has its label") != trainer.warnings().end());
}

TEST_CASE("kinds: a model file whose weights are not as many as its kinds is no usage error") {
  const TemporaryFolder folder;
  pack(folder / "d", 60, 2);
  const data::Dataset d(folder / "d");
  ThreadPool pool(1);
  Trainer trainer(tiny_config(), d, pool);
  Config config = trainer.config();
  config.rank.conversion_weights = {1, 2, 3};
  save_model(folder / "m", config, d.features(), trainer.parameters());
  try {
    Model::load(folder / "m");
    FAIL("loaded");
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::model);
    CHECK(std::string(e.what()) == folder / "m" + ": config: rank.conversion_weights: expected 2 numbers, for follow, save, got 3");
  }
}

TEST_CASE("kinds: trained, saved, served: each head knows its own kind, and an answer is what evaluation sees") {
  const TemporaryFolder folder;
  pack(folder / "d", 1500, 2);
  const data::Dataset d(folder / "d");
  const Config config = of_options({"train.epochs=4", "train.learning_rate=0.005", "rank.gamma=1", "rank.conversion_weights=1 0.5", "loss.listwise=0"});
  ThreadPool pool(2);
  train_to(folder / "m", config, d, pool);
  const auto model = Model::load(folder / "m");
  CHECK(model->conversions() == std::vector<std::string>{"follow", "save"});
  CHECK(SafetensorsFile(folder / "m").metadata().at("min_reader_version") == "6");

  const Model::Impl& m = model->impl();
  std::vector<std::int64_t> requests(static_cast<std::size_t>(d.size()));
  std::iota(requests.begin(), requests.end(), 0);
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(d);
  const EvaluationSet set = evaluation_set(d, requests, m.features, builder);
  CHECK(set.lists.kinds == model->conversions());
  std::vector<Predictions> systems{predict(*model, d, requests, pool)};
  REQUIRE(systems[0].pcvr.size() == 2 * systems[0].pctr.size());
  // The mean of each head is near its kind's rate, which differ by a factor of three.
  for (std::size_t k = 0; k < 2; ++k) {
    double predicted = 0, happened = 0, clicks = 0;
    for (std::size_t row = 0; row < systems[0].pctr.size(); ++row) {
      if (set.lists.click[row] == 0) continue;
      clicks += 1, predicted += systems[0].pcvr[2 * row + k], happened += set.lists.converted(row, k);
    }
    CAPTURE(k);
    CHECK(std::abs(predicted - happened) < 0.08 * clicks);
    CHECK(happened > 0);
  }
  const Report report = evaluate(set.lists, systems, {});
  std::vector<std::string> rows;
  for (const Row& row : report.tables[0].rows) rows.push_back(row.name);
  for (const char* name : {"pcvr follow AUC", "pcvr save AUC", "P_cvr follow log loss", "P_cvr save log loss", "NDCG@10 conversion:follow", "MRR conversion:save", "conversion:follow@10"})
    CHECK_MESSAGE(std::ranges::find(rows, name) != rows.end(), name);

  // What a request from outside is answered.
  const PredictedLogits logits = Predictor(m.config, *m.network, m.parameters, m.features, builder, pool).predict(d, requests);
  data::SimulatorOptions options;
  options.requests = 1500, options.kinds = 2;
  std::vector<std::string> lines;
  data::simulate(options, [&](std::string_view text) { lines.emplace_back(text); }, nullptr);
  Session session(model);
  data::RequestParser parser;
  int compared = 0;
  for (std::size_t l = 0; l < requests.size(); ++l) {
    if (d.history_size(requests[l]) > 0) continue;
    const Response& answer = session.rerank(parser.parse(lines[static_cast<std::size_t>(requests[l])]));
    ++compared;
    for (const Ranked& r : answer.ranking) {
      const auto row = static_cast<std::size_t>(logits.offsets[l] + r.from - 1);
      CHECK(r.score == systems[0].score[row]);
      for (std::size_t k = 0; k < 2; ++k) CHECK(r.cvr[k] == static_cast<float>(systems[0].pcvr[2 * row + k]));
      CHECK(r.cvr[2] == 0);
    }
    for (std::size_t k = 0; k < 2; ++k) CHECK(answer.list_cvr[k] == static_cast<float>(systems[0].list_cvr[2 * l + k]));
  }
  CHECK(compared > 0);

  // A calibration of one kind leaves the other as it was.
  Calibration calibration{{}, std::vector<HeadCalibration>(2)};
  const HeadExamples examples = conversion_examples(set.lists, logits, 1);
  calibration.conversion[1] = HeadCalibration::isotonic(examples.logit, examples.label);
  save_model(folder / "calibrated", m.config, m.features, m.parameters, calibration);
  const auto corrected = Model::load(folder / "calibrated");
  const Predictions calibrated = predict(*corrected, d, requests, pool);
  Session corrected_session(corrected);
  const Ranked top = corrected_session.rerank(parser.parse(lines[0])).ranking[0], before = session.rerank(parser.parse(lines[0])).ranking[0];
  CHECK(top.id == before.id);
  CHECK(top.cvr[0] == before.cvr[0]);
  CHECK(top.cvr[1] == static_cast<float>(calibrated.pcvr[static_cast<std::size_t>(2 * (top.from - 1) + 1)]));
  CHECK(calibrated.score == systems[0].score);
  for (std::size_t row = 0; row < calibrated.pctr.size(); ++row) {
    CHECK(calibrated.pcvr[2 * row] == systems[0].pcvr[2 * row]);
    CHECK(calibrated.pcvr[2 * row + 1] == calibration.conversion[1](static_cast<double>(logits.conversion[2 * row + 1])));
  }
}

TEST_CASE("kinds: list_search judges an order by the weighted sum of its kinds") {
  Config config;
  config.rank.list_click = 0.5, config.rank.list_conversion = 2;
  const std::vector<float> logits{0.4f, -0.3f};
  CHECK(order_value(config, 0.1f, std::span(logits).first(1)) == 0.5 * sigmoid(0.1f) + 2 * sigmoid(0.1f) * sigmoid(0.4f));
  CHECK(order_value(config, 0.1f, logits) == Approx(sigmoid(0.1f) * (0.5 + 2 * (sigmoid(0.4f) + sigmoid(-0.3f)))));
  config.rank.conversion_weights = {0, 3};
  CHECK(order_value(config, 0.1f, logits) == Approx(sigmoid(0.1f) * (0.5 + 2 * 3 * sigmoid(-0.3f))));

  const TemporaryFolder folder;
  pack(folder / "d", 150, 2);
  const data::Dataset d(folder / "d");
  ThreadPool pool(1);
  Config searching = of_options({"encoder.position=displayed", "rank.by=list_search", "train.epochs=1"});
  train_to(folder / "m", searching, d, pool);
  const auto model = Model::load(folder / "m");
  const std::vector<std::int64_t> requests = d.requests(data::Split::test);
  std::vector<Predictions> systems{predict(*model, d, requests, pool, false, RankBy::score), predict(*model, d, requests, pool)};
  judge_orders(*model, d, requests, pool, systems);
  REQUIRE(systems[0].order_cvr.size() == 2 * requests.size());
  for (std::size_t l = 0; l < requests.size(); ++l) {
    const auto worth = [&](const Predictions& p) { return p.order_ctr[l] + p.order_cvr[2 * l] + p.order_cvr[2 * l + 1]; };
    CHECK(worth(systems[1]) >= worth(systems[0]));
  }
}

TEST_CASE("kinds: metrics of a kind look at the candidates that it is known of") {
  test::Lists made;
  made.add(0, {1, 1, 0}, {0, 1, 0});
  made.add(1, {0, 1}, {0, 1});
  made.lists.kinds = {"save", "share"};
  constexpr std::uint8_t u = data::kUnknownLabel;
  made.lists.conversions = {0, u, 1, 1, 0, 0, 0, 0, 1, u};
  made.lists.value = {1, 1, 2, 5, 1, 1, 1, 1, 3, 1};
  Predictions system = initial_order(made.lists);
  system.pctr.assign(5, 0.5), system.pcvr = {0.1, 0.9, 0.2, 0.8, 0.5, 0.5, 0.5, 0.5, 0.7, 0.6};
  EvaluationOptions options;
  options.bootstrap.replicates = 0;
  const Report report = evaluate(made.lists, {&system, 1}, options);
  const auto row = [&](const std::string& name) {
    for (const Row& r : report.tables[0].rows)
      if (r.name == name) return r;
    FAIL("no row " << name);
    return Row();
  };
  const auto value = [&](const std::string& name) { return row(name).cells[0].estimate.value; };
  CHECK(value("MRR conversion:save") == 0.5);                // second place in both
  CHECK(value("MRR conversion:share") == 1);                 // the one before it is not known of
  CHECK(row("MRR conversion:share").used == 1);
  CHECK(value("conversion:save@10") == 1);
  CHECK(value("revenue@10") == ((2 + 5) + 3) / 2.0);
  CHECK(row("pcvr save AUC").used == 3);          // clicked
  CHECK(row("pcvr share AUC").used == 1);         // and known
  CHECK(value("pcvr save log loss") == Approx(-(std::log(0.9) + std::log(0.2) + std::log(0.7)) / 3));
  CHECK(row("pcvr share AUC").cells[0].reason == "label always 1");

  PredictedLogits logits;
  logits.kinds = 2;
  logits.click.assign(5, 0), logits.conversion = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  CHECK(conversion_examples(made.lists, logits, 0).logit == std::vector<double>{1, 3, 9});
  CHECK(conversion_examples(made.lists, logits, 1).logit == std::vector<double>{4});
  CHECK(conversion_examples(made.lists, logits, 0).label == std::vector<double>{0, 1, 1});
}

TEST_CASE("kinds: no two metrics have one name, whatever the kinds are called") {
  const std::vector<std::string> kinds{"click", "conversion", "target", "true conversion"};
  std::vector<std::string> names;
  for (const RankingMetric& metric : ranking_metrics(kinds)) names.push_back(metric.name);
  CHECK(names.size() == ranking_metrics().size() + 3 * kinds.size());
  std::ranges::sort(names);
  CHECK(std::ranges::adjacent_find(names) == names.end());
}

TEST_CASE("kinds: a model of conversions without a name is measured on the kind \"conversion\" alone") {
  const TemporaryFolder folder;
  pack(folder / "plain", 60, 1);
  pack(folder / "named", 60, 2);
  pack(folder / "mixed", 60, 2, [](const std::string& text, std::int64_t) { return replaced(text, R"("save":)", R"("conversion":)"); });
  const data::Dataset plain(folder / "plain"), named(folder / "named"), mixed(folder / "mixed");
  REQUIRE(plain.features().schema.conversions.empty());
  const auto read = [&](const data::Dataset& d) {
    std::vector<std::int64_t> requests(static_cast<std::size_t>(d.size()));
    std::iota(requests.begin(), requests.end(), 0);
    data::BatchBuilder builder(plain.features(), {});
    builder.attach(d);
    return evaluation_set(d, requests, plain.features(), builder);
  };
  for (const data::Dataset* d : {&named, &mixed}) {
    const bool knows = d == &mixed;
    const EvaluationSet set = read(*d);
    const LabelledLists& lists = set.lists;
    REQUIRE(std::ranges::count(lists.conversion, 1) > 0);  // of any kind
    double worth = 0, happened = 0;
    for (std::size_t row = 0; row < lists.click.size(); ++row) {
      CHECK(lists.known(row, 0) == (knows && lists.labelled[row] != 0));
      const bool is = knows && mixed.columns().conversions[0][row] == 1;  // sorted by name: before "follow"
      CHECK(lists.converted(row, 0) == is);
      happened += is, worth += is ? lists.value[row] : 0;
    }
    CHECK((happened > 0) == knows);
    PredictedLogits logits;
    logits.click.assign(lists.click.size(), 0), logits.conversion = logits.click;
    const HeadExamples examples = conversion_examples(lists, logits);
    CHECK(std::ranges::count(examples.label, 1.0) == happened);
    CHECK(examples.label.empty() == !knows);
    for (const ProbabilityTask& task : probability_tasks(lists, ListLabel::any)) CHECK(task.at.empty() == (!knows && task.name.ends_with("cvr")));
    const RankingMetric revenue{"revenue", Gain::revenue, Measure::sum, 1000, false};
    double sum = 0, lists_with = 0;
    const std::vector<std::vector<double>> values = ranking_values(lists, set.heuristics[0].score, {&revenue, 1}, {});
    for (const double of_list : values[0])
      if (!std::isnan(of_list)) sum += of_list, lists_with += 1;
    CHECK(sum == Approx(worth));
    CHECK((lists_with > 0) == knows);
  }
}

TEST_CASE("kinds: folds that know other kinds are no folds of one comparison") {
  const TemporaryFolder folder;
  pack(folder / "one", 60, 2);
  pack(folder / "two", 60, 2, [](const std::string& text, std::int64_t) {
    return replaced(replaced(replaced(text, R"("follow")", R"("share")"), "synthetic-1", "synthetic-x"), "\"t-", "\"t-");
  });
  const data::Dataset one(folder / "one"), two(folder / "two");
  const std::vector<EvaluationPart> parts{{&one, one.requests(data::Split::test)}, {&two, two.requests(data::Split::test)}};
  CHECK_THROWS_WITH_AS(pooled_evaluation_set(parts), doctest::Contains("knows other kinds of conversion"), Error);
}
