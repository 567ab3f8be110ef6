// This program as a child, for what can only be measured from outside: start-up, and the peak memory of one task.
#pragma once

#include <string>
#include <vector>

namespace piano::tools {

struct ChildResult {
  std::string output;
  double first_line_ms = 0;  // from the start to the first line of its output
};

// Runs `piano <arguments>` with `input` on its stdin (a few kB at most). Throws ErrorCode::internal when it fails.
ChildResult run_piano(const std::vector<std::string>& arguments, const std::string& input);

}  // namespace piano::tools
