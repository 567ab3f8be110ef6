// Builds a packed data set in bounded memory: columns are spilled to temporary files as requests arrive; commit() sorts the events, derives
// histories, splits, fits the feature space on the training part and joins everything into one file. What stays in memory is O(distinct
// strings + users), and a hash per request id; never O(candidates or events).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "data/dataset.h"
#include "data/request.h"

namespace piano::data {

enum class SplitKind { time, user, none, given, automatic };

struct WriterOptions {
  SplitKind split = SplitKind::time;  // none: everything is test; given: as set_part() says; automatic: time, or user where no request has a time
  int folds = 5, fold = 1;            // split = user: users whose hash falls into this fold are test; a tenth of the others is valid
  double valid_fraction = 0.1, test_fraction = 0.1;  // split = time: the last requests by time (ties stay together)
  int min_count = 2;                  // strings seen less often in the training part get no row of their own
  Ngrams ngrams;                      // of query terms; case counts for nothing then
  ItemVectors item_vectors;           // of candidates and past items that bring none of their own
  std::string format;                 // recorded in the metadata
  std::int64_t cosine_work = std::int64_t{1} << 24;  // users of items looked at, some hundredths of a second: to scale the cosines of a larger log, lists are skipped
};

// Where in the input something stands; lines and columns count from 1, 0 = unknown.
struct SourcePosition {
  std::string file;
  std::int64_t line = 0, column = 0;
};

class DatasetWriter {
 public:
  DatasetWriter(std::string path, WriterOptions options);
  ~DatasetWriter();

  // Checks (ErrorCode::data, naming the JSON path: "candidates[3].id: ..."): at least one candidate, no id twice, conversion <= click, finite
  // numbers, dense and vector widths as in the first request that had them, no position twice, the target among the candidates, an explicit
  // history oldest first and not later than the request, an id that no request before had. On an error nothing of the request was
  // added. A request without an id is called "request-<n>", n from 1.
  //
  // History: explicit when request.has_history; else derived from the user's events with (time, order) strictly before the request's own.
  // A request without a user or a time derives an empty history.
  // With derive_events the request itself becomes events for the user's later requests: one per candidate clicked or converted ("click" or
  // "conversion"), or one with the query alone (action "search") when there was none.
  void add_request(const Request& request, std::int64_t order, bool derive_events);

  // With split = given: the part of the requests that follow; training until told otherwise. Throws ErrorCode::usage with any other split.
  void set_part(Split part);

  // An event of the user's, for logs that record them apart from requests. One without a time lies before all that have one.
  void add_event(std::string_view user, const Event& event, std::int64_t order);

  std::int64_t requests() const;

  // Writes the file (temp + rename). `progress(done, total)` is called now and then; may be empty. Throws ErrorCode::data when there is no
  // request at all, or no training request while split != none.
  void commit(const std::function<void(std::int64_t, std::int64_t)>& progress = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace piano::data
