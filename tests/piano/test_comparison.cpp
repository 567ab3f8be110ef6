// piano compare's parts: folds as one test, systems against a reference, trainings done once, scores from elsewhere.
#include <doctest/doctest.h>

#include <cmath>

#include "piano/comparison.h"
#include "piano/evaluation_pool.h"
#include "piano/score_file.h"
#include "piano/training_run.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/evaluation_fixture.h"
#include "tests/piano/tiny_data.h"

using namespace piano;
using piano::test::Lists;

namespace {

Predictions random_system(const LabelledLists& lists, std::uint64_t seed, bool probabilities = false) {
  RandomStream random(seed, "system");
  Predictions p;
  for (std::int64_t r = 0; r < lists.rows(); ++r) {
    p.score.push_back(random.uniform() + 0.05 * static_cast<double>(seed % 3) * lists.click[static_cast<std::size_t>(r)]);
    if (probabilities) p.pctr.push_back(0.3);
  }
  return p;
}

const ComparedTable& table(const Comparison& c, const std::string& metric, const std::string& slice = "all lists") {
  for (const ComparedTable& t : c.tables) {
    if (t.metric == metric && t.slice == slice) return t;
  }
  FAIL("no table " << metric << " of " << slice);
  return c.tables[0];
}

void write_fold(const std::string& path, int fold, data::SplitKind kind = data::SplitKind::user) {
  data::WriterOptions options;
  options.split = kind, options.folds = 2, options.fold = fold;
  data::DatasetWriter writer(path, options);
  data::RequestParser parser;
  data::SimulatorOptions simulation;
  simulation.requests = 200;
  data::simulate(simulation, [&](std::string_view line) { writer.add_request(parser.parse(line), 0, true); }, nullptr);
  writer.commit();
}

TrainOptions no_options() { return {}; }

}  // namespace

TEST_CASE("compare: means, intervals and differences are those of compare_systems; p-values are the test's, adjusted") {
  Lists made;
  test::add_random_lists(made, 120, 3);
  Slice even{"even", {}};
  for (std::int64_t l = 0; l < made.lists.size(); ++l) even.member.push_back(l % 2 == 0);
  made.lists.slices.push_back(even);
  ComparisonOptions options;
  options.evaluation.bootstrap.replicates = 200;
  options.randomisations = 500;
  Comparer comparer(made.lists, options);
  const std::vector<RankingMetric> metrics = ranking_metrics();
  std::vector<std::vector<std::vector<double>>> values(3);  // [system][seed][list] of the second headline metric
  for (std::uint64_t system = 0; system < 3; ++system) {
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
      const Predictions p = random_system(made.lists, 3 * seed + system, system == 2);
      comparer.add("s" + std::to_string(system), p);
      values[system].push_back(ranking_values(made.lists, p.score, {&metrics[4], 1}, options.evaluation)[0]);
    }
  }
  const Comparison c = comparer.compare("s1");
  CHECK(c.systems == std::vector<std::string>{"s0", "s1", "s2"});
  CHECK(c.reference == 1);
  const ComparedTable& t = table(c, metrics[4].name);
  CHECK(t.used + t.skipped == 120);
  std::vector<double> p;
  for (std::size_t s = 0; s < 3; ++s) {
    const SeedComparison expected = compare_systems(values[s], values[1], made.lists.user, made.lists.users, options.evaluation.bootstrap);
    CHECK(t.cells[s].seeds == expected.a_seeds);
    for (const auto& [got, want] : {std::pair{t.cells[s].value, expected.a}, std::pair{t.cells[s].difference, expected.difference}}) {
      CHECK(got.value == doctest::Approx(want.value).epsilon(1e-12));
      CHECK(got.low == doctest::Approx(want.low).epsilon(1e-12));
      CHECK(got.high == doctest::Approx(want.high).epsilon(1e-12));
    }
    p.push_back(t.cells[s].p);
  }
  CHECK(t.cells[0].spread() == doctest::Approx(std::abs(t.cells[0].seeds[0] - t.cells[0].seeds[1]) / std::sqrt(2.0)));
  CHECK(std::isnan(p[1]));
  CHECK(t.cells[0].p_holm == holm(p)[0]);
  CHECK(p[2] > 1.0 / 501);
  CHECK(p[0] <= 1);
  const ComparedTable& slice = table(c, metrics[4].name, "even");
  CHECK(slice.used + slice.skipped == 60);
  CHECK(std::isnan(slice.cells[0].p));
  // Probabilities: whoever has none has no number; a constant one has no order.
  const ComparedTable& auc = table(c, "pctr AUC");
  CHECK(auc.cells[2].value.value == 0.5);
  CHECK(std::isnan(auc.cells[0].value.value));
  CHECK_THROWS_WITH_AS(comparer.compare("s3"), "no system is called 's3'; there are s0, s1, s2", Error);
}

TEST_CASE("compare: a better system is found to be better, and the gap closed is evaluate()'s") {
  Lists made;
  test::add_random_lists(made, 200, 5);
  for (std::size_t r = 0; r < made.lists.click.size(); ++r) made.lists.true_conversion.push_back(0.1 + 0.5 * made.lists.click[r]);
  ComparisonOptions options;
  options.evaluation.bootstrap.replicates = 100;
  options.randomisations = 1000;
  options.metric = "gap closed";
  Comparer comparer(made.lists, options);
  Predictions good = random_system(made.lists, 1);
  for (std::size_t r = 0; r < good.score.size(); ++r) good.score[r] += 0.5 * made.lists.click[r];
  comparer.add("good", good);
  comparer.add("initial", initial_order(made.lists));
  const Comparison c = comparer.compare("initial");
  const ComparedTable& clicks = table(c, "NDCG@10 click");
  CHECK(clicks.cells[0].difference.low > 0);
  CHECK(clicks.cells[0].p == doctest::Approx(1.0 / 1001));
  CHECK(table(c, "gap closed").cells[0].p == table(c, "NDCG@10 true conversion").cells[0].p);  // tested because it was named
  CHECK(std::isnan(table(c, "MRR click").cells[0].p));
  good.name = "good";
  const Report report = evaluate(made.lists, std::vector<Predictions>{good}, options.evaluation);
  for (const Row& row : report.tables[0].rows) {
    if (row.name != "gap closed") continue;
    CHECK(table(c, "gap closed").cells[0].value.value == doctest::Approx(row.cells[0].estimate.value));
    CHECK(table(c, "gap closed").cells[0].value.low == doctest::Approx(row.cells[0].estimate.low));
  }
  CHECK(table(c, "gap closed").cells[1].value.value == 0);
}

TEST_CASE("compare: a slice of few users has values and differences, no intervals") {
  Lists made;
  Slice five{"five", {}}, six{"six", {}};
  for (std::int32_t user = 0; user < 12; ++user) {
    made.add(user, {0, 0, 1}, {0, 0, 0});
    five.member.push_back(user < 5), six.member.push_back(user < 6);
  }
  made.lists.slices = {five, six};
  Comparer comparer(made.lists, {});
  Predictions good = initial_order(made.lists);
  for (std::size_t r = 0; r < good.score.size(); ++r) good.score[r] += 9 * made.lists.click[r];
  comparer.add("good", good);
  comparer.add("initial", initial_order(made.lists));
  const Comparison c = comparer.compare("initial");
  for (const char* slice : {"five", "six"}) {
    const ComparedCell& cell = table(c, "NDCG@10 click", slice).cells[0];
    CHECK(cell.value.value == 1);
    CHECK(cell.difference.value == doctest::Approx(0.5));
    for (const double end : {cell.value.low, cell.value.high, cell.difference.low, cell.difference.high}) CHECK(std::isnan(end) == (slice == std::string("five")));
  }
}

TEST_CASE("folds by user pooled are the whole log, each request once, each user once") {
  const TemporaryFolder folder;
  write_fold(folder / "1", 1), write_fold(folder / "2", 2), write_fold(folder / "all", 1, data::SplitKind::none);
  const data::Dataset one(folder / "1"), two(folder / "2"), all(folder / "all");
  const auto part = [](const data::Dataset& d) { return EvaluationPart{&d, d.requests(data::Split::test)}; };
  const EvaluationSet pool = pooled_evaluation_set(std::vector{part(one), part(two)});
  const EvaluationSet whole = pooled_evaluation_set(std::vector{part(all)});
  CHECK(pool.lists.size() == 200);
  CHECK(pool.lists.users == whole.lists.users);
  CHECK(pool.lists.rows() == whole.lists.rows());
  const RankingMetric metric{"NDCG", Gain::click, Measure::ndcg, 10, false};
  REQUIRE(pool.heuristics.size() == 5);
  for (const std::size_t deterministic : {0u, 2u}) {  // the others learn from a training part, which `all` lacks
    CHECK(mean_metric(pool.lists, pool.heuristics[deterministic].score, metric) ==
          doctest::Approx(mean_metric(whole.lists, whole.heuristics[deterministic].score, metric)));
  }
  const std::int64_t first_of_two = static_cast<std::int64_t>(part(one).requests.size());
  CHECK(pool.lists.request_id(first_of_two) == two.id(part(two).requests[0]));
  CHECK(pool.lists.item_id(pool.lists.offsets[static_cast<std::size_t>(first_of_two)]) == two.item(two.candidate_begin(part(two).requests[0])));
  CHECK(pool.lists.item_id(pool.lists.rows() - 1) == two.item(two.candidate_end(part(two).requests.back()) - 1));
  CHECK_THROWS_AS(pooled_evaluation_set(std::vector{part(one), part(one)}), Error);
}

TEST_CASE("a training is done once; another configuration has another name, other data are refused") {
  const TemporaryFolder folder;
  write_tiny_data(folder / "data", 150);
  write_tiny_data(folder / "other", 150, 2);
  const data::Dataset data(folder / "data"), other(folder / "other");
  ThreadPool pool(1);
  Config config = tiny_config();
  config.train.epochs = 2;
  const std::string run = folder / "run";
  const RunResult first = train_once(run, config, data, pool, no_options());
  CHECK_FALSE(first.reused);
  CHECK(first.summary.epochs == 2);
  CHECK(first.parameters > first.in_tables);
  CHECK_FALSE(std::filesystem::exists(run_model(run) + ".state"));
  const std::string model = read_all(run_model(run)), result = read_all(run + "/result.json");

  std::atomic<bool> stop = true;  // would stop a training at its first step
  TrainOptions options = no_options();
  options.stop = &stop;
  const RunResult again = train_once(run, config, data, pool, options);
  CHECK(again.reused);
  CHECK(again.summary.best == first.summary.best);
  CHECK(again.seconds == first.seconds);
  CHECK(again.parameters == first.parameters);
  CHECK_THROWS_AS(train_once(run, config, other, pool, no_options()), Error);
  CHECK(read_all(run_model(run)) == model);
  CHECK(read_all(run + "/result.json") == result);

  Config wider = config;
  wider.model.d = 32;
  CHECK(run_name(1, wider) != run_name(1, config));
  CHECK(changed_options(wider).front() == "model.d=32");
  CHECK_THROWS_AS(train_once(run, wider, data, pool, no_options()), Error);
  config.train.seed = 2;
  CHECK(run_name(3, config).starts_with("fold3.seed2."));

  // Stopped at once and gone on with: the same bytes as in one go.
  const std::string parts = folder / "parts";
  config.train.seed = 1;
  CHECK(train_once(parts, config, data, pool, options).summary.stopped_by == "interrupted");
  CHECK_FALSE(std::filesystem::exists(parts + "/result.json"));
  train_once(parts, config, data, pool, no_options());
  CHECK(read_all(run_model(parts)) == model);
  CHECK_FALSE(std::filesystem::exists(parts + "/interrupted.json"));

  // A model that is not the one the result speaks of is not taken for it.
  std::filesystem::copy_file(run_model(run), run_model(parts), std::filesystem::copy_options::overwrite_existing);
  write_all(parts + "/result.json", std::string(result).replace(result.find("\"model\":\"") + 9, 4, "zzzz"));
  CHECK_THROWS_AS(train_once(parts, config, data, pool, no_options()), Error);
}

TEST_CASE("scores from elsewhere: every candidate once, by request and item") {
  Lists made;
  made.add(0, {1, 0}, {0, 0});
  made.add(1, {0, 0, 1}, {0, 0, 0});
  const TemporaryFolder folder;
  const auto read = [&](const std::string& text) {
    write_all(folder / "s", text);
    return read_scores(std::vector<std::string>{folder / "s"}, made.lists);
  };
  const std::string first = "r0\ti1\t-2.5\nr0\ti0\t1e3\n", second = "r1 i0 1\nr1 i2 3\n\nnobody i0 7\nr1 i1 2";
  CHECK(read(first + second) == std::vector<double>{1000, -2.5, 1, 2, 3});
  write_all(folder / "more", second);
  write_all(folder / "s", first);
  CHECK(read_scores(std::vector<std::string>{folder / "s", folder / "more"}, made.lists) == std::vector<double>{1000, -2.5, 1, 2, 3});
  const std::string at = folder / "s";
  CHECK_THROWS_WITH_AS(read(first), (at + ": no score for candidate 'i0' of request 'r1'; every candidate of every list needs one").c_str(), Error);
  CHECK_THROWS_WITH_AS(read(first + "r0\ti0\t1\n"), (at + ":3: a second score for candidate 'i0' of this request").c_str(), Error);
  CHECK_THROWS_WITH_AS(read("r0\ti7\t1\n"), (at + ":1: request 'r0' has no candidate 'i7'").c_str(), Error);
  CHECK_THROWS_WITH_AS(read("r0\ti0\tnan\n"), (at + ":1: score: expected a finite number, got 'nan'").c_str(), Error);
  CHECK_THROWS_WITH_AS(read("r0\ti0\n"), (at + ":1: expected three fields: request, item, score").c_str(), Error);
}
