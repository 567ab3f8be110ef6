// Inside BatchBuilder: one request of any RawColumns becomes rows of a Batch. Data sets and live requests both come this way, so a request
// read from a log and the same request served give the same bits.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "data/dataset.h"
#include "data/match_features.h"
#include "data/raw_columns.h"
#include "data/request_check.h"

namespace piano::data {

// Raw ids of one log to rows of one FeatureSpace.
struct RawIdMaps {
  struct FieldMap {
    std::int32_t column = -1;              // which raw field it is; -1: the log does not have it
    std::vector<std::int32_t> rows;
  };
  std::vector<std::int32_t> user, query, item, action;
  BagColumn terms;                         // of each raw term: its row, and those of its n-grams
  std::vector<std::int32_t> item_vector;   // rows of the item vectors; empty when there are none
  std::vector<FieldMap> user_fields, context_fields, item_fields;  // one per schema field
  MatchMaps match;
  std::vector<std::int32_t> kinds;         // see kind_columns()
};

// Of each kind of conversion that the schema has: its place among the log's kinds, kPlainColumn for RawColumns::conversion of a log without
// names, kNoColumn where the log knows nothing of it.
inline constexpr std::int32_t kNoColumn = -1, kPlainColumn = -2;
std::vector<std::int32_t> kind_columns(const Schema& schema, const std::vector<std::string>& log_kinds);
inline std::span<const std::uint8_t> conversion_column(const RawColumns& log, std::int32_t column) {
  return column >= 0 ? log.conversions[static_cast<std::size_t>(column)] : column == kPlainColumn ? log.conversion : std::span<const std::uint8_t>();
}

// A live request as RawColumns of one row, with dictionaries of its own. Keeps its memory from request to request.
class LiveRequest {
 public:
  explicit LiveRequest(const FeatureSpace& features);
  ~LiveRequest();
  void fill(const Request& request);       // requires: a checked request
  const RawColumns& columns() const;
  const RawIdMaps& maps() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct BatchBuilder::Impl {
  Impl(const FeatureSpace& f, BuilderLimits l) : features(f), limits(l), match(f), live(f) {}

  void append(const RawColumns& log, const RawIdMaps& maps, std::int64_t r, Batch& batch);
  void append_history(const RawColumns& log, const RawIdMaps& maps, std::int64_t r, Batch& batch);
  void append_candidates(const RawColumns& log, const RawIdMaps& maps, std::int64_t r, Batch& batch);
  void append_conversions(const RawColumns& log, const RawIdMaps& maps, std::int64_t begin, std::int64_t end, Batch& batch) const;
  void append_matches(const RawColumns& log, std::int64_t r, Batch& batch) const;
  void append_vectors(const DenseColumn* own, std::int64_t begin, const RawIdMaps& maps, std::span<const std::int32_t> raw,
                      std::vector<float>& out) const;
  void append_queries(const RawColumns& log, const RawIdMaps& maps, std::span<const std::int32_t> raw, QueryColumns& out) const;
  void prepare(Batch& batch) const;        // empty, with one column per field

  const FeatureSpace& features;
  BuilderLimits limits;
  MatchFeatures match;
  RequestChecker checker;
  LiveRequest live;
  const Dataset* dataset = nullptr;
  std::shared_ptr<const RawIdMaps> maps;
};

}  // namespace piano::data
