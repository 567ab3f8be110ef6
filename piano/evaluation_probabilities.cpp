#include "piano/evaluation_probabilities.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <set>

#include "engine/base/check.h"

namespace piano {
namespace {

struct ListTotals {
  double items = 0, clicks = 0, conversions = 0;
  bool known = true;
};

ListTotals totals(const LabelledLists& lists, std::size_t list, std::size_t kind) {
  ListTotals t;
  for (auto r = static_cast<std::size_t>(lists.offsets[list]); r < static_cast<std::size_t>(lists.offsets[list + 1]); ++r) {
    if (lists.labelled[r] == 0) continue;
    t.items += 1;
    t.clicks += lists.click[r];
    t.conversions += lists.converted(r, kind) ? 1 : 0;
    t.known = t.known && lists.known(r, kind);
  }
  return t;
}

void add(ProbabilityTask& task, bool is_example, std::size_t at, double label, std::int32_t user) {
  if (!is_example) {
    ++task.skipped;
    return;
  }
  task.at.push_back(static_cast<std::int64_t>(at));
  task.label.push_back(label);
  task.user.push_back(user);
}

// Per-user sums of two quantities of the examples, for statistics that are a function of sums.
UserSums sums_of(const ProbabilityTask& task, std::int32_t users, const std::vector<double>& numerator,
                 const std::vector<double>& denominator) {
  UserSums sums;
  sums.sum.assign(static_cast<std::size_t>(users), 0.0);
  sums.count.assign(static_cast<std::size_t>(users), 0.0);
  for (std::int32_t u = 0; u < users; ++u) sums.user.push_back(u);
  for (std::size_t e = 0; e < task.user.size(); ++e) {
    sums.sum[static_cast<std::size_t>(task.user[e])] += numerator[e];
    sums.count[static_cast<std::size_t>(task.user[e])] += denominator[e];
  }
  return sums;
}

Statistic normalised_entropy_statistic(UserSums loss, UserSums label) {
  return [loss = std::move(loss), label = std::move(label)](UserWeights weights) {
    double total_loss = 0, total_label = 0, count = 0;
    for (std::size_t u = 0; u < weights.size(); ++u) {
      total_loss += weights[u] * loss.sum[u];
      total_label += weights[u] * label.sum[u];
      count += weights[u] * label.count[u];
    }
    return normalised_entropy(total_loss, total_label, count).value_or(std::numeric_limits<double>::quiet_NaN());
  };
}

}  // namespace

std::string ProbabilityTask::unusable() const {
  if (!unavailable.empty()) return unavailable;
  if (label.empty()) return "no example";
  const auto [low, high] = std::minmax_element(label.begin(), label.end());
  if (*low != *high) return "";
  if (*low == 0) return "label always 0";
  if (*low == 1) return "label always 1";
  return "label constant";
}

std::string of_kind(const std::string& name, std::span<const std::string> kinds, std::size_t kind) {
  return kinds.empty() ? name : name + " " + kinds[kind];
}

std::vector<ProbabilityTask> probability_tasks(const LabelledLists& lists, ListLabel list_label) {
  const std::size_t kinds = lists.kind_count();
  std::vector<ProbabilityTask> tasks;  // pctr, pcvr of each kind, P_ctr, P_cvr of each kind
  const auto add_task = [&](const std::string& name, const char* unit, std::vector<double> Predictions::*predicted) {
    tasks.push_back({name, unit, predicted, {}, {}, {}, 0});
    if (list_label == ListLabel::count && unit == std::string("lists")) tasks.back().unavailable = "list.label = count: rates, no probabilities";
  };
  add_task("pctr", "items", &Predictions::pctr);
  for (std::size_t k = 0; k < kinds; ++k) add_task(of_kind("pcvr", lists.kinds, k), "items", &Predictions::pcvr);
  add_task("P_ctr", "lists", &Predictions::list_ctr);
  for (std::size_t k = 0; k < kinds; ++k) add_task(of_kind("P_cvr", lists.kinds, k), "lists", &Predictions::list_cvr);

  const bool any = list_label == ListLabel::any;
  for (std::size_t l = 0; l + 1 < lists.offsets.size(); ++l) {
    for (auto r = static_cast<std::size_t>(lists.offsets[l]); r < static_cast<std::size_t>(lists.offsets[l + 1]); ++r) {
      add(tasks[0], lists.labelled[r] != 0, r, lists.click[r], lists.user[l]);
      for (std::size_t k = 0; k < kinds; ++k) {
        add(tasks[1 + k], lists.known(r, k) && lists.click[r] != 0, r * kinds + k, lists.converted(r, k), lists.user[l]);
      }
    }
    for (std::size_t k = 0; k < kinds; ++k) {
      const ListTotals t = totals(lists, l, k);
      if (k == 0) add(tasks[1 + kinds], t.items > 0, l, any ? (t.clicks > 0 ? 1.0 : 0.0) : t.clicks / t.items, lists.user[l]);
      add(tasks[2 + kinds + k], t.clicks > 0 && t.known, l * kinds + k, any ? (t.conversions > 0 ? 1.0 : 0.0) : t.conversions / t.clicks, lists.user[l]);
    }
  }
  return tasks;
}

std::vector<ProbabilityMetric> probability_metrics(const ProbabilityTask& task, std::span<const double> predicted, std::int32_t users,
                                                   GroupWeight gauc_weight) {
  const auto used = static_cast<std::int64_t>(task.at.size()), owners = static_cast<std::int64_t>(std::set(task.user.begin(), task.user.end()).size());
  std::vector<ProbabilityMetric> metrics;
  for (const char* name : {"AUC", "GAUC", "log loss", "NE", "ECE", "PCOC"})
    metrics.push_back({task.name + " " + name, task.unit, used, task.skipped, owners, {}, task.unusable()});
  if (predicted.empty() && task.unavailable.empty())
    for (ProbabilityMetric& metric : metrics) metric.reason = "no " + task.name;
  if (!metrics[0].reason.empty()) return metrics;

  std::vector<double> p, loss;
  for (std::size_t e = 0; e < task.at.size(); ++e) {
    p.push_back(predicted[static_cast<std::size_t>(task.at[e])]);
    PIANO_CHECK(p.back() >= 0 && p.back() <= 1, task.name + ": a prediction is no probability");
    loss.push_back(log_loss_of(p.back(), task.label[e]));
  }
  const std::vector<double> one(p.size(), 1.0);
  const auto sorted = std::make_shared<const SortedExamples>(p, task.label, task.user);
  const bool soft = std::any_of(task.label.begin(), task.label.end(), [](double y) { return y != 0 && y != 1; });
  if (soft) {
    metrics[0].reason = metrics[1].reason = "label is a fraction";
  } else {
    metrics[0].statistic = [sorted](UserWeights weights) { return sorted->auc(weights); };
    GroupedAuc groups = grouped_auc(p, task.label, task.user, users, gauc_weight);
    metrics[1].unit = "users";
    metrics[1].used = metrics[1].users = groups.used;
    metrics[1].skipped = groups.skipped;
    if (!groups.value) metrics[1].reason = "no user with both labels";
    UserSums sums{{}, {}, std::move(groups.weight)};
    for (std::size_t u = 0; u < groups.auc.size(); ++u) {
      sums.user.push_back(static_cast<std::int32_t>(u));
      sums.sum.push_back(groups.auc[u] * sums.count[u]);
    }
    metrics[1].statistic = ratio_statistic(std::move(sums));
  }
  const UserSums losses = sums_of(task, users, loss, one);
  metrics[2].statistic = ratio_statistic(losses);
  metrics[3].statistic = normalised_entropy_statistic(losses, sums_of(task, users, task.label, one));
  metrics[4].statistic = [sorted](UserWeights weights) { return sorted->calibration_error(weights); };
  metrics[5].statistic = ratio_statistic(sums_of(task, users, p, task.label));
  return metrics;
}

}  // namespace piano
