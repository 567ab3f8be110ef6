#include "data/dataset_writer_columns.h"

#include <algorithm>

#include "data/query_text.h"

namespace piano::data {

namespace {

std::int32_t intern(Interner& dictionary, std::string_view text) { return text.empty() ? -1 : dictionary.intern(text); }

}  // namespace

void SpillBags::add(std::int64_t row, std::int32_t id) {
  while (offsets_.size() <= row) offsets_.push(ids_.size());
  ids_.push(id);
}

void SpillBags::finish(std::int64_t rows) {
  while (offsets_.size() <= rows) offsets_.push(ids_.size());
}

void SpillDense::add(std::int64_t row, std::span<const float> values) {
  width_ = static_cast<std::int32_t>(values.size());
  finish(row);
  values_.push(values);
  present_.push(1);
}

void SpillDense::finish(std::int64_t rows) {
  if (width_ == 0) return;
  for (; present_.size() < rows; present_.push(0))
    for (std::int32_t k = 0; k < width_; ++k) values_.push(0.0f);
}

// Rows name their fields in one order: the one behind the last is tried first.
std::size_t LogFields::index_of(std::string_view name, std::size_t guess) {
  if (guess < values.size() && names.text(static_cast<std::int32_t>(guess)) == name) return guess;
  const auto index = static_cast<std::size_t>(names.intern(name));
  if (index == values.size()) values.push_back(std::make_unique<Interner>());
  return index;
}

void LogFields::add(std::span<const Field> fields, std::int64_t row, std::vector<SpillBags>& bags) {
  std::size_t f = 0;
  for (const Field& field : fields) {
    f = index_of(field.name, f);
    if (bags.size() < values.size()) bags.resize(values.size());
    for (const std::string_view value : field.values)
      if (!value.empty()) bags[f].add(row, values[f]->intern(value));
    ++f;
  }
}

std::size_t LogKinds::index_of(std::string_view kind) {
  const auto index = static_cast<std::size_t>(names.intern(kind));
  if (index == labels.size()) labels.emplace_back(), values.emplace_back();
  return index;
}

std::vector<std::string_view> LogKinds::with(const Request& request) const {
  std::vector<std::string_view> kinds;
  const auto note = [&](std::string_view kind) {
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
  };
  if (plain_) note(kPlainKind);
  for (std::int32_t k = 0; k < names.size(); ++k) note(names.text(k));
  for (const Candidate& c : request.candidates) {
    each_conversion(c, [&](std::string_view kind, bool) { note(kind); });
    for (const KindValue& of : c.values) note(of.kind);
  }
  return kinds;
}

void LogKinds::add(const Candidate& c, const Labels& said, std::int64_t row) {
  said_.push(!c.conversions.empty() ? kNames : c.conversion ? kNumber : kNothing);
  plain_ = plain_ || c.conversion;
  for (const KindLabel& of : c.conversions) {
    SpillColumn<std::uint8_t>& column = labels[index_of(of.kind)];
    while (column.size() < row) column.push(kSilent);
    column.push(said.labelled != 0 && of.happened);
  }
  for (const KindValue& of : c.values) values[index_of(of.kind)].add(row, {&of.value, 1});
}

void LogKinds::finish(std::span<const std::uint8_t> labelled, std::span<const std::uint8_t> any) {
  if (names.size() == 0) return;
  if (plain_) index_of(kPlainKind);
  const std::span<const std::uint8_t> said = said_.view();
  const auto rows = static_cast<std::int64_t>(said.size());
  for (std::size_t k = 0; k < labels.size(); ++k) {
    while (labels[k].size() < rows) labels[k].push(kSilent);
    const bool plain = names.text(static_cast<std::int32_t>(k)) == kPlainKind;
    const std::span<std::uint8_t> label = labels[k].view();
    for (std::size_t i = 0; i < label.size(); ++i) {
      if (label[i] != kSilent) continue;
      if (plain && said[i] == kNumber) label[i] = any[i];
      else label[i] = said[i] == kNothing || labelled[i] == 0 ? 0 : kUnknownLabel;
    }
    values[k].finish(rows);
  }
}

LogTables::LogTables() {
  id_offsets.push(0);
  candidates.push(0);
}

std::int32_t LogTables::intern_query(const Query& asked) {
  const std::string_view text = query_text(asked, buffer_);
  if (text.empty()) return -1;
  const std::int32_t known = queries.size(), raw = queries.intern(text);
  if (raw == known) for_each_term(asked, term_buffer_, [&](std::string_view term) { query_terms.add(raw, terms.intern(term)); });
  return raw;
}

void LogTables::add_request(const Request& request, std::int64_t row_order) {
  const std::int64_t row = user.size();
  const std::string id = request.id.empty() ? "request-" + std::to_string(row + 1) : std::string(request.id);
  id_text.push(std::span(reinterpret_cast<const std::uint8_t*>(id.data()), id.size()));
  id_offsets.push(id_text.size());
  time.push(request.time.value_or(kNoTime));
  order.push(row_order);
  part.push(part_now);
  user.push(intern(users, request.user));
  query.push(intern_query(request.query));
  user_fields.add(request.user_fields, row, user_bags);
  context_fields.add(request.context, row, context_bags);
  if (!request.user_dense.empty()) user_dense.add(row, request.user_dense);

  std::int32_t target_rank = -1;
  for (std::size_t i = 0; i < request.candidates.size(); ++i) {
    add_candidate(request.candidates[i], static_cast<std::int32_t>(i));
    if (!request.target.empty() && request.candidates[i].id == request.target) target_rank = static_cast<std::int32_t>(i);
  }
  target.push(target_rank);
  candidates.push(item.size());

  if (!request.has_history) {
    history.push({-1, 0});
    return;
  }
  history.push({explicit_events, static_cast<std::int64_t>(request.history.size())});
  for (const Event& event : request.history) add_event(-1, event, 0);
  explicit_events += static_cast<std::int64_t>(request.history.size());
}

void LogTables::add_candidate(const Candidate& c, std::int32_t rank) {
  const std::int64_t row = item.size();
  item.push(items.intern(c.id));
  item_fields.add(c.fields, row, item_bags);
  if (!c.dense.empty()) dense.add(row, c.dense);
  if (!c.vector.empty()) vector.add(row, c.vector);
  if (c.score) score.add(row, {&*c.score, 1});
  if (c.value) value.add(row, {&*c.value, 1});
  const Labels labels = labels_of(c);
  click.push(labels.click);
  conversion.push(labels.conversion);
  labelled.push(labels.labelled);
  kinds.add(c, labels, row);
  position.push(c.position.value_or(rank + 1));
}

void LogTables::add_event(std::int32_t raw_user, const Event& event, std::int64_t event_order) {
  const std::int64_t row = events.size();
  const std::int32_t raw_query = intern_query(event.query), raw_item = intern(items, event.item), action = intern(actions, event.action);
  events.push({event.time.value_or(kNoTime), event_order, raw_user, raw_query, raw_item, action});
  item_fields.add(event.fields, row, event_bags);
}

void LogTables::finish() {
  const auto finish_bags = [](std::vector<SpillBags>& bags, const LogFields& fields, std::int64_t rows) {
    bags.resize(fields.values.size());
    for (SpillBags& b : bags) b.finish(rows);
  };
  query_terms.finish(queries.size());
  finish_bags(user_bags, user_fields, user.size());
  finish_bags(context_bags, context_fields, user.size());
  user_dense.finish(user.size());
  finish_bags(item_bags, item_fields, item.size());
  for (SpillDense* column : {&dense, &vector, &score, &value}) column->finish(item.size());
  kinds.finish(labelled.view(), conversion.view());
  finish_bags(event_bags, item_fields, events.size());
}

}  // namespace piano::data
