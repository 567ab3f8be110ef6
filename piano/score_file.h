// Scores that another program gave to candidates, so that it stands in the same table.
//
// A text file, one candidate a line: request, item, score, separated by tabs (or blanks). Ids are written as in run files (trec_field). Lines of
// requests that are not asked for are passed over, as are empty lines.
#pragma once

#include <span>
#include <string>

#include "piano/evaluation.h"

namespace piano {

// Scores of every row of `lists`; several files are read as one. Throws ErrorCode::data with file:line for a line of another shape, a score that
// is no finite number, an item that is not in its list or stands there twice; and naming a candidate without a score.
std::vector<double> read_scores(std::span<const std::string> paths, const LabelledLists& lists);

}  // namespace piano
