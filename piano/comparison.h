// Systems side by side on the same lists, each under one or more seeds: values, spread over seeds, and the difference to one of them, the
// reference, with a paired interval over users and p-values adjusted for as many systems as there are. docs/compare.md says what each number
// means.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "piano/evaluation.h"
#include "piano/evaluation_probabilities.h"

namespace piano {

struct ComparisonOptions {
  EvaluationOptions evaluation;          // ties, bootstrap; list_label and subject are not used
  std::int32_t randomisations = 10000;   // draws of the test behind a p-value; 0: no test
  std::string metric;                    // tested although it is no headline
};

// One system, one measure.
struct ComparedCell {
  std::vector<double> seeds;             // the value under each seed
  Estimate value;                        // seeds averaged per user; NaN: not available
  Estimate difference;                   // minus the reference, on the same draws of users
  double p = 0, p_holm = 0;              // NaN: not tested

  double spread() const;                 // standard deviation over seeds; NaN with fewer than two
};

struct ComparedTable {
  std::string slice;                     // "all lists" or the slice's name
  std::string metric, unit;
  std::int64_t used = 0, skipped = 0;    // lists, items or users, as in Row
  bool headline = false;
  std::vector<ComparedCell> cells;       // one per system
};

struct Comparison {
  double level = 0.95;
  std::vector<std::string> systems;
  std::size_t reference = 0;
  std::int64_t lists = 0;
  std::int32_t users = 0;
  // All lists: ranking metrics, gap closed, probabilities; then the headlines of each slice. What no list or no system has is left out.
  std::vector<ComparedTable> tables;
};

// Takes in one system under one seed after another and keeps sums per user alone: memory does not grow with candidates or seeds.
class Comparer {
 public:
  Comparer(const LabelledLists& lists, const ComparisonOptions& options);  // `lists` must outlive it

  std::vector<std::string> metrics() const;  // names of what is measured as a mean over all lists

  // The same name again: a further seed of that system. Throws ErrorCode::internal when a size does not fit.
  void add(const std::string& system, const Predictions& predictions);

  // Ranking metrics are means over lists: intervals, and for headlines and options.metric on all lists p-values by randomisation over users,
  // Holm-adjusted over the systems. Probabilities (AUC, calibration) have values and seeds alone. Throws ErrorCode::usage when no system is called `reference`.
  Comparison compare(const std::string& reference) const;

 private:
  struct Measure {                       // something that is a function of means over lists
    ComparedTable table;                 // without cells
    std::size_t metric;
    std::vector<std::uint8_t> member;    // empty: all lists
    UserSums initial, oracle;            // not empty: gap closed
  };
  struct System {
    std::string name;
    std::vector<UserSums> sums;                    // [measure], sums added up over seeds, counts those of one
    std::vector<std::vector<double>> seeds;        // [measure][seed]
    std::vector<std::vector<double>> probability;  // [row][seed]; NaN: not available
  };
  void add_measures(const std::string& slice, std::vector<std::uint8_t> member);
  static Statistic statistic(const Measure& measure, UserSums sums);
  std::vector<ComparedTable> measured(std::size_t reference) const;
  void test(std::size_t measure, std::size_t reference, ComparedTable& table) const;
  std::vector<ComparedTable> probabilities(std::size_t reference) const;

  const LabelledLists& lists_;
  ComparisonOptions options_;
  std::vector<double> once_;                       // (users) of ones
  std::vector<RankingMetric> metrics_;
  std::vector<std::vector<double>> initial_;       // [metric][list] of the initial order: says where a metric is defined
  std::vector<double> oracle_;                     // (lists): the last metric of the true order; empty without true probabilities
  std::vector<Measure> measures_;
  std::vector<ProbabilityTask> tasks_;
  std::vector<ComparedTable> probability_;         // rows without cells
  std::vector<System> systems_;
};

}  // namespace piano
