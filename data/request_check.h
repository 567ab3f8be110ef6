// What is wrong with a request, in one line that names the JSON path. One rule for logs and for live requests.
#pragma once

#include <cstdint>

#include "data/interner.h"
#include "data/request.h"

namespace piano::data {

// Numbers a row of each dense column has; 0 = not known (yet).
struct DenseWidths {
  std::int32_t user = 0, item = 0, vector = 0;
};

class RequestChecker {
 public:
  // A line of a log: unknown widths are learnt from the first value; the past must be past and the target a candidate.
  // Throws ErrorCode::data, and then `widths` is unchanged.
  void check_logged(const Request& request, DenseWidths& widths);
  // A request to answer: what has width 0 is unknown to the model and not looked at, nor is the target, and an event may come from a clock
  // that is ahead.
  void check_live(const Request& request, DenseWidths widths);

 private:
  void check(const Request& request, DenseWidths& widths, bool learn);
  Interner seen_;  // ids of the list
};

}  // namespace piano::data
