// Examination by position, theta: the position-based model P(click at position r) = theta_r * P(relevant) (Richardson, Dominowska & Ragno,
// WWW 2007; Craswell et al., WSDM 2008). Given as a file, or estimated from a log in which positions vary at random.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "piano/statistics.h"

namespace piano {

struct Examination {
  std::vector<double> theta;  // of position 1, 2, ..; each in (0, 1]; when estimated, the largest is 1

  double at(std::int32_t position) const {  // position >= 1; beyond the last one: the last
    return theta[std::min(static_cast<std::size_t>(position), theta.size()) - 1];
  }
};

// Text, one number a line: theta_1, theta_2, .. Throws ErrorCode::data with file:line:column for anything but a number in (0, 1].
Examination read_examination(const std::string& path);
void write_examination(const Examination& examination, const std::string& path);

// What was shown: items with labels, list by list, in the first ranker's order.
struct ShownLog {
  std::vector<std::int64_t> offsets{0};         // (lists + 1)
  std::vector<std::int32_t> user;               // (lists): 0 .. users-1
  std::int32_t users = 0;
  std::vector<std::int32_t> position, rank;     // (rows): shown at, and in the first ranker's order, both from 1
  std::vector<std::int32_t> item;               // (rows): 0 .. items-1
  std::int32_t items = 0;
  std::vector<std::uint8_t> click, conversion;  // (rows): 0/1

  std::int64_t lists() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t rows() const { return offsets.back(); }
};

// Items alike in the length of their list and in their rank there form a stratum. Where the log moved items at random, the mean relevance of
// a stratum's items is the same at every position, whatever the ranker knew.
class Strata {
 public:
  explicit Strata(const ShownLog& log);
  std::int32_t size() const { return size_; }
  std::int32_t of(std::int64_t row) const { return of_[static_cast<std::size_t>(row)]; }

 private:
  std::vector<std::int32_t> of_;  // (rows)
  std::int32_t size_ = 0;
};

// theta by expectation maximisation (Wang et al., "Position bias estimation for unbiased learning to rank in personal search", WSDM 2018, with
// the stratum's relevance in place of their regression): P(click) = theta_position * relevance_stratum.
class ExaminationEstimator {
 public:
  // Throws ErrorCode::data where the positions do not vary enough to tell theta from relevance: every position must be connected with the first
  // one through strata shown at both. `log` must outlive the estimator.
  ExaminationEstimator(const ShownLog& log, const std::string& name_of_log);

  Examination estimate(UserWeights weights) const;  // weights: (users), of a bootstrap; all ones: the log itself

 private:
  struct Cell { std::int32_t stratum, position; };  // position from 0
  const ShownLog& log_;
  std::vector<Cell> cells_;
  std::vector<std::int32_t> cell_of_;  // (rows)
  std::int32_t strata_ = 0, positions_ = 0;
};

}  // namespace piano
