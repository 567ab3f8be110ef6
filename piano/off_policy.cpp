#include "piano/off_policy.h"

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <numeric>

#include "engine/base/check.h"
#include "engine/base/random.h"

namespace piano {
namespace {

constexpr double kItemWeight = 10;  // examinations that an item needs to be believed as much as its rank

// Sums of a list, by what they are for.
enum Sum : std::size_t { kLogged, kIps, kRelevant, kDoublyRobust, kSums };
using ListSums = std::array<std::array<double, kSums>, 2>;  // clicks, conversions

class Policy {
 public:
  Policy(const ShownLog& log, std::span<const std::int32_t> new_position, const Examination& guess)
      : log_(log), new_position_(new_position), strata_(log),
        relevance_{cross_fitted_relevance(log, log.click, guess), cross_fitted_relevance(log, log.conversion, guess)} {
    PIANO_CHECK(static_cast<std::int64_t>(new_position.size()) == log.rows(), "new positions: one per row");
  }

  bool positions_vary() const {
    std::vector<std::int32_t> seen(static_cast<std::size_t>(strata_.size()), 0);
    for (std::int64_t row = 0; row < log_.rows(); ++row) {
      std::int32_t& position = seen[static_cast<std::size_t>(strata_.of(row))];
      if (position != 0 && position != log_.position[static_cast<std::size_t>(row)]) return true;
      position = log_.position[static_cast<std::size_t>(row)];
    }
    return false;
  }

  // Lists whose user has weight 0 are passed over: their sums are 0.
  std::vector<ListSums> sums(const Examination& theta, UserWeights weights) const {
    const std::vector<double> expected = expected_examination(theta, weights);
    std::vector<ListSums> result(static_cast<std::size_t>(log_.lists()));
    for (std::size_t l = 0; l < result.size(); ++l) {
      if (weights[static_cast<std::size_t>(log_.user[l])] == 0) continue;
      for (auto row = static_cast<std::size_t>(log_.offsets[l]); row < static_cast<std::size_t>(log_.offsets[l + 1]); ++row) {
        const double now = theta.at(new_position_[row]), logged = theta.at(log_.position[row]);
        const double mean = expected[static_cast<std::size_t>(strata_.of(static_cast<std::int64_t>(row)))];
        for (std::size_t kind = 0; kind < 2; ++kind) {
          const double label = (kind == 0 ? log_.click : log_.conversion)[row], r = relevance_[kind][row];
          result[l][kind][kLogged] += label;
          result[l][kind][kIps] += label * now / logged;
          result[l][kind][kRelevant] += label / logged;
          result[l][kind][kDoublyRobust] += now * (r + (label - logged * r) / mean);
        }
      }
    }
    return result;
  }

 private:
  // The mean theta at which items of each stratum were shown: (strata).
  std::vector<double> expected_examination(const Examination& theta, UserWeights weights) const {
    std::vector<double> sum(static_cast<std::size_t>(strata_.size()), 0.0), count(sum.size(), 0.0);
    for (std::size_t l = 0; l + 1 < log_.offsets.size(); ++l) {
      const double w = weights[static_cast<std::size_t>(log_.user[l])];
      for (std::int64_t row = log_.offsets[l]; row < log_.offsets[l + 1]; ++row) {
        const auto s = static_cast<std::size_t>(strata_.of(row));
        sum[s] += w * theta.at(log_.position[static_cast<std::size_t>(row)]);
        count[s] += w;
      }
    }
    for (std::size_t s = 0; s < sum.size(); ++s) sum[s] /= count[s];  // a stratum that was not drawn is asked by no list
    return sum;
  }

  const ShownLog& log_;
  std::span<const std::int32_t> new_position_;
  Strata strata_;
  std::array<std::vector<double>, 2> relevance_;
};

// The five estimates of clicks, then of conversions, from the totals of a weighted log.
constexpr std::size_t kEstimates = 5;
void append_estimates(const std::array<double, kSums>& total, double requests, std::vector<double>& to) {
  const auto ratio = [](double a, double b) { return b > 0 ? a / b : std::numeric_limits<double>::quiet_NaN(); };
  for (const double value : {ratio(total[kLogged], requests), ratio(total[kIps], requests), ratio(total[kIps], total[kRelevant]),
                             ratio(total[kLogged], total[kRelevant]), ratio(total[kDoublyRobust], requests)}) {
    to.push_back(value);
  }
}

// Each user's sums over that user's lists, so that a draw of users costs little.
struct SumsOfUsers {
  std::vector<ListSums> sums;    // (users)
  std::vector<double> requests;  // (users)
};

SumsOfUsers by_user(const ShownLog& log, const std::vector<ListSums>& lists) {
  SumsOfUsers result{std::vector<ListSums>(static_cast<std::size_t>(log.users)), std::vector<double>(static_cast<std::size_t>(log.users), 0.0)};
  for (std::size_t l = 0; l < lists.size(); ++l) {
    const auto u = static_cast<std::size_t>(log.user[l]);
    result.requests[u] += 1;
    for (std::size_t kind = 0; kind < 2; ++kind)
      for (std::size_t s = 0; s < kSums; ++s) result.sums[u][kind][s] += lists[l][kind][s];
  }
  return result;
}

std::vector<double> estimates_of(const SumsOfUsers& users, UserWeights weights) {
  ListSums total{};
  double requests = 0;
  for (std::size_t u = 0; u < users.sums.size(); ++u) {
    requests += weights[u] * users.requests[u];
    for (std::size_t kind = 0; kind < 2; ++kind)
      for (std::size_t s = 0; s < kSums; ++s) total[kind][s] += weights[u] * users.sums[u][kind][s];
  }
  std::vector<double> values;
  for (const auto& of_kind : total) append_estimates(of_kind, requests, values);
  return values;
}

// All the estimates for one draw of users: bootstrap() asks its statistics in turn for each draw, and the first one computes for all.
using AllEstimates = std::function<std::vector<double>(UserWeights)>;

OffPolicyReport report(const Policy& policy, Examination examination, const ShownLog& log, const AllEstimates& all, const BootstrapOptions& options) {
  std::vector<double> values;
  std::vector<Statistic> statistics;
  for (std::size_t k = 0; k < 2 * kEstimates; ++k) {
    statistics.push_back([&, k](UserWeights weights) {
      if (k == 0) values = all(weights);
      return values[k];
    });
  }
  const std::vector<Estimate> e = bootstrap(log.users, statistics, options);
  const auto of = [&](std::size_t at) { return OffPolicyEstimates{e[at], e[at + 1], e[at + 2], e[at + 3], e[at + 4]}; };
  return {std::move(examination), policy.positions_vary(), of(0), of(kEstimates)};
}

}  // namespace

std::vector<std::int32_t> positions_by_score(const ShownLog& log, std::span<const double> score) {
  PIANO_CHECK(static_cast<std::int64_t>(score.size()) == log.rows(), "scores: one per row");
  std::vector<std::int32_t> result(score.size()), places;
  std::vector<std::size_t> order;
  for (std::size_t l = 0; l + 1 < log.offsets.size(); ++l) {
    const auto begin = static_cast<std::size_t>(log.offsets[l]), end = static_cast<std::size_t>(log.offsets[l + 1]);
    places.assign(log.position.begin() + log.offsets[l], log.position.begin() + log.offsets[l + 1]);
    std::sort(places.begin(), places.end());
    order.resize(end - begin);
    std::iota(order.begin(), order.end(), begin);
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score[a] > score[b]; });
    for (std::size_t place = 0; place < order.size(); ++place) result[order[place]] = places[place];
  }
  return result;
}

std::vector<double> cross_fitted_relevance(const ShownLog& log, std::span<const std::uint8_t> label, const Examination& examination,
                                           std::int32_t folds) {
  // By user, so that no user's whims are in the guess of that user's own rows.
  std::vector<std::int32_t> fold_of(static_cast<std::size_t>(log.users));
  RandomStream random(1, "off_policy.folds");
  for (std::int32_t& fold : fold_of) fold = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(folds)));
  const std::int32_t ranks = log.rank.empty() ? 0 : *std::max_element(log.rank.begin(), log.rank.end());

  const auto rows_where = [&](auto wanted, const auto& visit) {
    for (std::size_t l = 0; l + 1 < log.offsets.size(); ++l) {
      if (!wanted(fold_of[static_cast<std::size_t>(log.user[l])])) continue;
      for (auto row = static_cast<std::size_t>(log.offsets[l]); row < static_cast<std::size_t>(log.offsets[l + 1]); ++row) visit(row);
    }
  };
  std::vector<double> result(static_cast<std::size_t>(log.rows()), 0.0);
  for (std::int32_t fold = 0; fold < folds; ++fold) {
    const auto other = [&](std::int32_t f) { return f != fold; };
    std::vector<double> chosen(static_cast<std::size_t>(ranks) + 1, 0.5), examined(chosen.size(), 1.0);  // by rank
    rows_where(other, [&](std::size_t row) {
      const auto k = static_cast<std::size_t>(log.rank[row]);
      chosen[k] += label[row];
      examined[k] += examination.at(log.position[row]);
    });
    const auto of_rank = [&](std::size_t row) {
      const auto k = static_cast<std::size_t>(log.rank[row]);
      return chosen[k] / examined[k];
    };
    // Against its rank's mean, an item's choices: observed and expected. The prior is worth kItemWeight examinations of a mean item.
    std::vector<double> observed(static_cast<std::size_t>(log.items), 0.0), expected(observed.size(), 0.0);
    double choices = 0, examinations = 0;
    rows_where(other, [&](std::size_t row) {
      const auto item = static_cast<std::size_t>(log.item[row]);
      const double theta = examination.at(log.position[row]);
      observed[item] += label[row];
      expected[item] += theta * of_rank(row);
      choices += theta * of_rank(row), examinations += theta;
    });
    const double prior = examinations > 0 ? kItemWeight * choices / examinations : 1.0;
    rows_where([&](std::int32_t f) { return f == fold; }, [&](std::size_t row) {
      const auto item = static_cast<std::size_t>(log.item[row]);
      result[row] = std::min(of_rank(row) * (observed[item] + prior) / (expected[item] + prior), 1.0);
    });
  }
  return result;
}

OffPolicyReport off_policy(const ShownLog& log, std::span<const std::int32_t> new_position, const Examination& examination,
                           const BootstrapOptions& options) {
  const Policy policy(log, new_position, examination);
  const std::vector<double> once(static_cast<std::size_t>(log.users), 1.0);
  const SumsOfUsers users = by_user(log, policy.sums(examination, once));
  return report(policy, examination, log, [&](UserWeights w) { return estimates_of(users, w); }, options);
}

OffPolicyReport off_policy(const ShownLog& log, std::span<const std::int32_t> new_position, const ExaminationEstimator& estimator,
                           const BootstrapOptions& options) {
  const std::vector<double> once(static_cast<std::size_t>(log.users), 1.0);
  Examination examination = estimator.estimate(once);
  const Policy policy(log, new_position, examination);
  const AllEstimates all = [&](UserWeights w) { return estimates_of(by_user(log, policy.sums(estimator.estimate(w), w)), w); };
  return report(policy, std::move(examination), log, all, options);
}

}  // namespace piano
