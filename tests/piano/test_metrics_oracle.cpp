// Writes random data with ties and our numbers for it, for tests/oracle/metrics_oracle.py to compare with scikit-learn and pytrec_eval.
// Does nothing unless PIANO_ORACLE_OUT names a folder.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "evaluation_fixture.h"
#include "piano/trec.h"

using namespace piano;
using nlohmann::json;

namespace {

constexpr int kLists = 500;

json values_by_name(const test::Lists& made, const std::vector<double>& score, const EvaluationOptions& options) {
  std::vector<RankingMetric> metrics = ranking_metrics();
  metrics.pop_back();  // no true probabilities here
  const auto values = ranking_values(made.lists, score, metrics, options);
  json object;
  for (std::size_t m = 0; m < metrics.size(); ++m) {
    json list = json::array();
    for (const double v : values[m]) list.push_back(std::isnan(v) ? json(nullptr) : json(v));
    object[metrics[m].name] = list;
  }
  return object;
}

json pooled(const std::vector<double>& p, const std::vector<double>& y) {
  return {{"p", p}, {"y", y}, {"auc", *auc(p, y)}, {"log_loss", *log_loss(p, y)}, {"ne", *normalised_entropy(p, y)},
          {"ece", *expected_calibration_error(p, y)}, {"pcoc", *predicted_over_observed(p, y)}};
}

}  // namespace

TEST_CASE("oracle dump") {
  const char* folder = std::getenv("PIANO_ORACLE_OUT");
  if (folder == nullptr) return;
  const std::string out = std::string(folder) + "/";
  test::Lists made;
  test::add_random_lists(made, kLists, 11);
  RandomStream random(12, "scores");
  Predictions system;
  system.name = "random with ties";
  std::vector<double> tied, fine, y;
  for (std::size_t r = 0; r < made.items.size(); ++r) {
    system.score.push_back(static_cast<double>(random.below(6)) / 5);
    tied.push_back(static_cast<double>(random.below(11)) / 10);  // holds exact 0 and 1
    fine.push_back(random.uniform());
    y.push_back(made.lists.click[r]);
  }
  EvaluationOptions average, full;
  average.ties = TieBreak::average;
  full.map_denominator = MapDenominator::full;
  json dump{{"offsets", made.lists.offsets}, {"score", system.score}, {"click", made.lists.click}, {"conversion", made.lists.conversion},
            {"target", made.lists.target}, {"user", made.lists.user}, {"request", made.requests},
            {"average", values_by_name(made, system.score, average)}, {"hash", values_by_name(made, system.score, full)},
            {"tied", pooled(tied, y)}, {"fine", pooled(fine, y)}};
  std::vector<std::int32_t> user;
  for (std::size_t l = 0; l < made.lists.user.size(); ++l)
    user.insert(user.end(), static_cast<std::size_t>(made.lists.offsets[l + 1] - made.lists.offsets[l]), made.lists.user[l]);
  const GroupedAuc groups = grouped_auc(tied, y, user, made.lists.users);
  dump["gauc"] = {{"value", *groups.value}, {"used", groups.used}, {"skipped", groups.skipped}, {"user", user}};
  std::ofstream(out + "metrics.json") << dump;
  write_trec_run(out + "graded.run", made.lists, system, TrecGrades::click_plus_conversion, full);
  write_trec_qrels(out + "graded.qrels", made.lists, TrecGrades::click_plus_conversion);
  write_trec_run(out + "target.run", made.lists, system, TrecGrades::target, full);
  write_trec_qrels(out + "target.qrels", made.lists, TrecGrades::target);
}
