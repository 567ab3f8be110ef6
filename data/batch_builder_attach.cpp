// BatchBuilder and a data set: raw ids to rows, and how much room a micro-batch needs.
#include <algorithm>

#include "data/batch_builder.h"
#include "data/dataset_columns.h"
#include "data/labels.h"
#include "engine/base/check.h"

namespace piano::data {

namespace {

std::vector<std::int32_t> map_ids(const StringTable& texts, const Vocabulary& vocabulary) {
  std::vector<std::int32_t> rows(static_cast<std::size_t>(texts.size()));
  for (std::int64_t i = 0; i < texts.size(); ++i) rows[static_cast<std::size_t>(i)] = vocabulary.find(texts[i]);
  return rows;
}

std::int32_t column_of(const std::vector<std::string>& names, const std::string& name) {
  const auto at = std::find(names.begin(), names.end(), name);
  return at == names.end() ? -1 : static_cast<std::int32_t>(at - names.begin());
}

std::vector<RawIdMaps::FieldMap> map_fields(const std::vector<std::string>& wanted, const std::vector<Vocabulary>& vocabularies,
                                            const FieldStrings& log) {
  std::vector<RawIdMaps::FieldMap> maps(wanted.size());
  for (std::size_t f = 0; f < wanted.size(); ++f) {
    maps[f].column = column_of(log.names, wanted[f]);
    if (maps[f].column >= 0) maps[f].rows = map_ids(log.values[static_cast<std::size_t>(maps[f].column)], vocabularies[f]);
  }
  return maps;
}

// Rows of the query that has most of them.
std::int32_t widest_query(const Bags& queries, const BagColumn& terms, std::int32_t max_terms) {
  std::int32_t most = std::min(1, max_terms);
  for (std::size_t q = 0; q + 1 < queries.offsets.size(); ++q) {
    const std::span<const std::int32_t> raw = queries[static_cast<std::int64_t>(q)];
    std::int32_t rows = 0;
    for (const std::int32_t term : raw.first(std::min(raw.size(), static_cast<std::size_t>(max_terms)))) {
      const auto t = static_cast<std::size_t>(term);
      rows += terms.offsets[t + 1] - terms.offsets[t];
    }
    most = std::max(most, rows);
  }
  return most;
}

}  // namespace

std::vector<std::int32_t> kind_columns(const Schema& schema, const std::vector<std::string>& log_kinds) {
  std::vector<std::int32_t> columns;
  for (std::size_t k = 0; k < schema.kinds(); ++k) {
    const std::string kind(schema.kind(k));
    columns.push_back(!log_kinds.empty() ? column_of(log_kinds, kind) : kind == kPlainKind ? kPlainColumn : kNoColumn);
  }
  return columns;
}

void BatchBuilder::attach(const Dataset& dataset) {
  const FeatureSpace& space = impl_->features;
  const Dataset::Columns& log = dataset.columns();
  const std::string difference = schema_difference(space.schema, log.schema());
  if (!difference.empty()) throw Error(ErrorCode::data, dataset.path() + ": " + difference);

  auto maps = std::make_shared<RawIdMaps>();
  maps->user = map_ids(log.strings.users, space.user);
  maps->query = map_ids(log.strings.queries, space.query);
  std::string buffer;
  for (std::int64_t t = 0; t < log.strings.terms.size(); ++t) {
    space.append_term(log.strings.terms[t], buffer, maps->terms.ids);
    PIANO_CHECK(maps->terms.ids.size() <= 0x7fffffff, "more than 2^31 - 1 terms and n-grams");
    maps->terms.offsets.push_back(static_cast<std::int32_t>(maps->terms.ids.size()));
  }
  maps->item = map_ids(log.strings.items, space.item);
  if (space.item_vectors.width() > 0)
    for (std::int64_t i = 0; i < log.strings.items.size(); ++i) maps->item_vector.push_back(space.item_vectors.find(log.strings.items[i]));
  maps->action = map_ids(log.strings.actions, space.action);
  maps->user_fields = map_fields(space.schema.user_fields, space.user_fields, log.strings.user_fields);
  maps->context_fields = map_fields(space.schema.context_fields, space.context_fields, log.strings.context_fields);
  maps->item_fields = map_fields(space.schema.item_fields, space.item_fields, log.strings.item_fields);
  maps->match = match_maps(space, log.strings);
  maps->kinds = kind_columns(space.schema, log.strings.kinds);
  impl_->dataset = &dataset;
  impl_->maps = std::move(maps);
}

void BatchBuilder::share_maps_with(const BatchBuilder& other) {
  PIANO_CHECK(&impl_->features == &other.impl_->features, "builders that share maps must read the same feature space");
  impl_->dataset = other.impl_->dataset;
  impl_->maps = other.impl_->maps;
}

BatchExtent BatchBuilder::largest(std::span<const std::int64_t> requests) const {
  PIANO_CHECK(impl_->dataset != nullptr, "BatchBuilder::largest needs attach() first");
  const Dataset& d = *impl_->dataset;
  BatchExtent extent;
  extent.lists = 1;
  extent.terms_per_query = widest_query(d.columns().query_terms, impl_->maps->terms, impl_->limits.max_terms);
  extent.values_per_field = d.columns().widest_field;
  for (const std::int64_t r : requests) {
    extent.rows = std::max(extent.rows, static_cast<std::int32_t>(d.candidate_end(r) - d.candidate_begin(r)));
    const std::int64_t kept = std::min<std::int64_t>(d.history_size(r), impl_->limits.max_history);
    extent.history_rows = std::max(extent.history_rows, static_cast<std::int32_t>(kept));
  }
  return extent;
}

void BatchBuilder::reserve(const BatchExtent& extent, Batch& batch) {
  const Schema& schema = impl_->features.schema;
  impl_->prepare(batch);
  const auto lists = static_cast<std::size_t>(extent.lists), rows = static_cast<std::size_t>(extent.rows);
  const auto events = static_cast<std::size_t>(extent.history_rows);
  const auto terms = static_cast<std::size_t>(std::max(1, extent.terms_per_query));
  const auto values = static_cast<std::size_t>(std::max(1, extent.values_per_field));
  const auto reserve_bag = [](BagColumn& bag, std::size_t n, std::size_t per_row) {
    bag.offsets.reserve(n + 1);
    bag.ids.reserve(n * per_row);
  };
  const auto reserve_query = [&](QueryColumns& query, std::size_t n) {
    query.id.reserve(n);
    reserve_bag(query.terms, n, terms);
  };
  const auto reserve_item = [&](ItemColumns& item, std::size_t n) {
    item.id.reserve(n);
    for (BagColumn& field : item.fields) reserve_bag(field, n, values);
  };
  const auto with_presence = [](std::int32_t width) { return width > 0 ? static_cast<std::size_t>(width) + 1 : 0; };

  batch.request.reserve(lists);
  batch.user.reserve(lists);
  for (BagColumn& field : batch.user_fields) reserve_bag(field, lists, values);
  for (BagColumn& field : batch.context_fields) reserve_bag(field, lists, values);
  batch.user_dense.reserve(lists * with_presence(schema.user_dense));
  reserve_query(batch.query, lists);

  batch.history_offsets.reserve(lists + 1);
  reserve_query(batch.history_query, events);
  reserve_item(batch.history_item, events);
  batch.history_action.reserve(events);
  batch.history_age.reserve(events);
  if (impl_->features.item_vectors.width() > 0) {
    batch.history_vector_of.reserve(events);
    batch.history_vector.reserve(events * with_presence(schema.item_vector));
  }

  batch.offsets.reserve(lists + 1);
  reserve_item(batch.item, rows);
  batch.dense.reserve(rows * with_presence(schema.item_dense));
  batch.vector.reserve(rows * with_presence(schema.item_vector));
  batch.match.reserve(rows * impl_->match.width());
  batch.score.reserve(rows * 2);
  batch.rank.reserve(rows);
  batch.position.reserve(rows);
  for (std::vector<float>* column : {&batch.click, &batch.labelled, &batch.recency}) column->reserve(rows);
  for (std::vector<float>* column : {&batch.conversion, &batch.value}) column->reserve(rows * schema.kinds());
  const auto matches = rows * static_cast<std::size_t>(std::min(extent.history_rows, impl_->limits.max_history)) * impl_->match.columns();
  batch.history_match.offsets.reserve(lists + 1);
  for (std::vector<std::int32_t>* column : {&batch.history_match.candidate, &batch.history_match.event, &batch.history_match.column})
    column->reserve(matches);
  impl_->match.reserve(extent.rows, extent.values_per_field, std::min(extent.history_rows, impl_->limits.max_history), impl_->limits.match && impl_->limits.cosine);
}

}  // namespace piano::data
