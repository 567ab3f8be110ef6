// Systems that order a data set's requests, by the names that abtest and ope take.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "piano/evaluation_set.h"
#include "tools/command_line.h"
#include "tools/oracle.h"

namespace piano::tools {

inline constexpr const char* kSystemHelp = "a model file | initial | popularity | last (interacted first) | oracle";

class Systems {
 public:
  // `part`: one of kParts. `oracle`: a path, or "" for none.
  Systems(const data::Dataset& dataset, std::size_t part, const std::string& oracle, int threads);

  const std::vector<std::int64_t>& requests() const { return requests_; }
  const LabelledLists& lists() const { return set_.lists; }
  const std::string& oracle() const { return oracle_; }

  // What lists are sorted by, descending; equal scores in the first ranker's order. Throws ErrorCode::usage for "oracle" without one.
  std::vector<double> score(const std::string& system) const;

 private:
  const data::Dataset& dataset_;
  std::string oracle_;
  int threads_;
  std::vector<std::int64_t> requests_;
  EvaluationSet set_;
};

}  // namespace piano::tools
