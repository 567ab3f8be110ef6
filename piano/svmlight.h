// The numbers that PIANO is given of each candidate as SVMLight lines, for learners that know no ids (tools/lambdamart).
//
//   <label> qid:<request> 1:<value> .. # <request id> <item id> <labelled> <target>
//
// Label: click + conversion. Values that are 0 are left out. The first line, a comment, names the columns: place, length of the list and of the
// history (log1p), then the scaled score, user and item numbers, each with its "present" column where the log has
// them; for the score and each item number the share of the list's other candidates that have a lower one; the match features.
#pragma once

#include <span>
#include <string>

#include "data/dataset.h"

namespace piano {

// One line a candidate, in the order of `requests`. Ids are written as in run files (trec_field). Throws ErrorCode::io.
void write_svmlight(const std::string& path, const data::Dataset& data, std::span<const std::int64_t> requests);

}  // namespace piano
