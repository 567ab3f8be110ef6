// A randomised experiment of two arms: what happened to each list, compared metric by metric. docs/experiments.md explains each number.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "piano/simulated_truth.h"
#include "piano/statistics_experiment.h"

namespace piano {

// What came of one list.
struct Outcome {
  std::int32_t items = 0, clicks = 0, conversions = 0;
};

// Lists of users 0 .. users-1, with their outcomes.
struct OutcomeLog {
  std::vector<Outcome> outcome;    // (lists)
  std::vector<std::int32_t> user;  // (lists)
  std::int32_t users = 0;          // the same people in every log of an experiment
};

// A ratio of sums: clicks over items shown, requests with a click, conversions over clicks, conversions over requests.
struct ExperimentMetric {
  std::string name, unit;
  double (*value)(const Outcome&);
  double (*units)(const Outcome&);
  double (*square)(const Outcome&);  // sum of the units' squared values
};
std::span<const ExperimentMetric> experiment_metrics();

// List l is rows offsets[l] .. offsets[l+1]-1 in the first ranker's order; it is sorted by descending score[row], equal scores as they stand, and
// answered by one draw that is a function of the seed and the list.
std::vector<Outcome> answers(const SimulatedTruth& truth, std::span<const std::int64_t> offsets, std::span<const double> score, std::uint64_t seed);
// The mean of the answers' clicks and conversions per list, without drawing.
struct ExpectedAnswer { double clicks = 0, conversions = 0; };
ExpectedAnswer expected_answer(const SimulatedTruth& truth, std::span<const std::int64_t> offsets, std::span<const double> score);

// Half of the users to arm B (1), at random.
std::vector<std::uint8_t> randomise(std::int32_t users, std::uint64_t seed);

struct Plan {
  double lift = 0.01, power = 0.8, alpha = 0.05;  // the smallest relative change worth finding
};

struct MetricComparison {
  std::string name;
  RatioEstimate a, b;
  Lift delta;                   // delta method
  Estimate bootstrap;           // of the relative lift, over users
  bool has_past = false;
  Lift cuped;
  double variance_left = 1;     // with CUPED
  double design_effect = 1;     // of arm A
  double users_needed = 0;      // an arm, for the plan, without CUPED
};

struct ArmComparison {
  std::int64_t users_a = 0, users_b = 0;
  std::vector<MetricComparison> metrics;
};

// `arm` (users): 0 or 1. `past`: the same users before the experiment; may be empty.
ArmComparison compare_arms(const OutcomeLog& log, std::span<const std::uint8_t> arm, const OutcomeLog& past, const Plan& plan,
                        const BootstrapOptions& options);

// A/A: one system's outcomes, users split at random `splits` times; the p-value of each split. Uniform, or the statistics are wrong.
std::vector<double> aa_p_values(const OutcomeLog& log, const ExperimentMetric& metric, std::int32_t splits, std::uint64_t seed);

}  // namespace piano
