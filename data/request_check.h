// What is wrong with a request, in one line that names the JSON path. One rule for logs and for live requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "data/request.h"

namespace piano::data {

// Numbers a row of each dense column has; 0 = not known (yet).
struct DenseWidths {
  std::int32_t user = 0, item = 0, vector = 0;
};

class RequestChecker {
 public:
  // A line of a log: unknown widths are learnt from the first value. Throws ErrorCode::data, and then `widths` is unchanged.
  void check_logged(const Request& request, DenseWidths& widths);
  // A request to answer: what has width 0 is unknown to the model and not looked at. Everything else is as for a log, labels and target too:
  // a line that can be answered can be logged, where the log has room for its kinds of conversion. Throws ErrorCode::data.
  void check_live(const Request& request, DenseWidths widths);

 private:
  using Shown = std::pair<std::int64_t, std::size_t>;  // position, candidate

  void check(const Request& request, DenseWidths& widths, bool learn);
  void check_history(const Request& request) const;
  std::size_t first_with_id_of(std::span<const Candidate> candidates, std::size_t i);
  void check_positions(std::span<const Candidate> candidates);

  struct Seen {
    std::uint32_t hash;
    std::int32_t candidate;    // -1 = empty
  };
  std::vector<Seen> seen_;     // ids of the list, a hash table; these are kept for their memory
  std::vector<Shown> shown_;
};

}  // namespace piano::data
