// What another order would have earned, from a log alone. Under the position-based model an item's click is theta_position * relevance, so a
// logged click at position r counts theta(new) / theta(r) times under the order that moves it to `new`. docs/experiments.md has formulas and
// limits: neighbours that take each other's clicks are no part of the model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "piano/examination.h"
#include "piano/statistics.h"

namespace piano {

// Where each row would be shown if each list were sorted by descending `score` (rows; equal ones as they stand): the best item at the topmost of
// the list's logged positions, and so on. (rows)
std::vector<std::int32_t> positions_by_score(const ShownLog& log, std::span<const double> score);

// A guess of each row's relevance P(label | examined), from the other folds' users alone: the mean of its rank times how often its item is
// chosen against that mean, both corrected for theta. (rows)
std::vector<double> cross_fitted_relevance(const ShownLog& log, std::span<const std::uint8_t> label, const Examination& examination,
                                           std::int32_t folds = 5);

// Per request, for clicks and for conversions.
struct OffPolicyEstimates {
  Estimate logged;       // what happened
  Estimate ips;          // sum_i c_i theta(new_i) / theta(log_i)   (Joachims, Swaminathan & Schnabel, WSDM 2017)
  Estimate snips;        // the same sum / sum_i c_i / theta(log_i): the mean examination of what is relevant (after Swaminathan & Joachims,
                         // NIPS 2015); no unit of clicks, but it does not depend on how many there were
  Estimate snips_logged; // that of the logged order
  // sum_i theta(new_i) [r_i + (c_i - theta(log_i) r_i) / d_i]   (Dudik, Langford & Li, ICML 2011; for positions: Oosterhuis, TOIS 2023), where
  // d_i is the mean theta of the positions at which items of i's stratum were logged. Where positions never vary d_i = theta(log_i), r_i
  // cancels, and it is IPS.
  Estimate doubly_robust;
};

struct OffPolicyReport {
  Examination examination;
  bool positions_vary = false;
  OffPolicyEstimates click, conversion;
};

// `examination`: given. Intervals are a bootstrap over users.
OffPolicyReport off_policy(const ShownLog& log, std::span<const std::int32_t> new_position, const Examination& examination,
                           const BootstrapOptions& options);
// Estimated by EM, anew for each draw of users, so that the intervals hold its error too.
OffPolicyReport off_policy(const ShownLog& log, std::span<const std::int32_t> new_position, const ExaminationEstimator& estimator,
                           const BootstrapOptions& options);

}  // namespace piano
