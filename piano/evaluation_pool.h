// Several data sets as one test: the test parts of all folds together, so that every user of a log is judged once and one paired interval
// speaks of all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "piano/evaluation_set.h"

namespace piano {

struct EvaluationPart {
  const data::Dataset* data = nullptr;      // must outlive the result
  std::vector<std::int64_t> requests;
};

// Lists part after part, in the order of their requests, with the heuristics of evaluation_set() and collaborative.h, which go by each data set's
// own training part; a user of two parts is one user. Throws ErrorCode::data when a request stands in two parts: they are no folds of one log then.
EvaluationSet pooled_evaluation_set(std::span<const EvaluationPart> parts);

// Appends what a system says of a further part.
void append(Predictions& all, const Predictions& part);

}  // namespace piano
