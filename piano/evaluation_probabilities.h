// The four probabilities that PIANO predicts, each against its own examples: for evaluate() and Comparer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "piano/evaluation.h"

namespace piano {

// The examples of one probability. Example e is entry at[e] of the system's array.
struct ProbabilityTask {
  std::string name, unit;                       // "pctr", "items"
  std::vector<double> Predictions::*predicted;
  std::vector<std::int64_t> at;
  std::vector<double> label;
  std::vector<std::int32_t> user;
  std::int64_t skipped = 0;                     // unlabelled, or not clicked where a click is the condition
  std::string unavailable = {};                 // not empty: no model predicts this, and why

  std::string unusable() const;                 // why no metric can be computed, or ""
};

// "pcvr", or "pcvr save" where kinds of conversion have names.
std::string of_kind(const std::string& name, std::span<const std::string> kinds, std::size_t kind);

// pctr on all labelled items, pcvr on clicked ones; P_ctr on all lists with a labelled item, P_cvr on those with a click. Of several kinds of
// conversion each has its pcvr and P_cvr, where it is known: of every labelled item of a list, for P_cvr.
std::vector<ProbabilityTask> probability_tasks(const LabelledLists& lists, ListLabel list_label);

struct ProbabilityMetric {
  std::string name, unit;
  std::int64_t used = 0, skipped = 0, users = 0;
  Statistic statistic;
  std::string reason;                           // not empty: the statistic is not available
};

// AUC, GAUC, log loss, NE, ECE, PCOC, in this order. With `predicted` empty there are only names, counts and reasons.
std::vector<ProbabilityMetric> probability_metrics(const ProbabilityTask& task, std::span<const double> predicted, std::int32_t users,
                                                   GroupWeight gauc_weight);

}  // namespace piano
