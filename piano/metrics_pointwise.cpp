#include "piano/metrics_pointwise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/base/check.h"

namespace piano {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

void check_sizes(Probabilities p, Labels labels) {
  PIANO_CHECK(p.size() == labels.size(), "as many predictions as labels are needed");
  for (const double x : p) PIANO_CHECK(!std::isnan(x), "a prediction is not a number");
}

std::vector<std::size_t> ascending(Probabilities p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  return order;
}

std::optional<double> defined(double value) { return std::isnan(value) ? std::nullopt : std::optional<double>(value); }

}  // namespace

SortedExamples::SortedExamples(Probabilities p, Labels labels, std::span<const std::int32_t> user) {
  check_sizes(p, labels);
  PIANO_CHECK(user.size() == p.size(), "as many users as predictions are needed");
  for (const std::size_t i : ascending(p)) {
    if (!p_.empty() && p[i] != p_.back()) blocks_.push_back(static_cast<std::int64_t>(p_.size()));
    p_.push_back(p[i]);
    label_.push_back(labels[i]);
    user_.push_back(user[i]);
  }
  if (!p_.empty()) blocks_.push_back(static_cast<std::int64_t>(p_.size()));
}

double SortedExamples::auc(std::span<const double> weights) const {
  double won = 0, positives = 0, negatives = 0;
  std::size_t i = 0;
  for (const std::int64_t end : blocks_) {
    double positive = 0, negative = 0;
    for (; i < static_cast<std::size_t>(end); ++i) {
      const double w = weights[static_cast<std::size_t>(user_[i])];
      positive += w * label_[i];
      negative += w * (1 - label_[i]);
    }
    won += positive * (negatives + negative / 2);
    positives += positive;
    negatives += negative;
  }
  return positives > 0 && negatives > 0 ? won / (positives * negatives) : kUndefined;
}

double SortedExamples::calibration_error(std::span<const double> weights, std::int32_t bins) const {
  const auto n = static_cast<std::int64_t>(p_.size());
  double total = 0, surplus = 0, error = 0;  // surplus: sum p - sum y of the current bin
  std::int64_t bin = 0, begin = 0;
  for (const std::int64_t end : blocks_) {
    const std::int64_t block_bin = bins * (begin + end) / (2 * n);
    if (block_bin != bin) {
      error += std::abs(surplus);
      surplus = 0;
      bin = block_bin;
    }
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const double w = weights[static_cast<std::size_t>(user_[i])];
      surplus += w * (p_[i] - label_[i]);
      total += w;
    }
    begin = end;
  }
  error += std::abs(surplus);
  return total > 0 ? error / total : kUndefined;
}

std::optional<double> auc(Probabilities scores, Labels labels) {
  check_sizes(scores, labels);
  // Mann-Whitney: the positives' rank sum, less its least possible value, over the number of pairs.
  const std::vector<std::size_t> order = ascending(scores);
  double rank_sum = 0, positives = 0;
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    double here = 0;
    for (end = begin; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end) here += labels[order[end]];
    const double mid_rank = (static_cast<double>(begin + 1) + static_cast<double>(end)) / 2;
    rank_sum += here * mid_rank;
    positives += here;
  }
  const double negatives = static_cast<double>(scores.size()) - positives;
  if (positives == 0 || negatives == 0) return std::nullopt;
  return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives);
}

GroupedAuc grouped_auc(Probabilities scores, Labels labels, std::span<const std::int32_t> group, std::int32_t groups,
                       GroupWeight weight) {
  check_sizes(scores, labels);
  PIANO_CHECK(group.size() == scores.size(), "as many group numbers as predictions are needed");
  const auto group_count = static_cast<std::size_t>(groups);
  std::vector<std::vector<std::size_t>> members(group_count);
  for (std::size_t i = 0; i < group.size(); ++i) members[static_cast<std::size_t>(group[i])].push_back(i);

  GroupedAuc result;
  result.auc.assign(group_count, 0.0);
  result.weight.assign(group_count, 0.0);
  double total = 0, total_weight = 0;
  std::vector<double> s, y;
  for (std::size_t g = 0; g < group_count; ++g) {
    if (members[g].empty()) continue;
    s.clear();
    y.clear();
    for (const std::size_t i : members[g]) {
      s.push_back(scores[i]);
      y.push_back(labels[i]);
    }
    const std::optional<double> value = piano::auc(s, y);
    if (!value) {
      ++result.skipped;
      continue;
    }
    ++result.used;
    result.auc[g] = *value;
    switch (weight) {
      case GroupWeight::impressions: result.weight[g] = static_cast<double>(y.size()); break;
      case GroupWeight::positives: result.weight[g] = std::accumulate(y.begin(), y.end(), 0.0); break;
      case GroupWeight::uniform: result.weight[g] = 1; break;
    }
    total += result.weight[g] * *value;
    total_weight += result.weight[g];
  }
  if (total_weight > 0) result.value = total / total_weight;
  return result;
}

double log_loss_of(double p, double label) {
  constexpr double e = std::numeric_limits<double>::epsilon();
  p = std::clamp(p, e, 1 - e);
  return -(label * std::log(p) + (1 - label) * std::log(1 - p));
}

std::optional<double> log_loss(Probabilities p, Labels labels) {
  check_sizes(p, labels);
  if (p.empty()) return std::nullopt;
  double total = 0;
  for (std::size_t i = 0; i < p.size(); ++i) total += log_loss_of(p[i], labels[i]);
  return total / static_cast<double>(p.size());
}

std::optional<double> normalised_entropy(double total_log_loss, double total_label, double count) {
  if (count <= 0 || total_label <= 0 || total_label >= count) return std::nullopt;
  const double mean = total_label / count;
  return total_log_loss / count / log_loss_of(mean, mean);
}

std::optional<double> normalised_entropy(Probabilities p, Labels labels) {
  const std::optional<double> loss = log_loss(p, labels);
  if (!loss) return std::nullopt;
  const auto n = static_cast<double>(p.size());
  return normalised_entropy(*loss * n, std::accumulate(labels.begin(), labels.end(), 0.0), n);
}

std::optional<double> expected_calibration_error(Probabilities p, Labels labels, std::int32_t bins) {
  const std::vector<std::int32_t> user(p.size(), 0);
  return defined(SortedExamples(p, labels, user).calibration_error(std::vector<double>{1.0}, bins));
}

std::vector<ReliabilityBin> reliability(Probabilities p, Labels labels, std::int32_t bins) {
  check_sizes(p, labels);
  const std::vector<std::size_t> order = ascending(p);
  std::vector<ReliabilityBin> all(static_cast<std::size_t>(bins));
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    for (end = begin; end < order.size() && p[order[end]] == p[order[begin]];) ++end;
    ReliabilityBin& bin = all[static_cast<std::size_t>(bins) * (begin + end) / (2 * order.size())];
    bin.items += static_cast<std::int64_t>(end - begin);
    for (std::size_t i = begin; i < end; ++i) bin.predicted += p[order[i]], bin.observed += labels[order[i]];
  }
  std::erase_if(all, [](const ReliabilityBin& bin) { return bin.items == 0; });
  for (ReliabilityBin& bin : all) bin.predicted /= static_cast<double>(bin.items), bin.observed /= static_cast<double>(bin.items);
  return all;
}

std::optional<double> predicted_over_observed(Probabilities p, Labels labels) {
  check_sizes(p, labels);
  const double observed = std::accumulate(labels.begin(), labels.end(), 0.0);
  if (observed <= 0) return std::nullopt;
  return std::accumulate(p.begin(), p.end(), 0.0) / observed;
}

}  // namespace piano
