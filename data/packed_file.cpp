#include "data/packed_file.h"

#include <algorithm>
#include <cmath>

#include "data/labels.h"

namespace piano::data {

namespace {

void add_table(SafetensorsWriter& writer, const std::string& name, const StringTable& table) {
  writer.add(name + ".text", table.text);
  writer.add(name + ".offsets", table.offsets);
}

void add_bags(SafetensorsWriter& writer, const std::string& name, const Bags& bags) {
  writer.add(name + ".offsets", bags.offsets);
  writer.add(name + ".ids", bags.ids);
}

void add_fields(SafetensorsWriter& writer, const std::string& prefix, const std::vector<std::string>& names, const std::vector<Bags>& bags) {
  for (std::size_t f = 0; f < names.size(); ++f) add_bags(writer, prefix + names[f], bags[f]);
}

void add_dictionaries(SafetensorsWriter& writer, const std::string& prefix, const FieldStrings& fields) {
  for (std::size_t f = 0; f < fields.names.size(); ++f) add_table(writer, prefix + fields.names[f], fields.values[f]);
}

void add_dense(SafetensorsWriter& writer, const std::string& name, const DenseColumn& column) {
  if (column.width == 0) return;
  writer.add(name, {static_cast<std::int64_t>(column.present.size()), column.width}, column.values);
  writer.add(name + ".present", column.present);
}

// Reads tensors and complains in one way.
class Loader {
 public:
  explicit Loader(const SafetensorsFile& file) : file_(file) {}

  void require(bool condition, std::string_view name, const char* what) const {
    if (!condition) throw Error(ErrorCode::model, file_.path() + ": " + std::string(name) + ": " + what + "; the file is damaged");
  }

  template <class T>
  std::span<const T> rows(const std::string& name, std::int64_t expected) const {
    const std::span<const T> values = file_.values<T>(name);
    require(static_cast<std::int64_t>(values.size()) == expected, name, "has another number of rows than the columns beside it");
    return values;
  }

  // expected < 0: any number of rows.
  std::span<const std::int64_t> offsets(const std::string& name, std::int64_t expected, std::size_t extent) const {
    const auto values = file_.values<std::int64_t>(name);
    require(!values.empty() && (expected < 0 || static_cast<std::int64_t>(values.size()) == expected + 1), name, "has a wrong number of rows");
    require(values.front() == 0 && values.back() == static_cast<std::int64_t>(extent) && std::is_sorted(values.begin(), values.end()), name,
            "does not cut what it belongs to");
    return values;
  }

  StringTable table(const std::string& name, std::int64_t expected = -1) const {
    const auto text = file_.values<std::uint8_t>(name + ".text");
    const StringTable table{text, offsets(name + ".offsets", expected, text.size())};
    require(table.size() <= 0x7fffffff, name, "has more than 2^31 - 1 strings");
    return table;
  }

  // Ids from `lowest` (-1: may be missing) to size - 1.
  void ids(const std::string& name, std::span<const std::int32_t> values, std::int32_t lowest, std::int64_t size) const {
    bool good = true;
    for (const std::int32_t v : values) good = good && v >= lowest && v < size;
    require(good, name, "an index points outside its dictionary");
  }

  Bags bags(const std::string& name, std::int64_t rows, std::int64_t dictionary) const {
    const auto values = file_.values<std::int32_t>(name + ".ids");
    ids(name + ".ids", values, 0, dictionary);
    return {offsets(name + ".offsets", rows, values.size()), values};
  }

  std::vector<Bags> fields(const std::string& prefix, const FieldStrings& strings, std::int64_t rows) const {
    std::vector<Bags> result;
    for (std::size_t f = 0; f < strings.names.size(); ++f) result.push_back(bags(prefix + strings.names[f], rows, strings.values[f].size()));
    return result;
  }

  void dictionaries(const std::string& prefix, FieldStrings& fields) const {
    for (std::size_t f = 0; f < fields.names.size(); ++f) {
      require(f == 0 || fields.names[f - 1] < fields.names[f], prefix, "fields are not sorted by name");
      fields.values.push_back(table(prefix + fields.names[f]));
    }
  }

  std::span<const std::uint8_t> flags(const std::string& name, std::int64_t expected, std::uint8_t highest = 1) const {
    const auto values = rows<std::uint8_t>(name, expected);
    require(values.empty() || *std::max_element(values.begin(), values.end()) <= highest, name, "a value that has no meaning");
    return values;
  }

  DenseColumn dense(const std::string& name, std::int64_t rows_expected) const {
    DenseColumn column;
    const TensorInfo* info = file_.find(name);
    if (info == nullptr) return column;
    require(info->shape.size() == 2 && info->shape[0] == rows_expected && info->shape[1] > 0 && info->shape[1] <= (1 << 20), name, "has a wrong shape");
    column.width = static_cast<std::int32_t>(info->shape[1]);
    column.values = file_.values<float>(name);
    column.present = flags(name + ".present", rows_expected);
    require(std::all_of(column.values.begin(), column.values.end(), [](float v) { return std::isfinite(v); }), name, "a number that is not finite");
    return column;
  }

 private:
  const SafetensorsFile& file_;
};

void load_requests(const Loader& in, const SafetensorsFile& file, RawColumns& c, RawStrings& s, std::int64_t& candidates) {
  s.request_ids = in.table("request.id");
  const std::int64_t requests = s.request_ids.size();
  c.time = in.rows<std::int64_t>("request.time", requests);
  c.user = in.rows<std::int32_t>("request.user", requests);
  in.ids("request.user", c.user, -1, s.users.size());
  c.query = in.rows<std::int32_t>("request.query", requests);
  in.ids("request.query", c.query, -1, s.queries.size());
  c.split = in.flags("request.split", requests, 2);
  c.user_fields = in.fields("request.user_field.", s.user_fields, requests);
  c.context_fields = in.fields("request.context.", s.context_fields, requests);
  c.user_dense = in.dense("request.user_dense", requests);

  candidates = static_cast<std::int64_t>(file.values<std::int32_t>("candidate.item").size());
  c.candidates = in.offsets("request.candidates", requests, static_cast<std::size_t>(candidates));
  c.target = in.rows<std::int32_t>("request.target", requests);
  for (std::size_t r = 0; r < c.target.size(); ++r) {
    const std::int64_t length = c.candidates[r + 1] - c.candidates[r];
    in.require(length >= 1 && length <= 0x7fffffff, "request.candidates", "a list without candidates");
    in.require(c.target[r] >= -1 && c.target[r] < length, "request.target", "a target outside its list");
  }
  const auto events = static_cast<std::int64_t>(file.values<std::int64_t>("event.time").size());
  c.events = in.rows<std::int64_t>("request.events", 2 * requests);
  for (std::size_t r = 0; r < c.target.size(); ++r)
    in.require(0 <= c.events[2 * r] && c.events[2 * r] <= c.events[2 * r + 1] && c.events[2 * r + 1] <= events, "request.events",
               "a history outside the event table");
}

void load_candidates(const Loader& in, RawColumns& c, const RawStrings& s, std::int64_t rows) {
  c.item = in.rows<std::int32_t>("candidate.item", rows);
  in.ids("candidate.item", c.item, 0, s.items.size());
  c.item_fields = in.fields("candidate.field.", s.item_fields, rows);
  c.dense = in.dense("candidate.dense", rows);
  c.vector = in.dense("candidate.vector", rows);
  c.score = in.dense("candidate.score", rows);
  c.value = in.dense("candidate.value", rows);
  in.require(c.score.width <= 1 && c.value.width <= 1, "candidate.score, candidate.value", "more than one number a row");
  c.click = in.flags("candidate.click", rows);
  c.conversion = in.flags("candidate.conversion", rows);
  c.labelled = in.flags("candidate.labelled", rows);
  for (std::size_t i = 0; i < c.item.size(); ++i) in.require(c.conversion[i] <= c.click[i], "candidate.conversion", "a conversion without a click");
  for (const std::string& kind : s.kinds) {
    c.conversions.push_back(in.flags("candidate.conversion." + kind, rows, kUnknownLabel));
    c.values.push_back(in.dense("candidate.value." + kind, rows));
    in.require(c.values.back().width <= 1, "candidate.value." + kind, "more than one number a row");
  }
  for (std::size_t i = 0; i < c.item.size() && !s.kinds.empty(); ++i) {
    const bool any = std::any_of(c.conversions.begin(), c.conversions.end(), [&](const auto& of) { return of[i] == 1; });
    in.require(any == (c.conversion[i] == 1), "candidate.conversion", "does not say what the kinds say");
  }
  c.position = in.rows<std::int32_t>("candidate.position", rows);
  in.require(std::all_of(c.position.begin(), c.position.end(), [](std::int32_t p) { return p >= 0; }), "candidate.position", "a negative position");
}

void load_events(const Loader& in, const SafetensorsFile& file, RawColumns& c, const RawStrings& s) {
  c.event_time = file.values<std::int64_t>("event.time");
  const auto rows = static_cast<std::int64_t>(c.event_time.size());
  c.event_query = in.rows<std::int32_t>("event.query", rows);
  in.ids("event.query", c.event_query, -1, s.queries.size());
  c.event_item = in.rows<std::int32_t>("event.item", rows);
  in.ids("event.item", c.event_item, -1, s.items.size());
  c.event_action = in.rows<std::int32_t>("event.action", rows);
  in.ids("event.action", c.event_action, -1, s.actions.size());
  c.event_fields = in.fields("event.field.", s.item_fields, rows);
}

}  // namespace

void save_columns(SafetensorsWriter& writer, const RawColumns& c, const RawStrings& s) {
  add_table(writer, "dict.user", s.users);
  add_table(writer, "dict.query", s.queries);
  add_table(writer, "dict.term", s.terms);
  add_table(writer, "dict.item", s.items);
  add_table(writer, "dict.action", s.actions);
  add_dictionaries(writer, "dict.user_field.", s.user_fields);
  add_dictionaries(writer, "dict.context.", s.context_fields);
  add_dictionaries(writer, "dict.item_field.", s.item_fields);
  add_bags(writer, "query.terms", c.query_terms);

  add_table(writer, "request.id", s.request_ids);
  writer.add("request.time", c.time);
  writer.add("request.user", c.user);
  writer.add("request.query", c.query);
  writer.add("request.target", c.target);
  writer.add("request.split", c.split);
  writer.add("request.candidates", c.candidates);
  writer.add("request.events", {c.requests(), 2}, c.events);
  add_fields(writer, "request.user_field.", s.user_fields.names, c.user_fields);
  add_fields(writer, "request.context.", s.context_fields.names, c.context_fields);
  add_dense(writer, "request.user_dense", c.user_dense);

  writer.add("candidate.item", c.item);
  add_fields(writer, "candidate.field.", s.item_fields.names, c.item_fields);
  add_dense(writer, "candidate.dense", c.dense);
  add_dense(writer, "candidate.vector", c.vector);
  add_dense(writer, "candidate.score", c.score);
  add_dense(writer, "candidate.value", c.value);
  writer.add("candidate.click", c.click);
  writer.add("candidate.conversion", c.conversion);
  writer.add("candidate.labelled", c.labelled);
  for (std::size_t k = 0; k < s.kinds.size(); ++k) {
    writer.add("candidate.conversion." + s.kinds[k], c.conversions[k]);
    add_dense(writer, "candidate.value." + s.kinds[k], c.values[k]);
  }
  writer.add("candidate.position", c.position);

  writer.add("event.time", c.event_time);
  writer.add("event.query", c.event_query);
  writer.add("event.item", c.event_item);
  writer.add("event.action", c.event_action);
  add_fields(writer, "event.field.", s.item_fields.names, c.event_fields);
}

void load_columns(const SafetensorsFile& file, RawColumns& c, RawStrings& s) {
  const Loader in(file);
  s.users = in.table("dict.user");
  s.queries = in.table("dict.query");
  s.terms = in.table("dict.term");
  s.items = in.table("dict.item");
  s.actions = in.table("dict.action");
  in.dictionaries("dict.user_field.", s.user_fields);
  in.dictionaries("dict.context.", s.context_fields);
  in.dictionaries("dict.item_field.", s.item_fields);
  c.query_terms = in.bags("query.terms", s.queries.size(), s.terms.size());

  std::int64_t candidates = 0;
  load_requests(in, file, c, s, candidates);
  load_candidates(in, c, s, candidates);
  load_events(in, file, c, s);
}

}  // namespace piano::data
