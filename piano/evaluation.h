// Evaluation: predictions of several systems against the same labelled lists, side by side, with bootstrap intervals over users.
// docs/metrics.md defines the metrics, the exclusions and the ties.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/labels.h"
#include "piano/config.h"
#include "piano/metrics.h"
#include "piano/metrics_pointwise.h"
#include "piano/simulated_truth.h"
#include "piano/statistics.h"

namespace piano {

// A part of the lists that is reported apart.
struct Slice {
  std::string name;
  std::vector<std::uint8_t> member;  // (lists): 0/1
};

// What really happened. Rows of list l: offsets[l] .. offsets[l+1]-1, in the first ranker's order.
struct LabelledLists {
  std::vector<std::int64_t> offsets{0};
  std::vector<std::uint8_t> click, conversion;  // (rows): 0/1, conversion <= click; of any kind
  std::vector<std::uint8_t> labelled;           // (rows): 1 = shown, labels known; others count for the target alone
  std::vector<std::string> kinds;               // of conversion, where they have names; none: there is one, without a name
  std::vector<std::uint8_t> conversions;        // (rows, kind_count()): 0, 1 or kUnknownLabel
  std::vector<double> value;                    // (rows, kind_count()), or empty: what a conversion is worth, 1
  std::vector<double> true_conversion;          // (rows), or empty: a simulator's true conversion probabilities
  SimulatedTruth truth;                         // of the rows, or none: what a simulator's users would answer to any order
  std::vector<double> best_order;               // (rows), with `truth`: best_order()
  std::vector<std::int32_t> user;               // (lists): 0 .. users-1; a list without a user has one of its own
  std::int32_t users = 0;
  std::vector<std::int32_t> target;             // (lists): place within the list, or -1
  std::vector<Slice> slices;
  std::function<std::string_view(std::int64_t list)> request_id;
  std::function<std::string_view(std::int64_t row)> item_id;

  std::int64_t size() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t rows() const { return offsets.back(); }
  std::size_t kind_count() const { return kinds.empty() ? 1 : kinds.size(); }
  // Of one kind. requires: kind < kind_count()
  bool known(std::size_t row, std::size_t kind) const { return labelled[row] != 0 && conversions[row * kind_count() + kind] != data::kUnknownLabel; }
  bool converted(std::size_t row, std::size_t kind) const { return conversions[row * kind_count() + kind] == 1; }
};

// What one system says. Empty: it has no opinion (a heuristic has no probabilities).
struct Predictions {
  std::string name;
  std::vector<double> score;                // (rows): what the list is sorted by, descending
  std::vector<double> pctr, pcvr;           // (rows), (rows, kinds): P(click), P(conversion | click)
  std::vector<double> list_ctr, list_cvr;   // (lists), (lists, kinds): P_ctr, P_cvr (conversion given click), of the lists in the first ranker's order
  std::vector<double> order_ctr = {}, order_cvr = {};  // likewise P_ctr, P_ctr * P_cvr of the lists in this system's order, by a model that judges orders
};

Predictions initial_order(const LabelledLists& lists);
// `score` in which equal scores of a list are ordered by initial rank, as in serving: new scores, all different within a list.
std::vector<double> break_ties_by_rank(const LabelledLists& lists, std::span<const double> score);

enum class Gain { click, conversion, click_plus_conversion, revenue, target, true_conversion };
enum class Measure { ndcg, average_precision, reciprocal_rank, hit_rate, sum };

struct RankingMetric {
  std::string name;
  Gain gain = Gain::click;
  Measure measure = Measure::ndcg;
  std::int32_t k = 0;       // unused by reciprocal_rank
  bool headline = false;    // also reported for each slice
  std::int32_t kind = -1;   // with Gain::conversion: of this kind alone, on the candidates that it is known of; -1: any
};

// The rows of a report on lists with these kinds of conversion. The last one, of true probabilities, is for lists that have them.
std::vector<RankingMetric> ranking_metrics(std::span<const std::string> kinds = {});

enum class TieBreak { hash, average };     // the one permutation shown; or the mean over all permutations of equal scores

struct EvaluationOptions {
  TieBreak ties = TieBreak::hash;
  std::uint64_t tie_seed = 1;
  MapDenominator map_denominator = MapDenominator::bounded;
  GroupWeight gauc_weight = GroupWeight::impressions;
  ListLabel list_label = ListLabel::any;   // any: [sum y > 0], [sum z > 0]; fraction: sum y / n, sum z / sum y; count: no probabilities, n/a
  BootstrapOptions bootstrap;
  std::int32_t subject = -1;               // system whose paired differences to the others are shown; -1: the last
};

// [metric][list], NaN where the metric is undefined: no positive, or no target. For validation, and for compare_systems() over seeds.
std::vector<std::vector<double>> ranking_values(const LabelledLists& lists, std::span<const double> score,
                                                std::span<const RankingMetric> metrics, const EvaluationOptions& options);

// The mean of one metric over the lists for which it is defined; NaN when there is none. What model selection looks at.
double mean_metric(const LabelledLists& lists, std::span<const double> score, const RankingMetric& metric,
                   const EvaluationOptions& options = {});

// (N - N_initial) / (N_oracle - N_initial), N = NDCG@10 of the true conversion probabilities; NaN where there is no room.
Statistic gap_closed(Statistic system, Statistic initial, Statistic oracle);

struct Cell {
  Estimate estimate;
  std::string reason;          // not empty: not available, and why
};

struct Row {
  std::string name;
  std::string unit;            // of used and skipped: "lists", "items" or "users"
  std::int64_t used = 0, skipped = 0;
  std::int64_t users = 0;      // whose they are; fewer than kLeastUsers: no intervals
  std::vector<Cell> cells;     // one per column
};

struct Table {
  std::string title;
  std::int64_t lists = 0;
  std::vector<std::string> columns;
  std::vector<Row> rows;
};

// Tables: all metrics on all lists; paired differences; one table of headline metrics per slice.
struct Report {
  double level = 0.95;
  std::vector<Table> tables;
};

// Throws ErrorCode::data when there are no lists, ErrorCode::internal when a size does not fit.
Report evaluate(const LabelledLists& lists, std::span<const Predictions> systems, const EvaluationOptions& options);

std::string to_text(const Report& report);  // aligned tables for people
std::string to_json(const Report& report);  // one object; a number that is not available is null, with its reason

}  // namespace piano
