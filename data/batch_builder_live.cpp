// A live request as columns of one row. Its strings get raw ids of its own, so that everything after this is the code that data sets use.
#include <algorithm>
#include <numeric>

#include "data/batch_builder.h"
#include "data/interner.h"
#include "data/labels.h"
#include "data/query_text.h"

namespace piano::data {

namespace {

// A dictionary that lives for one request, and what its strings are to the model.
struct LiveDictionary {
  Interner strings;

  // -1 for "". `rows` belongs to RawIdMaps and grows with the dictionary.
  std::int32_t intern(std::string_view text, const Vocabulary& vocabulary, std::vector<std::int32_t>& rows) {
    if (text.empty()) return -1;
    const std::int32_t raw = strings.intern(text);
    if (static_cast<std::size_t>(raw) == rows.size()) rows.push_back(vocabulary.find(text));
    return raw;
  }
};

struct LiveBags {
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> ids;

  void clear() {
    offsets.assign(1, 0);
    ids.clear();
  }
  void close() { offsets.push_back(static_cast<std::int64_t>(ids.size())); }
  operator Bags() const { return {offsets, ids}; }
};

struct LiveDense {
  std::int32_t width = 0;
  std::vector<float> values;
  std::vector<std::uint8_t> present;

  void clear() {
    values.clear();
    present.clear();
  }
  void add(std::span<const float> row) {
    if (width == 0) return;
    if (row.empty()) values.insert(values.end(), static_cast<std::size_t>(width), 0.0f);
    values.insert(values.end(), row.begin(), row.end());
    present.push_back(!row.empty());
  }
  operator DenseColumn() const { return {width, values, present}; }
};

// One kind of fields: those of the schema, one dictionary each.
struct LiveFields {
  LiveFields(const std::vector<std::string>& field_names, const std::vector<Vocabulary>& field_vocabularies, std::vector<RawIdMaps::FieldMap>& field_maps)
      : names(field_names), vocabularies(field_vocabularies), maps(field_maps), dictionaries(field_names.size()) {
    maps.resize(names.size());
    for (std::size_t f = 0; f < names.size(); ++f) maps[f].column = static_cast<std::int32_t>(f);
  }

  void clear() {
    for (std::size_t f = 0; f < names.size(); ++f) {
      dictionaries[f].strings.clear();
      maps[f].rows.clear();
    }
  }
  // One row for each schema field; other fields are ignored.
  void add(std::span<const Field> fields, std::vector<LiveBags>& bags) {
    for (std::size_t f = 0; f < names.size(); ++f) {
      for (const Field& field : fields) {
        if (field.name != names[f]) continue;
        for (const std::string_view value : field.values)
          if (!value.empty()) bags[f].ids.push_back(dictionaries[f].intern(value, vocabularies[f], maps[f].rows));
      }
      bags[f].close();
    }
  }

  const std::vector<std::string>& names;
  const std::vector<Vocabulary>& vocabularies;
  std::vector<RawIdMaps::FieldMap>& maps;
  std::vector<LiveDictionary> dictionaries;
};

}  // namespace

struct LiveRequest::Impl {
  explicit Impl(const FeatureSpace& f)
      : features(f),
        user_fields(f.schema.user_fields, f.user_fields, maps.user_fields),
        context_fields(f.schema.context_fields, f.context_fields, maps.context_fields),
        item_fields(f.schema.item_fields, f.item_fields, maps.item_fields),
        user_bags(f.schema.user_fields.size()),
        context_bags(f.schema.context_fields.size()),
        item_bags(f.schema.item_fields.size()),
        event_bags(f.schema.item_fields.size()) {
    user_dense.width = f.schema.user_dense;
    dense.width = f.schema.item_dense;
    vector.width = f.schema.item_vector;
    score.width = f.schema.has_score ? 1 : 0;
    value.width = 1;
    maps.kinds.resize(f.schema.kinds());
    std::iota(maps.kinds.begin(), maps.kinds.end(), 0);
    conversions.resize(f.schema.kinds()), values.resize(f.schema.kinds());
    for (LiveDense& of : values) of.width = 1;
    for (const std::string& field : f.schema.match_fields)
      maps.match.columns.push_back(match_action_slot(f.schema.item_fields, field));
  }

  void clear() {
    for (LiveDictionary* d : {&users, &queries, &items, &actions}) d->strings.clear();
    terms.clear();
    for (auto* rows : {&maps.user, &maps.query, &maps.terms.ids, &maps.item, &maps.item_vector, &maps.action, &maps.match.action_slot,
                       &maps.match.user, &maps.match.item})
      rows->clear();
    maps.terms.offsets.assign(1, 0);
    for (LiveFields* fields : {&user_fields, &context_fields, &item_fields}) fields->clear();
    for (auto* kind : {&user_bags, &context_bags, &item_bags, &event_bags})
      for (LiveBags& bags : *kind) bags.clear();
    for (LiveDense* column : {&user_dense, &dense, &vector, &score, &value}) column->clear();
    query_terms.clear();
    for (auto* ids : {&item, &position, &event_query, &event_item, &event_action}) ids->clear();
    for (auto* flags : {&click, &labelled}) flags->clear();
    for (auto& of : conversions) of.clear();
    for (LiveDense& of : values) of.clear();
    event_time.clear();
  }

  std::int32_t intern_term(std::string_view term) {
    const std::int32_t raw = terms.intern(term);
    if (raw + 2 > static_cast<std::int32_t>(maps.terms.offsets.size())) {  // new
      features.append_term(term, word_buffer, maps.terms.ids);
      maps.terms.offsets.push_back(static_cast<std::int32_t>(maps.terms.ids.size()));
    }
    return raw;
  }

  std::int32_t intern_item(std::string_view id) {
    const std::int32_t raw = items.intern(id, features.item, maps.item);
    if (features.item_vectors.width() > 0 && raw == static_cast<std::int32_t>(maps.item_vector.size()))
      maps.item_vector.push_back(features.item_vectors.find(id));
    if (raw == static_cast<std::int32_t>(maps.match.item.size())) maps.match.item.push_back(features.interactions.item(id));
    return raw;
  }

  std::int32_t intern_query(const Query& asked) {
    const std::string_view text = query_text(asked, text_buffer);
    const std::int32_t raw = queries.intern(text, features.query, maps.query);
    if (raw + 2 > static_cast<std::int32_t>(query_terms.offsets.size())) {  // new: its terms follow
      for_each_term(asked, term_buffer, [&](std::string_view term) { query_terms.ids.push_back(intern_term(term)); });
      query_terms.close();
    }
    return raw;
  }

  void add_candidate(const Candidate& c) {
    item.push_back(intern_item(c.id));
    item_fields.add(c.fields, item_bags);
    dense.add(c.dense);
    vector.add(c.vector);
    score.add(c.score ? std::span(&*c.score, 1) : std::span<const float>());
    value.add(c.value ? std::span(&*c.value, 1) : std::span<const float>());
    const Labels labels = labels_of(c);
    click.push_back(labels.click);
    labelled.push_back(labels.labelled);
    position.push_back(c.position.value_or(static_cast<std::int32_t>(item.size())));
    for (std::size_t k = 0; k < conversions.size(); ++k) {
      const std::string_view kind = features.schema.kind(k);
      const auto own = std::find_if(c.values.begin(), c.values.end(), [&](const KindValue& of) { return of.kind == kind; });
      conversions[k].push_back(conversion_of(c, kind));
      values[k].add(own != c.values.end() ? std::span(&own->value, 1) : std::span<const float>());
    }
  }

  void add_event(const Event& e) {
    event_time.push_back(e.time.value_or(kNoTime));
    event_query.push_back(intern_query(e.query));
    event_item.push_back(intern_item(e.item));
    event_action.push_back(actions.intern(e.action, features.action, maps.action));
    if (event_action.back() == static_cast<std::int32_t>(maps.match.action_slot.size()))
      maps.match.action_slot.push_back(match_action_slot(features.schema.match_actions, e.action));
    item_fields.add(e.fields, event_bags);
  }

  void view() {
    columns.query_terms = query_terms;
    columns.time = {&time, 1};
    columns.user = {&user, 1};
    columns.query = {&query, 1};
    candidates[1] = static_cast<std::int64_t>(item.size());
    events[1] = static_cast<std::int64_t>(event_time.size());
    columns.candidates = candidates;
    columns.events = events;
    columns.user_fields.assign(user_bags.begin(), user_bags.end());
    columns.context_fields.assign(context_bags.begin(), context_bags.end());
    columns.item_fields.assign(item_bags.begin(), item_bags.end());
    columns.event_fields.assign(event_bags.begin(), event_bags.end());
    columns.user_dense = user_dense;
    columns.dense = dense;
    columns.vector = vector;
    columns.score = score;
    columns.value = value;
    columns.item = item;
    columns.click = click;
    columns.labelled = labelled;
    columns.conversions.assign(conversions.begin(), conversions.end());
    columns.values.assign(values.begin(), values.end());
    columns.position = position;
    columns.event_time = event_time;
    columns.event_query = event_query;
    columns.event_item = event_item;
    columns.event_action = event_action;
  }

  const FeatureSpace& features;
  RawIdMaps maps;
  RawColumns columns;
  std::string text_buffer, term_buffer, word_buffer;

  LiveDictionary users, queries, items, actions;
  Interner terms;
  LiveFields user_fields, context_fields, item_fields;
  std::vector<LiveBags> user_bags, context_bags, item_bags, event_bags;
  LiveBags query_terms;
  std::int64_t time = kNoTime;
  std::int32_t user = -1, query = -1;
  std::int64_t candidates[2] = {0, 0}, events[2] = {0, 0};
  LiveDense user_dense, dense, vector, score, value;
  std::vector<std::int32_t> item, position, event_query, event_item, event_action;
  std::vector<std::uint8_t> click, labelled;
  std::vector<std::vector<std::uint8_t>> conversions;  // per kind of the model's
  std::vector<LiveDense> values;
  std::vector<std::int64_t> event_time;
};

LiveRequest::LiveRequest(const FeatureSpace& features) : impl_(std::make_unique<Impl>(features)) {}
LiveRequest::~LiveRequest() = default;
const RawColumns& LiveRequest::columns() const { return impl_->columns; }
const RawIdMaps& LiveRequest::maps() const { return impl_->maps; }

void LiveRequest::fill(const Request& request) {
  Impl& live = *impl_;
  live.clear();
  live.time = request.time.value_or(kNoTime);
  live.user = live.users.intern(request.user, live.features.user, live.maps.user);
  if (live.user >= 0) live.maps.match.user.push_back(live.features.interactions.user(request.user));
  live.user_fields.add(request.user_fields, live.user_bags);
  live.user_dense.add(request.user_dense);
  live.query = live.intern_query(request.query);
  live.context_fields.add(request.context, live.context_bags);
  for (const Candidate& c : request.candidates) live.add_candidate(c);
  for (const Event& e : request.history) live.add_event(e);
  live.view();
}

}  // namespace piano::data
