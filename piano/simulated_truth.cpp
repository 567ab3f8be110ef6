#include "piano/simulated_truth.h"

#include <algorithm>
#include <numeric>

namespace piano {
namespace {

constexpr std::size_t kReach = 2;  // places on either side that compete (data::competition)

// Expected conversions of the places that an exchange of i and j, i < j, can change.
double near_both(std::span<const data::TrueItem> shown, std::span<const double> examined, double eta, std::size_t i, std::size_t j) {
  double sum = 0;
  const auto add = [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) sum += examined[r] * data::competition(shown, r, eta) * shown[r].click * shown[r].convert;
  };
  const std::size_t n = shown.size(), middle = std::min(i + kReach + 1, n);
  add(i >= kReach ? i - kReach : 0, middle);
  add(std::max(middle, j >= kReach ? j - kReach : 0), std::min(j + kReach + 1, n));
  return sum;
}

}  // namespace

TrueValue true_value(std::span<const data::TrueItem> shown, const data::ResponseDials& dials) {
  TrueValue value;
  double no_click = 1, no_conversion = 1;  // among the places down to this one, all of them looked at
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const double click = shown[i].click * data::competition(shown, i, dials.eta), both = click * shown[i].convert;
    const double examined = data::examination(i + 1, dials.position_bias);
    value.clicks += examined * click, value.conversions += examined * both;
    no_click *= 1 - click, no_conversion *= 1 - both;
    const double ends_here = examined - (i + 1 < shown.size() ? data::examination(i + 2, dials.position_bias) : 0);  // P(read to here, no further)
    value.any_click += ends_here * (1 - no_click), value.any_conversion += ends_here * (1 - no_conversion);
  }
  return value;
}

std::vector<double> best_order(const SimulatedTruth& truth, std::span<const std::int64_t> offsets) {
  std::vector<double> score(truth.item.size()), examined;
  std::vector<std::size_t> order;
  std::vector<data::TrueItem> shown;
  for (std::size_t l = 0; l + 1 < offsets.size(); ++l) {
    const auto begin = static_cast<std::size_t>(offsets[l]), n = static_cast<std::size_t>(offsets[l + 1]) - begin;
    order.resize(n);
    std::iota(order.begin(), order.end(), begin);
    const auto isolated = [&](std::size_t row) { return truth.item[row].click * truth.item[row].convert; };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return isolated(a) > isolated(b); });
    shown.clear();
    for (const std::size_t row : order) shown.push_back(truth.item[row]);
    while (examined.size() < n) examined.push_back(data::examination(examined.size() + 1, truth.dials.position_bias));

    for (bool better = truth.dials.eta > 0; better;) {
      better = false;
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = i + 1; j < n; ++j) {
          const double before = near_both(shown, examined, truth.dials.eta, i, j);
          std::swap(shown[i], shown[j]);
          if (near_both(shown, examined, truth.dials.eta, i, j) > before + 1e-12) {
            std::swap(order[i], order[j]);
            better = true;
          } else {
            std::swap(shown[i], shown[j]);
          }
        }
      }
    }
    for (std::size_t place = 0; place < n; ++place) score[order[place]] = -static_cast<double>(place);
  }
  return score;
}

}  // namespace piano
