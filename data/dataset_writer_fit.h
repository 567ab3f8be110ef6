// Fits a feature space on the training part alone.
#pragma once

#include "data/dataset_writer.h"
#include "data/feature_space.h"
#include "data/raw_columns.h"

namespace piano::data {

// What counts: the training requests, their candidates, and the events inside their histories, each event once. Everything else could be
// changed or removed without changing a bit of the result.
// Strings seen less than options.min_count times get no row; rows are ordered by count, largest first, then by bytes. Without a training request
// the space is empty: every string is out of vocabulary.
// With n-grams, terms are counted and known without regard to case. Item vectors come from outside of the log and are taken as they are.
// Events below `derived_events` belong to derived histories, which overlap; those after it to explicit ones, which do not.
FeatureSpace fit_feature_space(const RawColumns& log, const RawStrings& strings, std::int64_t derived_events, const WriterOptions& options);

}  // namespace piano::data
