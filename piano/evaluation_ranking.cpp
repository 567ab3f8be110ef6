// Ranking metrics, list by list.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "engine/base/check.h"
#include "piano/evaluation.h"

namespace piano {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

// Some rows of one list in the order shown.
struct Shown {
  std::vector<std::int64_t> rows;
  std::vector<std::int32_t> ties;  // empty: the order is final
};

Shown show(const LabelledLists& lists, std::int64_t list, std::span<const std::int64_t> rows, std::span<const double> score,
           const EvaluationOptions& options) {
  std::vector<double> scores;
  for (const std::int64_t row : rows) scores.push_back(score[static_cast<std::size_t>(row)]);
  const auto id = [&](std::int32_t i) { return lists.item_id(rows[static_cast<std::size_t>(i)]); };
  const std::vector<std::int32_t> order = show_order(scores, id, lists.request_id(list), options.tie_seed);
  Shown shown;
  for (const std::int32_t i : order) shown.rows.push_back(rows[static_cast<std::size_t>(i)]);
  if (options.ties == TieBreak::average) shown.ties = tie_blocks(scores, order);
  return shown;
}

double revenue_of(const LabelledLists& lists, std::size_t row) {
  double sum = 0;
  for (std::size_t k = 0; k < lists.kind_count(); ++k) {
    if (lists.converted(row, k)) sum += lists.value.empty() ? 1.0 : lists.value[row * lists.kind_count() + k];
  }
  return sum;
}

double gain_of(const LabelledLists& lists, std::int64_t list, std::int64_t row, Gain gain, std::int32_t kind) {
  const auto r = static_cast<std::size_t>(row);
  switch (gain) {
    case Gain::click: return lists.click[r];
    case Gain::conversion: return kind < 0 ? lists.conversion[r] : lists.converted(r, static_cast<std::size_t>(kind));
    case Gain::click_plus_conversion: return lists.click[r] + lists.conversion[r];
    case Gain::revenue: return revenue_of(lists, r);
    case Gain::true_conversion: return lists.true_conversion[r];
    case Gain::target: {
      const auto l = static_cast<std::size_t>(list);
      return row - lists.offsets[l] == lists.target[l] ? 1.0 : 0.0;
    }
  }
  return 0;
}

std::optional<double> measure(const RankingMetric& metric, Relevance relevance, TieBlocks ties, MapDenominator denominator) {
  switch (metric.measure) {
    case Measure::ndcg: return ndcg(relevance, metric.k, ties);
    case Measure::average_precision: return average_precision(relevance, metric.k, denominator, ties);
    case Measure::reciprocal_rank: return reciprocal_rank(relevance, ties);
    case Measure::hit_rate: return hit_rate(relevance, metric.k, ties);
    case Measure::sum: return sum_at(relevance, metric.k, ties);
  }
  return std::nullopt;
}

// Revenue counts every list with a conversion of a kind that the model knows, also one that was worth nothing.
bool has_positive(const LabelledLists& lists, std::int64_t list, const Shown& shown, Gain gain, std::int32_t kind) {
  return std::any_of(shown.rows.begin(), shown.rows.end(), [&](std::int64_t row) {
    if (gain != Gain::revenue) return gain_of(lists, list, row, gain, kind) > 0;
    bool any = false;
    for (std::size_t k = 0; k < lists.kind_count(); ++k) any = any || lists.converted(static_cast<std::size_t>(row), k);
    return any;
  });
}

}  // namespace

std::vector<RankingMetric> ranking_metrics(std::span<const std::string> kinds) {
  std::vector<RankingMetric> metrics;
  for (const std::int32_t k : {5, 10}) {
    const std::string at = "@" + std::to_string(k);
    metrics.push_back({"NDCG" + at + " click+conversion", Gain::click_plus_conversion, Measure::ndcg, k, k == 10});
    metrics.push_back({"NDCG" + at + " click", Gain::click, Measure::ndcg, k, k == 10});
    metrics.push_back({"NDCG" + at + " conversion", Gain::conversion, Measure::ndcg, k, k == 10});
  }
  for (const Gain gain : {Gain::click, Gain::conversion}) {
    const std::string what = gain == Gain::click ? " click" : " conversion";
    metrics.push_back({"MAP@10" + what, gain, Measure::average_precision, 10, false});
    metrics.push_back({"MRR" + what, gain, Measure::reciprocal_rank, 0, false});
    for (const std::int32_t k : {1, 5, 10}) metrics.push_back({"HR@" + std::to_string(k) + what, gain, Measure::hit_rate, k, false});
  }
  metrics.push_back({"click@10", Gain::click, Measure::sum, 10, false});
  metrics.push_back({"conversion@10", Gain::conversion, Measure::sum, 10, false});
  metrics.push_back({"revenue@10", Gain::revenue, Measure::sum, 10, false});
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    const auto kind = static_cast<std::int32_t>(k);
    const std::string name = "conversion:" + kinds[k];  // a kind may be called "conversion" or "target"
    metrics.push_back({"NDCG@10 " + name, Gain::conversion, Measure::ndcg, 10, true, kind});
    metrics.push_back({"MRR " + name, Gain::conversion, Measure::reciprocal_rank, 0, false, kind});
    metrics.push_back({name + "@10", Gain::conversion, Measure::sum, 10, false, kind});
  }
  metrics.push_back({"MRR target", Gain::target, Measure::reciprocal_rank, 0, true});
  metrics.push_back({"NDCG@10 true conversion", Gain::true_conversion, Measure::ndcg, 10, true});
  return metrics;
}

std::vector<std::vector<double>> ranking_values(const LabelledLists& lists, std::span<const double> score,
                                                std::span<const RankingMetric> metrics, const EvaluationOptions& options) {
  PIANO_CHECK(static_cast<std::int64_t>(score.size()) == lists.rows(), "one score per candidate is needed");
  std::vector<std::vector<double>> values(metrics.size(), std::vector<double>(static_cast<std::size_t>(lists.size()), kUndefined));
  std::vector<std::int64_t> all, labelled;
  std::vector<double> relevance;
  for (std::int64_t l = 0; l < lists.size(); ++l) {
    const auto list = static_cast<std::size_t>(l);
    all.resize(static_cast<std::size_t>(lists.offsets[list + 1] - lists.offsets[list]));
    std::iota(all.begin(), all.end(), lists.offsets[list]);
    labelled.clear();
    for (const std::int64_t row : all)
      if (lists.labelled[static_cast<std::size_t>(row)] != 0) labelled.push_back(row);
    // The target needs no labels: it is looked for among all candidates.
    const Shown judged = show(lists, l, labelled, score, options);
    const Shown whole = labelled.size() == all.size() || lists.target[list] < 0 ? judged : show(lists, l, all, score, options);
    std::vector<Shown> of_kind(lists.kinds.size());  // where a kind is known of some candidates alone, these
    for (std::size_t k = 0; k < of_kind.size(); ++k) {
      std::vector<std::int64_t> known;
      std::ranges::copy_if(labelled, std::back_inserter(known), [&](std::int64_t row) { return lists.known(static_cast<std::size_t>(row), k); });
      of_kind[k] = known.size() == labelled.size() ? judged : show(lists, l, known, score, options);
    }
    for (std::size_t m = 0; m < metrics.size(); ++m) {
      const Gain gain = metrics[m].gain;
      const std::int32_t kind = metrics[m].kind;
      const Shown& shown = gain == Gain::target ? whole : kind >= 0 ? of_kind[static_cast<std::size_t>(kind)] : judged;
      if (!has_positive(lists, l, shown, gain, kind)) continue;
      relevance.clear();
      for (const std::int64_t row : shown.rows) relevance.push_back(gain_of(lists, l, row, gain, kind));
      values[m][list] = measure(metrics[m], relevance, shown.ties, options.map_denominator).value_or(kUndefined);
    }
  }
  return values;
}

double mean_metric(const LabelledLists& lists, std::span<const double> score, const RankingMetric& metric,
                   const EvaluationOptions& options) {
  const std::vector<std::vector<double>> values = ranking_values(lists, score, {&metric, 1}, options);
  double total = 0, count = 0;
  for (const double value : values[0]) {
    if (std::isnan(value)) continue;
    total += value;
    count += 1;
  }
  return count > 0 ? total / count : kUndefined;
}

Predictions initial_order(const LabelledLists& lists) {
  Predictions result;
  result.name = "initial order";
  result.score = break_ties_by_rank(lists, std::vector<double>(static_cast<std::size_t>(lists.rows()), 0.0));
  return result;
}

std::vector<double> break_ties_by_rank(const LabelledLists& lists, std::span<const double> score) {
  std::vector<double> result(score.size());
  std::vector<std::size_t> order;
  for (std::size_t l = 0; l + 1 < lists.offsets.size(); ++l) {
    order.resize(static_cast<std::size_t>(lists.offsets[l + 1] - lists.offsets[l]));
    std::iota(order.begin(), order.end(), static_cast<std::size_t>(lists.offsets[l]));
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
    for (std::size_t place = 0; place < order.size(); ++place) result[order[place]] = -static_cast<double>(place);
  }
  return result;
}

}  // namespace piano
