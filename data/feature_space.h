// What a model must know to read a request: field names, vocabularies, scaling. Fitted on the training part alone by `prepare`,
// stored in the data file and copied into the model file, so that a model can read requests prepared elsewhere.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/safetensors.h"

namespace piano::data {

inline constexpr std::int32_t kOutOfVocabulary = 0;  // row 0 of each table: trained through id dropout
inline constexpr std::int32_t kMissing = 1;          // row 1: no id at all, which is not the same
inline constexpr std::int32_t kFirstId = 2;

// Strings to rows of an embedding table. A view into a mapped file (texts, offsets and an open-addressing xxh64 index lie there), so that
// opening a model copies nothing.
class Vocabulary {
 public:
  Vocabulary() = default;
  std::int32_t rows() const;                              // known strings + 2
  std::int32_t find(std::string_view text) const;         // kFirstId .. rows()-1, or kOutOfVocabulary; "" gives kMissing
  std::string_view text(std::int32_t row) const;          // requires: row >= kFirstId

  // `texts` in row order, beginning at row kFirstId. requires: distinct
  static Vocabulary build(std::vector<std::string> texts);
  static Vocabulary load(std::shared_ptr<const SafetensorsFile> file, const std::string& name);  // tensors vocab.<name>.{text,offsets,index}
  void save(SafetensorsWriter& writer, const std::string& name) const;  // views: *this must live until commit()

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::uint8_t> text_;
  std::span<const std::int64_t> offsets_;  // (strings + 1)
  std::span<const std::int32_t> index_;    // a power of two of slots; -1 = empty
};

// (x - mean) / deviation per column; a constant column gets deviation 1.
struct Scaling {
  std::vector<float> mean, deviation;
};

// Names and widths. Field lists are sorted by name.
struct Schema {
  std::vector<std::string> user_fields, context_fields, item_fields;
  std::vector<std::string> match_actions;  // at most 8, the most frequent in training first; other actions count as one more
  std::vector<std::string> match_fields;   // the item fields that history events carry too ("key fields")
  std::int32_t user_dense = 0, item_dense = 0, item_vector = 0;
  bool has_score = false;

  friend bool operator==(const Schema&, const Schema&) = default;
};

struct FeatureSpace {
  Schema schema;
  Vocabulary user, query, term, item, action;
  std::vector<Vocabulary> user_fields, context_fields, item_fields;  // one per schema entry
  Scaling user_dense, item_dense, score;   // score: one column
  Scaling match;                           // one column per match_feature_names()
  std::vector<float> item_popularity;      // (item.rows()): clicks + conversions in the training part

  static FeatureSpace load(std::shared_ptr<const SafetensorsFile> file);
  void save(SafetensorsWriter& writer) const;  // views: *this must live until commit()
  // xxh64 over schema, vocabularies and scaling, as 16 hex digits: equal fingerprints read requests alike.
  std::string fingerprint() const;
};

// Names of the match features, in column order (see match_features.h); their number is the width of Batch::match.
std::vector<std::string> match_feature_names(const Schema& schema);

// One line that names the first contradiction between what `model` reads and what the `file` (a log's names and widths) has, or "": another
// width; or a field that the file lacks while it has one of the same kind that the model does not know, as after a renaming. What the file
// lacks altogether is no contradiction but missing, as in any single request.
std::string schema_difference(const Schema& model, const Schema& file);

}  // namespace piano::data
