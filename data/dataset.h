// The packed data set (data/README.md documents the file): a memory-mapped safetensors file of columns, written by `prepare`.
//
// All strings of the whole log are in per-kind dictionaries; columns hold dictionary indices ("raw ids"), which say who is who but are no
// embedding rows: a BatchBuilder maps them to rows of a FeatureSpace. History is one event table sorted by user and time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/batch.h"
#include "data/feature_space.h"
#include "data/request.h"

namespace piano::data {

enum class Split : std::uint8_t { train = 0, valid = 1, test = 2 };

class Dataset {
 public:
  // Checks every offset and index once, in one pass over the file. Throws ErrorCode::io or ErrorCode::model.
  explicit Dataset(const std::string& path);

  const std::string& path() const;
  std::shared_ptr<const SafetensorsFile> file() const;
  const FeatureSpace& features() const;         // fitted on this file's training part
  std::string fingerprint() const;              // of the data: what a training state is tied to (the file's checksum)

  std::int64_t size() const;                    // requests
  std::vector<std::int64_t> requests(Split split) const;   // indices, in file order
  Split split(std::int64_t request) const;

  // Facts of one request, for evaluation and reports.
  std::string_view id(std::int64_t request) const;
  std::string_view user(std::int64_t request) const;        // "" when missing
  std::string_view query(std::int64_t request) const;       // as text; "" when missing
  std::int64_t time(std::int64_t request) const;            // INT64_MIN when missing
  std::int64_t candidate_begin(std::int64_t request) const;
  std::int64_t candidate_end(std::int64_t request) const;
  std::int64_t history_size(std::int64_t request) const;    // before the cut
  std::int64_t target(std::int64_t request) const;          // candidate index within the list, or -1
  std::string_view item(std::int64_t candidate) const;
  std::int32_t raw_item(std::int64_t candidate) const;
  std::int32_t raw_items() const;                           // size of the item dictionary
  std::span<const std::uint8_t> clicks() const;             // (candidates): 0/1
  std::span<const std::uint8_t> conversions() const;        // of any kind
  // Of each kind of a schema: (candidates) of 0, 1 or kUnknownLabel; empty where this log knows nothing of the kind.
  std::vector<std::span<const std::uint8_t>> conversions(const Schema& schema) const;
  std::span<const std::uint8_t> labelled() const;           // 1: labels known and shown
  std::span<const std::int32_t> positions() const;          // shown at, from 1; 0: not shown
  const std::string& metadata(const std::string& key) const;// "" when absent: split kind, folds, sources, ...

  struct Columns;                                           // data/dataset_columns.h: raw ids, for the data layer and for counting
  const Columns& columns() const;

 private:
  std::shared_ptr<const Columns> columns_;
};

struct BuilderLimits {
  std::int32_t max_history = 50;   // most recent events kept, after match features saw all of them
  std::int32_t max_terms = 16;     // terms of a query kept
  bool match = true;               // false: match features are zeros (an ablation)
  bool cosine = true;              // false: these columns of them are
};

// Makes micro-batches: one piece of code for training, evaluation and serving. One builder per thread. The FeatureSpace (and Dataset) must
// outlive it. After warm-up build() does not allocate.
class BatchBuilder {
 public:
  BatchBuilder(const FeatureSpace& features, BuilderLimits limits);
  ~BatchBuilder();
  BatchBuilder(BatchBuilder&&) noexcept;

  // Before build(dataset, ...): maps the data set's raw ids to rows of `features` (which need not be the data set's own). Throws
  // ErrorCode::data with schema_difference() when the schemas do not fit.
  // Builders of other threads can share the maps: share_maps_with(first).
  void attach(const Dataset& dataset);
  void share_maps_with(const BatchBuilder& other);

  void build(std::span<const std::int64_t> requests, Batch& batch);  // requires attach(); batch is cleared first
  // One request from outside. Throws ErrorCode::data: "candidates[3].dense: expected 2 numbers, got 3". Does not need attach().
  void build(const Request& request, Batch& batch);

  // The widest single request of the attached data set, extent by extent (lists = 1).
  BatchExtent largest(std::span<const std::int64_t> requests) const;
  // Tokens of a request: candidates + history rows kept + 1. The unit of train.micro_tokens.
  std::int32_t tokens(std::int64_t request) const;
  // Makes room for any micro-batch within `extent`.
  void reserve(const BatchExtent& extent, Batch& batch);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace piano::data
