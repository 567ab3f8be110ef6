#include "data/batch_builder.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "data/dataset_columns.h"
#include "data/labels.h"
#include "engine/base/check.h"

namespace piano::data {

namespace {

using Rows = std::vector<std::int32_t>;

std::int32_t row_of(const Rows& rows, std::int32_t raw) { return raw < 0 ? kMissing : rows[static_cast<std::size_t>(raw)]; }

// Of the item vectors.
std::int32_t vector_of(const RawIdMaps& m, std::int32_t raw_item) {
  return raw_item < 0 || m.item_vector.empty() ? ItemVectors::kNone : m.item_vector[static_cast<std::size_t>(raw_item)];
}

std::int32_t checked32(std::size_t size) {
  PIANO_CHECK(size <= 0x7fffffff, "a micro-batch of more than 2^31 - 1 rows; take fewer lists");
  return static_cast<std::int32_t>(size);
}

// `n` more elements, and where they begin: columns are filled one after another, each in one loop.
template <class T>
T* grow(std::vector<T>& column, std::size_t n) {
  column.resize(column.size() + n);
  return column.data() + column.size() - n;
}

template <class T>
std::span<const T> part(std::span<const T> column, std::int64_t begin, std::int64_t end) {
  return column.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
}

void append_rows(std::span<const std::int32_t> raw, const Rows& rows, std::vector<std::int32_t>& out) {
  std::int32_t* to = grow(out, raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) to[i] = row_of(rows, raw[i]);
}

// The bags bag_at(0) .. bag_at(n-1); {kMissing} for an empty one.
template <class BagAt>
void append_bags(std::size_t n, BagAt bag_at, const Rows& rows, BagColumn& out) {
  const auto kept = [&](std::span<const std::int32_t> bag) { return bag.empty() ? 1 : bag.size(); };
  std::size_t size = 0;
  for (std::size_t i = 0; i < n; ++i) size += kept(bag_at(i));
  std::int32_t* id = grow(out.ids, size);
  std::int32_t* close = grow(out.offsets, n);
  std::int32_t at = checked32(out.ids.size()) - static_cast<std::int32_t>(size);
  for (std::size_t i = 0; i < n; ++i) {
    const std::span<const std::int32_t> bag = bag_at(i);
    const std::size_t count = kept(bag);
    if (bag.empty()) *id = kMissing;
    else for (std::size_t k = 0; k < count; ++k) id[k] = rows[static_cast<std::size_t>(bag[k])];
    id += count;
    close[i] = at += static_cast<std::int32_t>(count);
  }
}

void append_fields(const std::vector<RawIdMaps::FieldMap>& maps, const std::vector<Bags>& raw, std::int64_t begin, std::int64_t end,
                   std::vector<BagColumn>& out) {
  for (std::size_t f = 0; f < maps.size(); ++f) {
    const Bags bags = maps[f].column < 0 ? Bags() : raw[static_cast<std::size_t>(maps[f].column)];
    const auto bag_at = [&](std::size_t i) { return bags[begin + static_cast<std::int64_t>(i)]; };
    append_bags(static_cast<std::size_t>(end - begin), bag_at, maps[f].rows, out[f]);
  }
}

// No finite input may become infinite, and what is 10,000 deviations out is a mistake rather than a fact.
constexpr float kMaxScaled = 1e4f;

void scale(const float* in, const Scaling& scaling, std::size_t width, float* out) {
  const float *mean = scaling.mean.data(), *deviation = scaling.deviation.data();
#pragma omp simd
  for (std::size_t k = 0; k < width; ++k) {
    const float x = (in[k] - mean[k]) / deviation[k];
    out[k] = x > kMaxScaled ? kMaxScaled : x < -kMaxScaled ? -kMaxScaled : x;
  }
}

// `width` scaled numbers and whether they were there. Zeros where missing: the mean, so that "missing" says nothing of its own.
void append_scaled(const DenseColumn& raw, std::int64_t begin, std::int64_t end, const Scaling& scaling, std::int32_t width,
                   std::vector<float>& out) {
  if (width == 0) return;
  const auto w = static_cast<std::size_t>(width);
  float* to = grow(out, static_cast<std::size_t>(end - begin) * (w + 1));
  for (std::int64_t row = begin; row < end; ++row, to += w + 1) {
    if (!raw.has(row)) continue;
    scale(raw[row].data(), scaling, w, to);
    to[w] = 1.0f;
  }
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
  batch.kinds = static_cast<std::int32_t>(features.schema.kinds());
  batch.user_fields.resize(features.schema.user_fields.size());
  batch.context_fields.resize(features.schema.context_fields.size());
  batch.item.fields.resize(features.schema.item_fields.size());
  batch.history_item.fields.resize(features.schema.item_fields.size());
}

void BatchBuilder::Impl::append_queries(const RawColumns& log, const RawIdMaps& m, std::span<const std::int32_t> raw,
                                        QueryColumns& out) const {
  append_rows(raw, m.query, out.id);
  const std::int32_t *begin = m.terms.offsets.data(), *rows = m.terms.ids.data();
  for (const std::int32_t query : raw) {
    const std::span<const std::int32_t> terms = query < 0 ? std::span<const std::int32_t>() : log.query_terms[query];
    if (terms.empty()) out.terms.ids.push_back(kMissing);
    for (const std::int32_t term : terms.first(std::min(terms.size(), static_cast<std::size_t>(limits.max_terms))))
      out.terms.ids.insert(out.terms.ids.end(), rows + begin[term], rows + begin[term + 1]);
    out.terms.offsets.push_back(checked32(out.terms.ids.size()));
  }
}

// Each item's vector and whether there is one: the request's own (`own`, from row `begin` on; null: requests have none here), else the model's.
void BatchBuilder::Impl::append_vectors(const DenseColumn* own, std::int64_t begin, const RawIdMaps& m, std::span<const std::int32_t> raw,
                                        std::vector<float>& out) const {
  const auto width = static_cast<std::size_t>(features.schema.item_vector);
  float* to = grow(out, raw.size() * (width + 1));
  for (std::size_t i = 0; i < raw.size(); ++i, to += width + 1) {
    const std::int64_t row = begin + static_cast<std::int64_t>(i);
    const std::span<const float> vector = own != nullptr && own->has(row) ? (*own)[row] : features.item_vectors[vector_of(m, raw[i])];
    if (vector.empty()) continue;
    std::copy_n(vector.data(), width, to);
    to[width] = 1.0f;
  }
}

void BatchBuilder::Impl::append(const RawColumns& log, const RawIdMaps& m, std::int64_t r, Batch& b) {
  const auto at = static_cast<std::size_t>(r);
  ++b.lists;
  b.user.push_back(row_of(m.user, log.user[at]));
  append_fields(m.user_fields, log.user_fields, r, r + 1, b.user_fields);
  append_fields(m.context_fields, log.context_fields, r, r + 1, b.context_fields);
  append_scaled(log.user_dense, r, r + 1, features.user_dense, features.schema.user_dense, b.user_dense);
  append_queries(log, m, part(log.query, r, r + 1), b.query);
  append_history(log, m, r, b);
  append_candidates(log, m, r, b);
  const std::size_t matched = b.match.size(), width = match.width();
  match.append(log, r, m.match, limits.max_history, limits.match && limits.cosine, b.match, b.recency);
  append_matches(log, r, b);
  for (std::size_t i = matched; i < b.match.size(); i += width) {
    const std::span<float> row = std::span(b.match).subspan(i, width);
    scale(row.data(), features.match, width, row.data());
    if (!limits.match) std::ranges::fill(row, 0.0f);
    if (!limits.cosine) std::ranges::fill(match.cosine_of(row), 0.0f);
  }
}

void BatchBuilder::Impl::append_history(const RawColumns& log, const RawIdMaps& m, std::int64_t r, Batch& b) {
  const auto at = static_cast<std::size_t>(r);
  const std::int64_t end = log.events[2 * at + 1], begin = std::max(log.events[2 * at], end - limits.max_history);
  append_queries(log, m, part(log.event_query, begin, end), b.history_query);
  append_rows(part(log.event_item, begin, end), m.item, b.history_item.id);
  append_fields(m.item_fields, log.event_fields, begin, end, b.history_item.fields);
  append_rows(part(log.event_action, begin, end), m.action, b.history_action);
  std::int32_t* age = grow(b.history_age, static_cast<std::size_t>(end - begin));
  for (const std::int64_t time : part(log.event_time, begin, end)) *age++ = age_row(log.time[at], time);
  if (features.item_vectors.width() > 0) {
    const std::span<const std::int32_t> items = part(log.event_item, begin, end);
    for (const std::int32_t item : items) b.history_vector_of.push_back(vector_of(m, item));
    append_vectors(nullptr, begin, m, items, b.history_vector);
  }
  b.history_offsets.push_back(checked32(b.history_action.size()));
}

void BatchBuilder::Impl::append_candidates(const RawColumns& log, const RawIdMaps& m, std::int64_t r, Batch& b) {
  const Schema& schema = features.schema;
  const std::int64_t begin = log.candidates[static_cast<std::size_t>(r)], end = log.candidates[static_cast<std::size_t>(r) + 1];
  const auto n = static_cast<std::size_t>(end - begin);
  append_rows(part(log.item, begin, end), m.item, b.item.id);
  append_fields(m.item_fields, log.item_fields, begin, end, b.item.fields);
  append_scaled(log.dense, begin, end, features.item_dense, schema.item_dense, b.dense);
  if (schema.item_vector > 0) append_vectors(&log.vector, begin, m, part(log.item, begin, end), b.vector);
  append_scaled(log.score, begin, end, features.score, schema.has_score ? 1 : 0, b.score);
  std::int32_t* rank = grow(b.rank, n);
  std::iota(rank, rank + n, 0);
  std::ranges::copy(part(log.position, begin, end), grow(b.position, n));
  const auto append_flags = [&](std::span<const std::uint8_t> flags, std::vector<float>& out) {
    std::ranges::copy(part(flags, begin, end), grow(out, n));
  };
  append_flags(log.click, b.click);
  append_flags(log.labelled, b.labelled);
  append_conversions(log, m, begin, end, b);
  b.offsets.push_back(checked32(b.rank.size()));
}

// Labels and values of every kind of conversion.
void BatchBuilder::Impl::append_conversions(const RawColumns& log, const RawIdMaps& m, std::int64_t begin, std::int64_t end, Batch& b) const {
  const std::size_t n = static_cast<std::size_t>(end - begin), kinds = m.kinds.size();
  float *label = grow(b.conversion, n * kinds), *value = grow(b.value, n * kinds);
  for (std::size_t k = 0; k < kinds; ++k) {
    const std::span<const std::uint8_t> labels = conversion_column(log, m.kinds[k]);
    const DenseColumn* own = m.kinds[k] < 0 ? nullptr : &log.values[static_cast<std::size_t>(m.kinds[k])];
    for (std::size_t i = 0; i < n; ++i) {
      const std::int64_t row = begin + static_cast<std::int64_t>(i);
      label[i * kinds + k] = labels.empty() ? kUnknownLabel : labels[static_cast<std::size_t>(row)];
      value[i * kinds + k] = own != nullptr && own->has(row) ? (*own)[row][0] : log.value.has(row) ? log.value[row][0] : 1.0f;
    }
  }
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
