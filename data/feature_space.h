// What a model must know to read a request: field names, vocabularies, scaling. Fitted on the training part alone by `prepare`,
// stored in the data file and copied into the model file, so that a model can read requests prepared elsewhere.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/interactions.h"
#include "data/item_vectors.h"
#include "data/ngrams.h"
#include "data/vocabulary.h"
#include "engine/base/safetensors.h"

namespace piano::data {

// (x - mean) / deviation per column; a constant column gets deviation 1.
struct Scaling {
  std::vector<float> mean, deviation;
};

// Names and widths. Field lists are sorted by name.
struct Schema {
  std::vector<std::string> user_fields, context_fields, item_fields;
  std::vector<std::string> match_actions;  // at most 8, the most frequent in training first; other actions count as one more
  std::vector<std::string> match_fields;   // the item fields that history events carry too ("key fields")
  std::int32_t match_set = 1;              // which match features: see match_features.h
  std::int32_t user_dense = 0, item_dense = 0, item_vector = 0;
  bool has_score = false;
  Ngrams ngrams;                           // of query terms
  std::vector<std::string> conversions;    // kinds of conversion, sorted by name; none: there is one, without a name

  std::size_t kinds() const { return conversions.empty() ? 1 : conversions.size(); }
  // The kind's name, "conversion" where it has none.
  std::string_view kind(std::size_t k) const;

  friend bool operator==(const Schema&, const Schema&) = default;
};

struct FeatureSpace {
  Schema schema;
  Vocabulary user, query, term, item, action;
  std::vector<Vocabulary> user_fields, context_fields, item_fields;  // one per schema entry
  Scaling user_dense, item_dense, score;   // score: one column
  Scaling match;                           // one column per match_feature_names()
  std::vector<float> item_popularity;      // (item.rows()): clicks + conversions in the training part
  Interactions interactions;               // of the training part
  ItemVectors item_vectors;                // of items whose request gives none; fitted on nothing

  // Rows of the term table: one per term, then one per bucket of n-grams.
  std::int32_t term_rows() const { return term.rows() + schema.ngrams.buckets; }
  // Adds the rows of one term of a query: its own, then those of its n-grams, in whose presence case does not count. `buffer` is scratch.
  void append_term(std::string_view text, std::string& buffer, std::vector<std::int32_t>& rows) const;

  // Of the packed file that this is written to: 2: n-grams or item vectors, 3: interactions and match features of set 2, 4: kinds of conversion
  // by name, 5: match features of set 3, all of which older readers would pass over.
  int version() const {
    if (schema.match_set > 2) return 5;
    return !schema.conversions.empty() ? 4 : schema.match_set > 1 ? 3 : schema.ngrams.on() || item_vectors.width() > 0 ? 2 : 1;
  }

  static FeatureSpace load(std::shared_ptr<const SafetensorsFile> file);
  void save(SafetensorsWriter& writer) const;  // views: *this must live until commit()
  // xxh64 over schema, vocabularies and scaling, as 16 hex digits: equal fingerprints read requests alike.
  std::string fingerprint() const;
};

// Names of the match features, in column order (see match_features.h); their number is the width of Batch::match.
std::vector<std::string> match_feature_names(const Schema& schema);

// Throws ErrorCode::model unless these are names of kinds of conversion: at most kMostKinds, sorted, none empty. `path`: for the message.
void check_kind_names(const std::vector<std::string>& names, const std::string& path);

// One line that names the first contradiction between what `model` reads and what the `file` (a log's names and widths) has, or "": another
// width; or a field that the file lacks while it has one of the same kind that the model does not know, as after a renaming. What the file
// lacks altogether is no contradiction but missing, as in any single request.
std::string schema_difference(const Schema& model, const Schema& file);

}  // namespace piano::data
