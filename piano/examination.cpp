#include "piano/examination.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace piano {
namespace {

constexpr int kStartRounds = 30, kMostRounds = 100;
constexpr double kConverged = 1e-5;  // the largest change of a theta in a round

}  // namespace

Examination read_examination(const std::string& path) {
  const MappedFile file(path);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  Examination result;
  std::int64_t line = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    ++line;
    double value = 0;
    const auto parsed = std::from_chars(text.data() + begin, text.data() + end, value);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + end || !(value > 0 && value <= 1)) {
      throw Error(ErrorCode::data, path + ":" + std::to_string(line) + ":1: expected a number above 0 and up to 1, the chance that position " +
                                       std::to_string(line) + " is looked at, got '" + std::string(text.substr(begin, std::min<std::size_t>(end - begin, 40))) + "'");
    }
    result.theta.push_back(value);
    begin = end + 1;
  }
  if (result.theta.empty()) throw Error(ErrorCode::data, path + ":1:1: expected one number a line, the file is empty");
  return result;
}

void write_examination(const Examination& examination, const std::string& path) {
  AtomicFile file(path);
  for (const double theta : examination.theta) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g\n", theta);
    file.write(text);
  }
  file.commit();
}

Strata::Strata(const ShownLog& log) {
  std::map<std::array<std::int64_t, 2>, std::int32_t> known;  // (length, rank)
  for (std::int64_t l = 0; l < log.lists(); ++l) {
    const std::int64_t begin = log.offsets[static_cast<std::size_t>(l)], end = log.offsets[static_cast<std::size_t>(l) + 1];
    for (std::int64_t row = begin; row < end; ++row) {
      of_.push_back(known.emplace(std::array{end - begin, std::int64_t{log.rank[static_cast<std::size_t>(row)]}}, size_).first->second);
      size_ = static_cast<std::int32_t>(known.size());
    }
  }
}

ExaminationEstimator::ExaminationEstimator(const ShownLog& log, const std::string& name_of_log) : log_(log) {
  const Strata strata(log);
  strata_ = strata.size();
  std::map<std::array<std::int32_t, 2>, std::int32_t> known;  // (stratum, position)
  for (std::int64_t row = 0; row < log.rows(); ++row) {
    const Cell cell{strata.of(row), log.position[static_cast<std::size_t>(row)] - 1};
    const auto [entry, added] = known.emplace(std::array{cell.stratum, cell.position}, static_cast<std::int32_t>(cells_.size()));
    if (added) cells_.push_back(cell);
    cell_of_.push_back(entry->second);
    positions_ = std::max(positions_, cell.position + 1);
  }
  // Positions that a stratum was shown at belong together.
  std::vector<std::int32_t> group(static_cast<std::size_t>(positions_)), first(static_cast<std::size_t>(strata_), -1);
  std::iota(group.begin(), group.end(), 0);
  const auto root = [&](std::int32_t p) {
    while (group[static_cast<std::size_t>(p)] != p) p = group[static_cast<std::size_t>(p)];
    return p;
  };
  bool varies = false;
  for (const Cell& cell : cells_) {
    std::int32_t& other = first[static_cast<std::size_t>(cell.stratum)];
    varies = varies || other >= 0;
    if (other >= 0) group[static_cast<std::size_t>(root(cell.position))] = root(other);
    else other = cell.position;
  }
  const std::string advice = "; give --theta FILE, or log with random swaps (piano simulate --swap)";
  if (!varies) {
    throw Error(ErrorCode::data, name_of_log + ": position bias cannot be estimated: every item was shown where the first ranker put it, so that "
                                     "position and relevance cannot be told apart" + advice);
  }
  for (std::int32_t p = 0; p < positions_; ++p) {
    if (root(p) == root(0)) continue;
    throw Error(ErrorCode::data, name_of_log + ": position bias cannot be estimated: position " + std::to_string(p + 1) +
                                     " never changed its items with a position that leads to the first one" + advice);
  }
}

Examination ExaminationEstimator::estimate(UserWeights weights) const {
  std::vector<double> shown(cells_.size(), 0.0), clicked(cells_.size(), 0.0);
  for (std::int64_t l = 0; l < log_.lists(); ++l) {
    const double w = weights[static_cast<std::size_t>(log_.user[static_cast<std::size_t>(l)])];
    if (w == 0) continue;
    for (auto row = static_cast<std::size_t>(log_.offsets[static_cast<std::size_t>(l)]);
         row < static_cast<std::size_t>(log_.offsets[static_cast<std::size_t>(l) + 1]); ++row) {
      shown[static_cast<std::size_t>(cell_of_[row])] += w;
      clicked[static_cast<std::size_t>(cell_of_[row])] += w * log_.click[row];
    }
  }
  std::vector<double> theta(static_cast<std::size_t>(positions_), 0.5), relevance(static_cast<std::size_t>(strata_), 0.5);
  std::vector<double> up, down;
  // theta_r, or a stratum's relevance: the sum of `numerator` over its cells divided by that of `denominator`. A pseudo-count keeps what was
  // never clicked above 0.
  const auto divide = [&](std::vector<double>& to, auto index, auto numerator, auto denominator) {
    up.assign(to.size(), 1e-3), down.assign(to.size(), 1e-3 / 0.5);
    for (std::size_t c = 0; c < cells_.size(); ++c) {
      if (shown[c] == 0) continue;
      const auto k = static_cast<std::size_t>(index(cells_[c]));
      up[k] += numerator(c), down[k] += denominator(c);
    }
    for (std::size_t k = 0; k < to.size(); ++k) to[k] = std::min(up[k] / down[k], 1.0);
  };
  const auto position = [](const Cell& c) { return c.position; };
  const auto stratum = [](const Cell& c) { return c.stratum; };
  const auto theta_of = [&](std::size_t c) { return theta[static_cast<std::size_t>(cells_[c].position)]; };
  const auto relevance_of = [&](std::size_t c) { return relevance[static_cast<std::size_t>(cells_[c].stratum)]; };

  // A start near the end: clicks = shown * theta * relevance holds in sums over each position and over each stratum. EM alone is slow where
  // clicks are rare, since an item without a click says little.
  for (int round = 0; round < kStartRounds; ++round) {
    divide(relevance, stratum, [&](std::size_t c) { return clicked[c]; }, [&](std::size_t c) { return shown[c] * theta_of(c); });
    divide(theta, position, [&](std::size_t c) { return clicked[c]; }, [&](std::size_t c) { return shown[c] * relevance_of(c); });
  }
  for (int round = 0; round < kMostRounds; ++round) {
    // E step: P(examined) and P(relevant) where there was no click. M step: their means.
    const std::vector<double> before = theta;
    std::vector<double> examined(cells_.size()), relevant(cells_.size());
    for (std::size_t c = 0; c < cells_.size(); ++c) {
      const double t = theta_of(c), r = relevance_of(c), none = std::max(1 - t * r, 1e-12), ignored = shown[c] - clicked[c];
      examined[c] = clicked[c] + ignored * t * (1 - r) / none;
      relevant[c] = clicked[c] + ignored * r * (1 - t) / none;
    }
    divide(theta, position, [&](std::size_t c) { return examined[c]; }, [&](std::size_t c) { return shown[c]; });
    divide(relevance, stratum, [&](std::size_t c) { return relevant[c]; }, [&](std::size_t c) { return shown[c]; });
    double change = 0;
    for (std::size_t r = 0; r < theta.size(); ++r) change = std::max(change, std::fabs(theta[r] - before[r]));
    if (change < kConverged) break;
  }
  // theta and relevance are known up to a factor; estimators use ratios of thetas alone.
  Examination result;
  const double largest = *std::max_element(theta.begin(), theta.end());
  for (const double t : theta) result.theta.push_back(t / largest);
  return result;
}

}  // namespace piano
