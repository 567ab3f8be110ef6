#include "piano/comparison.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "engine/base/check.h"
#include "engine/base/error.h"

namespace piano {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return values.empty() ? kUndefined : sum / static_cast<double>(values.size());
}

}  // namespace

double ComparedCell::spread() const {
  if (seeds.size() < 2) return kUndefined;
  const double centre = mean(seeds);
  double squares = 0;
  for (const double v : seeds) squares += (v - centre) * (v - centre);
  return std::sqrt(squares / static_cast<double>(seeds.size() - 1));
}

Comparer::Comparer(const LabelledLists& lists, const ComparisonOptions& options)
    : lists_(lists), options_(options), once_(static_cast<std::size_t>(lists.users), 1.0), metrics_(ranking_metrics(lists.kinds)),
      tasks_(probability_tasks(lists, ListLabel::any)) {
  if (lists.true_conversion.empty()) metrics_.pop_back();
  initial_ = ranking_values(lists, initial_order(lists).score, metrics_, options.evaluation);
  if (!lists.true_conversion.empty()) {
    oracle_ = ranking_values(lists, lists.true_conversion, {&metrics_.back(), 1}, options.evaluation)[0];
  }
  add_measures("all lists", {});
  for (const Slice& slice : lists.slices) {
    if (std::count(slice.member.begin(), slice.member.end(), 1) > 0) add_measures(slice.name, slice.member);
  }
  for (const ProbabilityTask& task : tasks_) {
    for (const ProbabilityMetric& m : probability_metrics(task, {}, lists.users, options.evaluation.gauc_weight)) {
      probability_.push_back({"all lists", m.name, m.unit, 0, 0, m.name == task.name + " AUC", {}});
    }
  }
}

void Comparer::add_measures(const std::string& slice, std::vector<std::uint8_t> member) {
  for (std::size_t m = 0; m < metrics_.size(); ++m) {
    if (!member.empty() && !metrics_[m].headline) continue;
    ComparedTable table{slice, metrics_[m].name, "lists", 0, 0, metrics_[m].headline, {}};
    for (std::size_t l = 0; l < initial_[m].size(); ++l) {
      if (member.empty() || member[l] != 0) ++(std::isnan(initial_[m][l]) ? table.skipped : table.used);
    }
    if (table.used == 0) continue;
    measures_.push_back({table, m, member, {}, {}});
    if (metrics_[m].gain != Gain::true_conversion) continue;
    table.metric = "gap closed";
    measures_.push_back({table, m, member, user_sums(initial_[m], lists_.user, lists_.users, member),
                         user_sums(oracle_, lists_.user, lists_.users, member)});
  }
}

std::vector<std::string> Comparer::metrics() const {
  std::vector<std::string> names;
  for (const Measure& m : measures_) {
    if (m.member.empty()) names.push_back(m.table.metric);
  }
  return names;
}

void Comparer::add(const std::string& name, const Predictions& predictions) {
  auto system = std::find_if(systems_.begin(), systems_.end(), [&](const System& s) { return s.name == name; });
  if (system == systems_.end()) {
    const auto empty = std::vector<std::vector<double>>(measures_.size());
    systems_.push_back({name, std::vector<UserSums>(measures_.size()), empty, std::vector<std::vector<double>>(probability_.size())});
    system = systems_.end() - 1;
  }
  const auto values = ranking_values(lists_, predictions.score, metrics_, options_.evaluation);  // [metric][list]
  for (std::size_t m = 0; m < measures_.size(); ++m) {
    UserSums sums = user_sums(values[measures_[m].metric], lists_.user, lists_.users, measures_[m].member);
    system->seeds[m].push_back(statistic(measures_[m], sums)(once_));
    UserSums& total = system->sums[m];
    if (total.user.empty()) {
      total = std::move(sums);
      continue;
    }
    PIANO_CHECK(sums.user == total.user && sums.count == total.count, name + ": the seeds were not measured on the same lists");
    for (std::size_t u = 0; u < sums.sum.size(); ++u) total.sum[u] += sums.sum[u];
  }
  std::size_t row = 0;
  for (const ProbabilityTask& task : tasks_) {
    for (const ProbabilityMetric& m : probability_metrics(task, predictions.*task.predicted, lists_.users, options_.evaluation.gauc_weight)) {
      system->probability[row].push_back(m.reason.empty() ? m.statistic(once_) : kUndefined);
      if (m.reason.empty()) probability_[row].used = m.used, probability_[row].skipped = m.skipped, probability_[row].unit = m.unit;
      ++row;
    }
  }
}

Statistic Comparer::statistic(const Measure& measure, UserSums sums) {
  Statistic ratio = ratio_statistic(std::move(sums));
  return measure.oracle.user.empty() ? ratio : gap_closed(std::move(ratio), ratio_statistic(measure.initial), ratio_statistic(measure.oracle));
}

// The p-value of each system against the reference, by their means over lists: the gap closed is a linear function of those.
void Comparer::test(std::size_t measure, std::size_t reference, ComparedTable& table) const {
  const UserSums& r = systems_[reference].sums[measure];
  std::vector<double> p;
  for (std::size_t s = 0; s < systems_.size(); ++s) {
    std::vector<double> difference;
    for (std::size_t u = 0; u < r.sum.size(); ++u) {
      difference.push_back(systems_[s].sums[measure].sum[u] / static_cast<double>(systems_[s].seeds[measure].size()) -
                           r.sum[u] / static_cast<double>(systems_[reference].seeds[measure].size()));
    }
    p.push_back(s == reference ? kUndefined : randomisation_p(difference, options_.randomisations, options_.evaluation.bootstrap.seed));
  }
  const std::vector<double> adjusted = holm(p);
  for (std::size_t s = 0; s < systems_.size(); ++s) table.cells[s].p = p[s], table.cells[s].p_holm = adjusted[s];
}

std::vector<ComparedTable> Comparer::measured(std::size_t reference) const {
  std::vector<Statistic> statistics;  // [measure][system]
  for (std::size_t m = 0; m < measures_.size(); ++m) {
    for (const System& system : systems_) {
      UserSums sums = system.sums[m];
      for (double& sum : sums.sum) sum /= static_cast<double>(system.seeds[m].size());
      statistics.push_back(statistic(measures_[m], std::move(sums)));
    }
  }
  const BootstrapOptions& bootstrap = options_.evaluation.bootstrap;
  const auto draws = bootstrap_draws(lists_.users, statistics, bootstrap);
  std::vector<ComparedTable> tables;
  for (std::size_t m = 0; m < measures_.size(); ++m) {
    ComparedTable table = measures_[m].table;
    const std::size_t first = m * systems_.size();
    const double base = statistics[first + reference](once_);
    for (std::size_t s = 0; s < systems_.size(); ++s) {
      const double value = statistics[first + s](once_);
      std::vector<double> difference = draws[first + s];
      for (std::size_t d = 0; d < difference.size(); ++d) difference[d] -= draws[first + reference][d];
      const bool few = static_cast<std::int64_t>(systems_[s].sums[m].user.size()) < kLeastUsers;
      table.cells.push_back({systems_[s].seeds[m], few ? without_interval(value) : percentile_estimate(value, draws[first + s], bootstrap.level),
                             few ? without_interval(value - base) : percentile_estimate(value - base, std::move(difference), bootstrap.level),
                             kUndefined, kUndefined});
    }
    const bool headline = table.headline && measures_[m].oracle.user.empty();  // the gap closed repeats the test of the row above it
    if ((headline || table.metric == options_.metric) && measures_[m].member.empty() && options_.randomisations > 0) test(m, reference, table);
    tables.push_back(std::move(table));
  }
  return tables;
}

std::vector<ComparedTable> Comparer::probabilities(std::size_t reference) const {
  std::vector<ComparedTable> tables;
  for (std::size_t row = 0; row < probability_.size(); ++row) {
    ComparedTable table = probability_[row];
    if (table.used == 0) continue;  // nobody predicts it, or its label is constant
    const double base = mean(systems_[reference].probability[row]);
    for (const System& system : systems_) {
      const double value = mean(system.probability[row]);
      table.cells.push_back({system.probability[row], without_interval(value), without_interval(value - base), kUndefined, kUndefined});
    }
    tables.push_back(std::move(table));
  }
  return tables;
}

Comparison Comparer::compare(const std::string& reference) const {
  Comparison result{options_.evaluation.bootstrap.level, {}, 0, lists_.size(), lists_.users, {}};
  std::string names;
  for (const System& system : systems_) {
    result.systems.push_back(system.name);
    names += (names.empty() ? "" : ", ") + system.name;
  }
  const auto found = std::find(result.systems.begin(), result.systems.end(), reference);
  if (found == result.systems.end()) throw Error(ErrorCode::usage, "no system is called '" + reference + "'; there are " + names);
  result.reference = static_cast<std::size_t>(found - result.systems.begin());
  result.tables = measured(result.reference);
  std::vector<ComparedTable> more = probabilities(result.reference);
  const auto slices = std::find_if(result.tables.begin(), result.tables.end(), [](const ComparedTable& t) { return t.slice != "all lists"; });
  result.tables.insert(slices, std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  return result;
}

}  // namespace piano
