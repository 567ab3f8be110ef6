#include "piano/evaluation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "engine/base/check.h"
#include "piano/evaluation_probabilities.h"

namespace piano {
namespace {

using ListValues = std::vector<double>;  // (lists): a metric of each list, NaN where undefined

// The tables as they grow. Statistics wait for one common bootstrap, so that everything is measured on the same draws of users.
class ReportBuilder {
 public:
  Row& add_row(Table& table, std::string name, std::string unit, std::int64_t used, std::int64_t skipped, std::int64_t users) {
    table.rows.push_back({std::move(name), std::move(unit), used, skipped, users, {}});
    return table.rows.back();
  }

  void add_cell(Row& row, Statistic statistic, std::string reason) {
    constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
    row.cells.push_back({{undefined, undefined, undefined, 0}, std::move(reason)});
    if (row.cells.back().reason.empty()) statistics_.push_back(std::move(statistic));
  }

  // Fills the cells in the order in which add_cell() made them.
  void finish(Report& report, std::int32_t users, const BootstrapOptions& options) const {
    const std::vector<Estimate> estimates = bootstrap(users, statistics_, options);
    std::size_t next = 0;
    for (Table& table : report.tables)
      for (Row& row : table.rows)
        for (Cell& cell : row.cells)
          if (cell.reason.empty()) cell.estimate = row.users < kLeastUsers ? without_interval(estimates[next].value) : estimates[next], ++next;
  }

 private:
  std::vector<Statistic> statistics_;
};

void check_sizes(const LabelledLists& lists, std::span<const Predictions> systems) {
  const auto rows = static_cast<std::size_t>(lists.rows()), count = static_cast<std::size_t>(lists.size());
  PIANO_CHECK(lists.click.size() == rows && lists.conversion.size() == rows && lists.labelled.size() == rows, "labels: one per candidate");
  const std::size_t kinds = lists.kind_count();
  PIANO_CHECK(lists.value.empty() || lists.value.size() == rows * kinds, "values: one per candidate and kind of conversion, or none");
  PIANO_CHECK(lists.conversions.size() == rows * kinds, "conversions by kind: one per candidate and kind");
  PIANO_CHECK(lists.true_conversion.empty() || lists.true_conversion.size() == rows, "true probabilities: one per candidate or none");
  PIANO_CHECK(lists.user.size() == count && lists.target.size() == count, "users and targets: one per list");
  PIANO_CHECK(lists.truth.item.empty() || (lists.truth.item.size() == rows && lists.best_order.size() == rows), "truth and best order: of all rows");
  PIANO_CHECK(!systems.empty(), "no system to evaluate");
  const auto fits = [](const std::vector<double>& v, std::size_t n) { return v.empty() || v.size() == n; };
  for (const Predictions& s : systems)
    PIANO_CHECK(s.score.size() == rows && fits(s.pctr, rows) && fits(s.pcvr, rows * kinds) && fits(s.list_ctr, count) &&
                    fits(s.list_cvr, count * kinds) && fits(s.order_ctr, count) && fits(s.order_cvr, count * kinds),
                s.name + ": the number of predictions does not fit the lists");
}

struct Counts {
  std::int64_t used = 0, skipped = 0, users = 0;
};

Counts count_defined(const LabelledLists& lists, const ListValues& values, std::span<const std::uint8_t> member) {
  Counts counts;
  for (std::size_t l = 0; l < values.size(); ++l) {
    if (!member.empty() && member[l] == 0) continue;
    ++(std::isnan(values[l]) ? counts.skipped : counts.used);
  }
  counts.users = static_cast<std::int64_t>(user_sums(values, lists.user, lists.users, member).user.size());
  return counts;
}

std::string why_undefined(Gain gain) {
  switch (gain) {
    case Gain::click:
    case Gain::click_plus_conversion: return "no list with a click";
    case Gain::conversion:
    case Gain::revenue: return "no list with a conversion";
    case Gain::target: return "no list with a target";
    case Gain::true_conversion: return "no true probabilities";
  }
  return "";
}

// Everything about the order, for one set of lists.
class RankingTables {
 public:
  RankingTables(const LabelledLists& lists, std::span<const Predictions> systems, const EvaluationOptions& options)
      : lists_(lists), systems_(systems) {
    metrics_ = ranking_metrics(lists.kinds);
    if (lists.true_conversion.empty()) metrics_.pop_back();
    for (const Predictions& system : systems) values_.push_back(ranking_values(lists, system.score, metrics_, options));
    if (!lists.true_conversion.empty()) {
      initial_ = ranking_values(lists, initial_order(lists).score, {&metrics_.back(), 1}, options)[0];
      oracle_ = ranking_values(lists, lists.true_conversion, {&metrics_.back(), 1}, options)[0];
    }
  }

  void add_rows(ReportBuilder& builder, Table& table, std::span<const std::uint8_t> member, bool headlines_only) const {
    for (std::size_t m = 0; m < metrics_.size(); ++m) {
      if (headlines_only && !metrics_[m].headline) continue;
      Row& row = start_row(builder, table, m, member);
      for (std::size_t s = 0; s < systems_.size(); ++s) builder.add_cell(row, mean(values_[s][m], member), reason(row, m));
    }
    if (lists_.true_conversion.empty()) return;
    const std::size_t last = metrics_.size() - 1;
    Row& row = start_row(builder, table, last, member);
    row.name = "gap closed";
    const bool no_room = !(at_once(oracle_, member) > at_once(initial_, member));
    for (std::size_t s = 0; s < systems_.size(); ++s)
      builder.add_cell(row, gap_closed(mean(values_[s][last], member), mean(initial_, member), mean(oracle_, member)),
                       no_room ? "the initial order is the oracle's" : reason(row, last));
  }

  void add_differences(ReportBuilder& builder, Table& table, std::size_t subject) const {
    for (std::size_t m = 0; m < metrics_.size(); ++m) {
      Row& row = start_row(builder, table, m, {});
      for (std::size_t s = 0; s < systems_.size(); ++s)
        if (s != subject)
          builder.add_cell(row, difference_statistic(mean(values_[subject][m], {}), mean(values_[s][m], {})), reason(row, m));
    }
  }

 private:
  Row& start_row(ReportBuilder& builder, Table& table, std::size_t metric, std::span<const std::uint8_t> member) const {
    const Counts counts = count_defined(lists_, values_[0][metric], member);
    return builder.add_row(table, metrics_[metric].name, "lists", counts.used, counts.skipped, counts.users);
  }
  std::string reason(const Row& row, std::size_t metric) const { return row.used > 0 ? "" : why_undefined(metrics_[metric].gain); }
  Statistic mean(const ListValues& values, std::span<const std::uint8_t> member) const {
    return ratio_statistic(user_sums(values, lists_.user, lists_.users, member));
  }
  double at_once(const ListValues& values, std::span<const std::uint8_t> member) const {
    return mean(values, member)(std::vector<double>(static_cast<std::size_t>(lists_.users), 1.0));
  }

  const LabelledLists& lists_;
  std::span<const Predictions> systems_;
  std::vector<RankingMetric> metrics_;
  std::vector<std::vector<ListValues>> values_;  // [system][metric]
  ListValues initial_, oracle_;                  // NDCG@10 of the true probabilities
};

// What whole orders are worth: the truth of a simulator's world, and what a model that judges orders says of them. Every list counts.
class OrderTables {
 public:
  OrderTables(const LabelledLists& lists, std::span<const Predictions> systems, const EvaluationOptions& options) : lists_(lists) {
    const bool known = !lists.truth.item.empty(), judged = std::any_of(systems.begin(), systems.end(), [](const Predictions& s) { return !s.order_ctr.empty(); });
    const bool fraction = options.list_label == ListLabel::fraction;
    std::vector<std::vector<ListValues>> truths;  // [system][clicks, conversions, P_ctr, P_ctr * P_cvr]
    if (known) {
      for (const Predictions& s : systems) truths.push_back(true_values(s.score, fraction, options.tie_seed));
      initial_ = true_values(initial_order(lists).score, fraction, options.tie_seed)[1];
      best_ = true_values(lists.best_order, fraction, options.tie_seed)[1];
    }
    const auto add = [&](std::string name, auto values_of) {
      rows_.push_back({std::move(name), {}});
      for (std::size_t s = 0; s < systems.size(); ++s) rows_.back().values.push_back(values_of(s));
    };
    if (known) add("true clicks a list", [&](std::size_t s) { return truths[s][0]; });
    if (known) add("true conversions a list", [&](std::size_t s) { return truths[s][1]; });
    if (options.list_label == ListLabel::count) return;
    if (known) add("P_ctr, true", [&](std::size_t s) { return truths[s][2]; });
    if (judged) add("P_ctr, predicted", [&](std::size_t s) { return systems[s].order_ctr; });
    if (known) add("P_ctr*P_cvr, true", [&](std::size_t s) { return truths[s][3]; });
    for (std::size_t k = 0; k < lists.kind_count() && judged; ++k) {
      add(of_kind("P_ctr*P_cvr", lists.kinds, k) + ", predicted", [&](std::size_t s) {
        ListValues column;
        for (std::size_t at = k; at < systems[s].order_cvr.size(); at += lists.kind_count()) column.push_back(systems[s].order_cvr[at]);
        return column;
      });
    }
  }

  void add_rows(ReportBuilder& builder, Table& table) const {
    for (const Values& of : rows_) {
      Row& row = builder.add_row(table, of.name, "lists", lists_.size(), 0, lists_.users);
      for (const ListValues& v : of.values) builder.add_cell(row, v.empty() ? Statistic() : mean(v), v.empty() ? "nobody judged the order" : "");
    }
    if (initial_.empty()) return;
    Row& row = builder.add_row(table, "gap closed, whole orders", "lists", lists_.size(), 0, lists_.users);
    const std::vector<double> once(static_cast<std::size_t>(lists_.users), 1.0);
    const bool no_room = !(mean(best_)(once) > mean(initial_)(once));
    for (const ListValues& v : rows_[1].values) {
      builder.add_cell(row, gap_closed(mean(v), mean(initial_), mean(best_)), no_room ? "the initial order is the best one found" : "");
    }
  }

  void add_differences(ReportBuilder& builder, Table& table, std::size_t subject) const {
    for (const Values& of : rows_) {
      Row& row = builder.add_row(table, of.name, "lists", lists_.size(), 0, lists_.users);
      for (std::size_t s = 0; s < of.values.size(); ++s) {
        if (s == subject) continue;
        const bool known = !of.values[s].empty() && !of.values[subject].empty();
        builder.add_cell(row, known ? difference_statistic(mean(of.values[subject]), mean(of.values[s])) : Statistic(), known ? "" : "nobody judged the order");
      }
    }
  }

 private:
  struct Values {
    std::string name;
    std::vector<ListValues> values;  // [system]; empty: not known
  };

  std::vector<ListValues> true_values(std::span<const double> score, bool fraction, std::uint64_t tie_seed) const {
    std::vector<ListValues> values(4);
    std::vector<data::TrueItem> shown;
    for (std::int64_t l = 0; l < lists_.size(); ++l) {
      const auto begin = static_cast<std::size_t>(lists_.offsets[static_cast<std::size_t>(l)]);
      const auto n = static_cast<std::size_t>(lists_.offsets[static_cast<std::size_t>(l) + 1]) - begin;
      const auto id = [&](std::int32_t i) { return lists_.item_id(static_cast<std::int64_t>(begin) + i); };
      shown.clear();
      for (const std::int32_t i : show_order(score.subspan(begin, n), id, lists_.request_id(l), tie_seed)) {
        shown.push_back(lists_.truth.item[begin + static_cast<std::size_t>(i)]);
      }
      const TrueValue value = true_value(shown, lists_.truth.dials);
      values[0].push_back(value.clicks), values[1].push_back(value.conversions);
      const auto items = static_cast<double>(n);
      values[2].push_back(fraction ? value.clicks / items : value.any_click);
      values[3].push_back(fraction ? value.conversions / items : value.any_conversion);
    }
    return values;
  }
  Statistic mean(const ListValues& values) const { return ratio_statistic(user_sums(values, lists_.user, lists_.users, {})); }

  const LabelledLists& lists_;
  std::vector<Values> rows_;
  ListValues initial_, best_;  // true conversions; empty without a truth
};

// A probability that no system predicts has no rows, unless there is a reason to tell.
void add_probabilities(const LabelledLists& lists, std::span<const Predictions> systems, const EvaluationOptions& options,
                       ReportBuilder& builder, Table& table) {
  for (const ProbabilityTask& task : probability_tasks(lists, options.list_label)) {
    std::vector<std::vector<ProbabilityMetric>> metrics;  // [system][metric]
    std::size_t speaker = systems.size();                 // the first system that predicts it
    for (std::size_t s = 0; s < systems.size(); ++s) {
      const std::vector<double>& predicted = systems[s].*task.predicted;
      metrics.push_back(probability_metrics(task, predicted, lists.users, options.gauc_weight));
      if (!predicted.empty() && speaker == systems.size()) speaker = s;
    }
    if (speaker == systems.size()) {
      if (task.unavailable.empty()) continue;
      speaker = 0;
    }
    for (std::size_t m = 0; m < metrics[speaker].size(); ++m) {
      const ProbabilityMetric& first = metrics[speaker][m];
      Row& row = builder.add_row(table, first.name, first.unit, first.used, first.skipped, first.users);
      for (std::vector<ProbabilityMetric>& of_system : metrics)
        builder.add_cell(row, std::move(of_system[m].statistic), of_system[m].reason);
    }
  }
}

}  // namespace

Statistic gap_closed(Statistic system, Statistic initial, Statistic oracle) {
  return [system = std::move(system), initial = std::move(initial), oracle = std::move(oracle)](UserWeights weights) {
    const double start = initial(weights), room = oracle(weights) - start;
    return room > 0 ? (system(weights) - start) / room : std::numeric_limits<double>::quiet_NaN();
  };
}

Report evaluate(const LabelledLists& lists, std::span<const Predictions> systems, const EvaluationOptions& options) {
  if (lists.size() == 0) throw Error(ErrorCode::data, "there are no lists to evaluate on");
  check_sizes(lists, systems);
  const RankingTables ranking(lists, systems, options);
  const OrderTables orders(lists, systems, options);
  ReportBuilder builder;
  Report report;
  report.level = options.bootstrap.level;

  std::vector<std::string> names;
  for (const Predictions& system : systems) names.push_back(system.name);
  Table all{"all lists", lists.size(), names, {}};
  ranking.add_rows(builder, all, {}, false);
  orders.add_rows(builder, all);
  add_probabilities(lists, systems, options, builder, all);
  report.tables.push_back(std::move(all));

  if (systems.size() > 1) {
    const std::size_t subject = options.subject < 0 ? systems.size() - 1 : static_cast<std::size_t>(options.subject);
    PIANO_CHECK(subject < systems.size(), "the system to compare does not exist");
    Table differences{"paired differences: " + names[subject] + " minus", lists.size(), {}, {}};
    for (std::size_t s = 0; s < names.size(); ++s)
      if (s != subject) differences.columns.push_back(names[s]);
    ranking.add_differences(builder, differences, subject);
    orders.add_differences(builder, differences, subject);
    report.tables.push_back(std::move(differences));
  }
  for (const Slice& slice : lists.slices) {
    PIANO_CHECK(static_cast<std::int64_t>(slice.member.size()) == lists.size(), "slice " + slice.name + ": one entry per list is needed");
    std::int64_t members = 0;
    for (const std::uint8_t m : slice.member) members += m;
    if (members == 0) continue;
    Table table{"slice: " + slice.name, members, names, {}};
    ranking.add_rows(builder, table, slice.member, true);
    report.tables.push_back(std::move(table));
  }
  builder.finish(report, lists.users, options.bootstrap);
  return report;
}

}  // namespace piano
