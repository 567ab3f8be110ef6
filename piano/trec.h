// Run and qrels files in TREC format, so that trec_eval and its kin can check our numbers.
//
// A run line is "request Q0 item place score tag"; scores are n, n-1, .., 1, strictly decreasing, because trec_eval sorts by score (as a
// 32-bit float) and breaks ties in its own way: with these it sees the order that was evaluated. A qrels line is "request 0 item grade".
//
// Ids are percent-encoded where they hold whitespace, control characters or '%' (trec_field). A request without an id gets "#" and its list
// number, from 0.
#pragma once

#include <string>
#include <string_view>

#include "piano/evaluation.h"

namespace piano {

enum class TrecGrades {
  click_plus_conversion,  // y + z; only labelled candidates are written, to both files
  target                  // 1 for the target; all candidates of lists that have one
};

// An id as one field of a line: bytes up to 0x20, 0x7f and '%' become %XX.
std::string trec_field(std::string_view id);

// The order is that of show_order(): exact ties by the hash of options.tie_seed, whatever options.ties says: a run is one permutation.
// Lists of which nothing is to be written are left out of both files. Throws ErrorCode::io.
void write_trec_run(const std::string& path, const LabelledLists& lists, const Predictions& system, TrecGrades grades,
                    const EvaluationOptions& options);
void write_trec_qrels(const std::string& path, const LabelledLists& lists, TrecGrades grades);

}  // namespace piano
