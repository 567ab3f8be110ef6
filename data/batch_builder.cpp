#include "data/batch_builder.h"

#include <algorithm>

#include "data/dataset_columns.h"
#include "engine/base/check.h"

namespace piano::data {

namespace {

using Rows = std::vector<std::int32_t>;

std::int32_t row_of(const Rows& rows, std::int32_t raw) { return raw < 0 ? kMissing : rows[static_cast<std::size_t>(raw)]; }

std::int32_t checked32(std::size_t size) {
  PIANO_CHECK(size <= 0x7fffffff, "a micro-batch of more than 2^31 - 1 rows; take fewer lists");
  return static_cast<std::int32_t>(size);
}

void close_bag(BagColumn& bag) { bag.offsets.push_back(checked32(bag.ids.size())); }

void append_field(const RawIdMaps::FieldMap& map, const std::vector<Bags>& raw, std::int64_t row, BagColumn& out) {
  const auto values = map.column < 0 ? std::span<const std::int32_t>() : raw[static_cast<std::size_t>(map.column)][row];
  for (const std::int32_t value : values) out.ids.push_back(map.rows[static_cast<std::size_t>(value)]);
  if (values.empty()) out.ids.push_back(kMissing);
  close_bag(out);
}

// No finite input may become infinite, and what is 10,000 deviations out is a mistake rather than a fact.
constexpr float kMaxScaled = 1e4f;

// `width` scaled numbers and whether they were there. Zeros where missing: the mean, so that "missing" says nothing of its own.
void append_scaled(const DenseColumn& raw, std::int64_t row, const Scaling& scale, std::int32_t width, std::vector<float>& out) {
  if (width == 0) return;
  const bool present = raw.has(row);
  for (std::size_t k = 0; k < static_cast<std::size_t>(width); ++k)
    out.push_back(present ? std::clamp((raw[row][k] - scale.mean[k]) / scale.deviation[k], -kMaxScaled, kMaxScaled) : 0.0f);
  out.push_back(present ? 1.0f : 0.0f);
}

std::int32_t age_row(std::int64_t request, std::int64_t event) {
  if (request == kNoTime || event == kNoTime) return kAgeUnknown;
  if (event >= request) return age_bucket(0);
  const std::uint64_t age = static_cast<std::uint64_t>(request) - static_cast<std::uint64_t>(event);  // no overflow, whatever the times
  return age_bucket(static_cast<std::int64_t>(std::min<std::uint64_t>(age, std::numeric_limits<std::int64_t>::max())));
}

}  // namespace

void BatchBuilder::Impl::prepare(Batch& batch) const {
  batch.clear();
  batch.user_fields.resize(features.schema.user_fields.size());
  batch.context_fields.resize(features.schema.context_fields.size());
  batch.item.fields.resize(features.schema.item_fields.size());
  batch.history_item.fields.resize(features.schema.item_fields.size());
}

void BatchBuilder::Impl::append_query(const RawColumns& log, const RawIdMaps& m, std::int32_t query, QueryColumns& out) const {
  out.id.push_back(row_of(m.query, query));
  const auto terms = query < 0 ? std::span<const std::int32_t>() : log.query_terms[query];
  for (const std::int32_t term : terms.first(std::min<std::size_t>(terms.size(), static_cast<std::size_t>(limits.max_terms))))
    out.terms.ids.push_back(m.term[static_cast<std::size_t>(term)]);
  if (terms.empty()) out.terms.ids.push_back(kMissing);
  close_bag(out.terms);
}

void BatchBuilder::Impl::append(const RawColumns& log, const RawIdMaps& m, std::int64_t r, Batch& b) {
  const auto at = static_cast<std::size_t>(r);
  ++b.lists;
  b.user.push_back(row_of(m.user, log.user[at]));
  for (std::size_t f = 0; f < m.user_fields.size(); ++f) append_field(m.user_fields[f], log.user_fields, r, b.user_fields[f]);
  for (std::size_t f = 0; f < m.context_fields.size(); ++f) append_field(m.context_fields[f], log.context_fields, r, b.context_fields[f]);
  append_scaled(log.user_dense, r, features.user_dense, features.schema.user_dense, b.user_dense);
  append_query(log, m, log.query[at], b.query);
  append_history(log, m, r, b);
  append_candidates(log, m, r, b);
  const std::size_t matched = b.match.size();
  match.append(log, r, m.action_slot, m.match_columns, limits.max_history, b.match, b.recency);
  append_matches(log, r, b);
  const Scaling& scale = features.match;
  for (std::size_t i = matched; i < b.match.size(); ++i) {
    const std::size_t k = (i - matched) % match.width();
    b.match[i] = limits.match ? std::clamp((b.match[i] - scale.mean[k]) / scale.deviation[k], -kMaxScaled, kMaxScaled) : 0.0f;
  }
}

void BatchBuilder::Impl::append_history(const RawColumns& log, const RawIdMaps& m, std::int64_t r, Batch& b) {
  const auto at = static_cast<std::size_t>(r);
  const std::int64_t end = log.events[2 * at + 1];
  for (std::int64_t event = std::max(log.events[2 * at], end - limits.max_history); event < end; ++event) {
    const auto e = static_cast<std::size_t>(event);
    append_query(log, m, log.event_query[e], b.history_query);
    b.history_item.id.push_back(row_of(m.item, log.event_item[e]));
    for (std::size_t f = 0; f < m.item_fields.size(); ++f) append_field(m.item_fields[f], log.event_fields, event, b.history_item.fields[f]);
    b.history_action.push_back(row_of(m.action, log.event_action[e]));
    b.history_age.push_back(age_row(log.time[at], log.event_time[e]));
  }
  b.history_offsets.push_back(checked32(b.history_action.size()));
}

void BatchBuilder::Impl::append_candidates(const RawColumns& log, const RawIdMaps& m, std::int64_t r, Batch& b) {
  const Schema& schema = features.schema;
  const std::int64_t begin = log.candidates[static_cast<std::size_t>(r)], end = log.candidates[static_cast<std::size_t>(r) + 1];
  for (std::int64_t row = begin; row < end; ++row) {
    const auto c = static_cast<std::size_t>(row);
    b.item.id.push_back(row_of(m.item, log.item[c]));
    for (std::size_t f = 0; f < m.item_fields.size(); ++f) append_field(m.item_fields[f], log.item_fields, row, b.item.fields[f]);
    append_scaled(log.dense, row, features.item_dense, schema.item_dense, b.dense);
    if (schema.item_vector > 0) {
      const bool present = log.vector.has(row);
      for (std::size_t k = 0; k < static_cast<std::size_t>(schema.item_vector); ++k) b.vector.push_back(present ? log.vector[row][k] : 0.0f);
      b.vector.push_back(present ? 1.0f : 0.0f);
    }
    append_scaled(log.score, row, features.score, schema.has_score ? 1 : 0, b.score);
    b.rank.push_back(static_cast<std::int32_t>(row - begin));
    b.click.push_back(static_cast<float>(log.click[c]));
    b.conversion.push_back(static_cast<float>(log.conversion[c]));
    b.labelled.push_back(static_cast<float>(log.labelled[c]));
    b.value.push_back(log.value.has(row) ? log.value[row][0] : 1.0f);
  }
  b.offsets.push_back(checked32(b.rank.size()));
}

// requires: history and candidates of r are in `b`, and MatchFeatures has just seen r
void BatchBuilder::Impl::append_matches(const RawColumns& log, std::int64_t r, Batch& b) const {
  const std::int32_t first_candidate = b.offsets[b.offsets.size() - 2], last_event = b.history_offsets.back();
  const std::int64_t end = log.events[2 * static_cast<std::size_t>(r) + 1];
  for (const MatchFeatures::Match& found : match.matches()) {
    b.history_match.candidate.push_back(first_candidate + found.candidate);
    b.history_match.event.push_back(last_event - static_cast<std::int32_t>(end - found.event));
    b.history_match.column.push_back(found.column);
  }
  b.history_match.offsets.push_back(checked32(b.history_match.event.size()));
}

BatchBuilder::BatchBuilder(const FeatureSpace& features, BuilderLimits limits) : impl_(std::make_unique<Impl>(features, limits)) {}
BatchBuilder::~BatchBuilder() = default;
BatchBuilder::BatchBuilder(BatchBuilder&&) noexcept = default;

void BatchBuilder::build(std::span<const std::int64_t> requests, Batch& batch) {
  PIANO_CHECK(impl_->dataset != nullptr, "BatchBuilder::build needs attach() first");
  impl_->prepare(batch);
  for (const std::int64_t r : requests) {
    PIANO_ASSERT(r >= 0 && r < impl_->dataset->size(), "request out of range");
    batch.request.push_back(r);
    impl_->append(impl_->dataset->columns(), *impl_->maps, r, batch);
  }
}

void BatchBuilder::build(const Request& request, Batch& batch) {
  const Schema& schema = impl_->features.schema;
  impl_->checker.check_live(request, {schema.user_dense, schema.item_dense, schema.item_vector});
  impl_->prepare(batch);
  impl_->live.fill(request);
  batch.request.push_back(-1);
  impl_->append(impl_->live.columns(), impl_->live.maps(), 0, batch);
}

std::int32_t BatchBuilder::tokens(std::int64_t r) const {
  PIANO_CHECK(impl_->dataset != nullptr, "BatchBuilder::tokens needs attach() first");
  const Dataset& d = *impl_->dataset;
  return static_cast<std::int32_t>(d.candidate_end(r) - d.candidate_begin(r) + std::min<std::int64_t>(d.history_size(r), impl_->limits.max_history) + 1);
}

}  // namespace piano::data
