// Requests to try `piano rerank` on.
#pragma once

#include <string>

namespace piano::tools {

// Writes the last `count` requests of a simulated log as they would come to be re-ranked: without labels, each with the history that `prepare`
// derives for it (docs/requests.md), since nothing is remembered between requests.
void write_requests_with_history(const std::string& log, std::size_t count, const std::string& out);

}  // namespace piano::tools
