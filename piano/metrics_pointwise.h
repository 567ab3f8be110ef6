// Metrics of predicted probabilities against labels, pooled over many lists. docs/metrics.md defines them all.
//
// Labels lie in [0, 1]; AUC and GAUC need 0/1. nullopt: undefined (no example, or only one class where two are needed).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace piano {

using Probabilities = std::span<const double>;  // (n)
using Labels = std::span<const double>;         // (n)

inline constexpr std::int32_t kCalibrationBins = 15;

// P(score of a positive > score of a negative), ties counted one half (mid-ranks).
std::optional<double> auc(Probabilities scores, Labels labels);

// The mean of the groups' AUCs. A group with only one class has no AUC: skipped and counted.
enum class GroupWeight { impressions, positives, uniform };
struct GroupedAuc {
  std::optional<double> value;
  std::vector<double> auc, weight;  // (groups): 0 and 0 where skipped
  std::int64_t used = 0, skipped = 0;
};
// requires: group[i] in 0 .. groups-1. Groups without any example are neither used nor skipped.
GroupedAuc grouped_auc(Probabilities scores, Labels labels, std::span<const std::int32_t> group, std::int32_t groups,
                       GroupWeight weight = GroupWeight::impressions);

// -(y log p + (1-y) log(1-p)), p clipped to [e, 1-e] with e = 2^-52 (scikit-learn's clip for doubles).
double log_loss_of(double p, double label);
std::optional<double> log_loss(Probabilities p, Labels labels);

// Normalised entropy (He et al., "Practical lessons from predicting clicks on ads at Facebook", ADKDD 2014, eq. 1): log loss divided by the
// log loss of always predicting the mean label. 1 = no better than the mean. nullopt when the mean label is 0 or 1.
std::optional<double> normalised_entropy(double total_log_loss, double total_label, double count);
std::optional<double> normalised_entropy(Probabilities p, Labels labels);

// Expected calibration error over `bins` bins of equal mass: sum over bins of |sum p - sum y| / n. Equal predictions share a bin, the one
// that the middle of their block falls into, so that the input's order does not matter.
std::optional<double> expected_calibration_error(Probabilities p, Labels labels, std::int32_t bins = kCalibrationBins);

// Those bins, without the empty ones: mean prediction against mean label.
struct ReliabilityBin {
  std::int64_t items = 0;
  double predicted = 0, observed = 0;
};
std::vector<ReliabilityBin> reliability(Probabilities p, Labels labels, std::int32_t bins = kCalibrationBins);

// Predicted clicks over clicks observed: sum p / sum y. 1 = calibrated on average. nullopt when nothing was observed.
std::optional<double> predicted_over_observed(Probabilities p, Labels labels);

// Examples sorted once by prediction, ascending; then AUC and calibration error under any weights per user are O(n), as a bootstrap over
// users needs. The bins are those of the unweighted sample.
class SortedExamples {
 public:
  SortedExamples(Probabilities p, Labels labels, std::span<const std::int32_t> user);

  // NaN when undefined. weights: (users)
  double auc(std::span<const double> weights) const;
  double calibration_error(std::span<const double> weights, std::int32_t bins = kCalibrationBins) const;

 private:
  std::vector<double> p_, label_;
  std::vector<std::int32_t> user_;
  std::vector<std::int64_t> blocks_;  // ends of the blocks of equal predictions
};

}  // namespace piano
