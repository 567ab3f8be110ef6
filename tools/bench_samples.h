// Repeated measurements: median and range.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace piano::tools {

class Samples {
 public:
  Samples() = default;
  explicit Samples(std::vector<double> values) : values_(std::move(values)) { std::sort(values_.begin(), values_.end()); }
  void add(double value) { values_.insert(std::upper_bound(values_.begin(), values_.end(), value), value); }

  bool empty() const { return values_.empty(); }
  double low() const { return quantile(0); }
  double high() const { return quantile(1); }
  double median() const { return quantile(0.5); }
  // The smallest value that at least this fraction of all values does not exceed; not a number when there are none.
  double quantile(double fraction) const {
    if (values_.empty()) return std::numeric_limits<double>::quiet_NaN();
    const double place = std::ceil(fraction * static_cast<double>(values_.size())) - 1;
    return values_[static_cast<std::size_t>(std::max(place, 0.0))];
  }

 private:
  std::vector<double> values_;  // ascending
};

}  // namespace piano::tools
