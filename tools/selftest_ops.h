// The kernels of one level against the reference in double, on the op table's own cases: forward and backward.
#pragma once

#include <string>
#include <vector>

#include "engine/core/device.h"

namespace piano::tools {

struct OpCheck {
  int cases = 0;
  std::vector<std::string> failures;  // "linear, case 'odd widths'"
};

OpCheck check_ops(const Device& device);

}  // namespace piano::tools
