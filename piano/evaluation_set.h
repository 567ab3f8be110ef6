// Requests of a packed data set made ready for evaluate(): what really happened, the slices, and the systems that need no model.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/feature_space.h"
#include "piano/evaluation.h"

namespace piano {

struct EvaluationSet {
  LabelledLists lists;
  std::vector<Predictions> heuristics;  // "initial order", "popularity", "last-interacted-first"; equal scores by initial rank
};

// Lists in the order of `requests`. `features` is the model's, which says what kinds of conversion there are, and `builder` one of its builders,
// attached to `dataset`. `dataset` must outlive the result, whose ids are views into it.
//
// Popularity and "unseen" are by the data set's own training part (training_part.h), whatever the model was trained on.
//
// Slices: history, no history; unseen user; unseen query; mostly unseen items; up to 10, 11 to 30, more than 30 candidates; head and tail
// queries (head: the most frequent queries of the data set's training part that together make up half of its requests; tail: all others).
EvaluationSet evaluation_set(const data::Dataset& dataset, std::span<const std::int64_t> requests, const data::FeatureSpace& features,
                             data::BatchBuilder& builder);

// The head queries, sorted by text. Empty when the data set has no training part, or no queries in it.
std::vector<std::string_view> head_queries(const data::Dataset& dataset);

}  // namespace piano
