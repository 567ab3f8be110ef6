#include "data/feature_space.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/hash.h"
#include "data/labels.h"
#include "engine/base/json_text.h"

namespace piano::data {

namespace {

using Json = nlohmann::json;

Json to_json(const Schema& s) {
  Json json = {{"user_fields", s.user_fields},     {"context_fields", s.context_fields}, {"item_fields", s.item_fields},
               {"match_actions", s.match_actions}, {"match_fields", s.match_fields},     {"user_dense", s.user_dense},
               {"item_dense", s.item_dense},       {"item_vector", s.item_vector},       {"has_score", s.has_score}};
  if (s.match_set > 1) json["match_set"] = s.match_set;
  if (s.ngrams.on()) json["ngrams"] = {s.ngrams.least, s.ngrams.most, s.ngrams.buckets};
  if (!s.conversions.empty()) json["conversions"] = s.conversions;
  return json;
}

Schema schema_from_file(const SafetensorsFile& file) {
  const auto entry = file.metadata().find("schema");
  if (entry == file.metadata().end()) throw Error(ErrorCode::model, file.path() + ": no \"schema\" in the metadata");
  Schema s;
  try {
    const Json json = parse_json(entry->second);
    json.at("user_fields").get_to(s.user_fields);
    json.at("context_fields").get_to(s.context_fields);
    json.at("item_fields").get_to(s.item_fields);
    json.at("match_actions").get_to(s.match_actions);
    json.at("match_fields").get_to(s.match_fields);
    s.match_set = json.value("match_set", 1);
    json.at("user_dense").get_to(s.user_dense);
    json.at("item_dense").get_to(s.item_dense);
    json.at("item_vector").get_to(s.item_vector);
    json.at("has_score").get_to(s.has_score);
    if (json.contains("ngrams")) {
      const auto [least, most, buckets] = json["ngrams"].get<std::array<std::int32_t, 3>>();
      s.ngrams = {least, most, buckets};
    }
    if (json.contains("conversions")) json["conversions"].get_to(s.conversions);
  } catch (const Json::exception&) {
    throw Error(ErrorCode::model, file.path() + ": the \"schema\" in the metadata is not one that this version can read");
  }
  const auto bad = [&](const std::string& what) { throw Error(ErrorCode::model, file.path() + ": schema: " + what); };
  const auto distinct_sorted = [&](const std::vector<std::string>& names, const char* what) {
    for (std::size_t i = 1; i < names.size(); ++i)
      if (names[i] <= names[i - 1]) bad(std::string(what) + " are not sorted by name");
  };
  distinct_sorted(s.user_fields, "user_fields");
  distinct_sorted(s.context_fields, "context_fields");
  distinct_sorted(s.item_fields, "item_fields");
  distinct_sorted(s.match_fields, "match_fields");
  check_kind_names(s.conversions, file.path());
  for (const std::string& name : s.match_fields)
    if (std::find(s.item_fields.begin(), s.item_fields.end(), name) == s.item_fields.end()) bad("match field '" + name + "' is no item field");
  if (s.match_actions.size() > 8) bad("more than 8 match actions");
  if (!s.ngrams.valid() || s.ngrams.buckets < 0) bad("n-grams that cannot be");
  if (s.match_set < 1 || s.match_set > 3) bad("match features of set " + std::to_string(s.match_set));
  for (const std::int32_t width : {s.user_dense, s.item_dense, s.item_vector})
    if (width < 0 || width > kWidestRow) bad("a width of " + std::to_string(width));
  return s;
}

std::vector<float> load_floats(const SafetensorsFile& file, const std::string& name, std::int64_t expected) {
  const std::span<const float> values = file.values<float>(name);
  if (static_cast<std::int64_t>(values.size()) != expected)
    throw Error(ErrorCode::model, file.path() + ": " + name + ": expected " + std::to_string(expected) + " numbers, got " +
                                      std::to_string(values.size()));
  for (const float v : values)
    if (!std::isfinite(v)) throw Error(ErrorCode::model, file.path() + ": " + name + ": a number that is not finite");
  return {values.begin(), values.end()};
}

Scaling load_scaling(const SafetensorsFile& file, const std::string& name, std::int32_t width) {
  Scaling s{load_floats(file, "scale." + name + ".mean", width), load_floats(file, "scale." + name + ".deviation", width)};
  for (const float d : s.deviation)
    if (!(d > 0)) throw Error(ErrorCode::model, file.path() + ": scale." + name + ".deviation: expected positive numbers");
  return s;
}

void save_scaling(SafetensorsWriter& writer, const std::string& name, const Scaling& s) {
  writer.add("scale." + name + ".mean", std::span<const float>(s.mean));
  writer.add("scale." + name + ".deviation", std::span<const float>(s.deviation));
}

// Calls visit(name, vocabulary) for each vocabulary; `space` is a FeatureSpace, const or not, with one vocabulary per schema field.
template <class Space, class Visit>
void each_vocabulary(Space& space, Visit visit) {
  visit("user", space.user);
  visit("query", space.query);
  visit("term", space.term);
  visit("item", space.item);
  visit("action", space.action);
  const auto each_field = [&](const std::string& prefix, const std::vector<std::string>& names, auto& vocabularies) {
    for (std::size_t i = 0; i < names.size(); ++i) visit(prefix + names[i], vocabularies[i]);
  };
  each_field("user_field.", space.schema.user_fields, space.user_fields);
  each_field("context.", space.schema.context_fields, space.context_fields);
  each_field("item_field.", space.schema.item_fields, space.item_fields);
}

}  // namespace

std::string_view Schema::kind(std::size_t k) const { return conversions.empty() ? kPlainKind : std::string_view(conversions[k]); }

void check_kind_names(const std::vector<std::string>& names, const std::string& path) {
  bool fine = names.size() <= kMostKinds;
  for (std::size_t k = 0; k < names.size(); ++k) fine = fine && !names[k].empty() && (k == 0 || names[k - 1] < names[k]);
  if (!fine) throw Error(ErrorCode::model, path + ": \"conversions\" in the metadata: expected at most " + std::to_string(kMostKinds) + " names, sorted; the file is damaged");
}

FeatureSpace FeatureSpace::load(std::shared_ptr<const SafetensorsFile> file) {
  FeatureSpace space;
  space.schema = schema_from_file(*file);
  space.user_fields.resize(space.schema.user_fields.size());
  space.context_fields.resize(space.schema.context_fields.size());
  space.item_fields.resize(space.schema.item_fields.size());
  each_vocabulary(space, [&](const std::string& name, Vocabulary& v) { v = Vocabulary::load(file, name); });
  space.user_dense = load_scaling(*file, "user_dense", space.schema.user_dense);
  space.item_dense = load_scaling(*file, "item_dense", space.schema.item_dense);
  space.score = load_scaling(*file, "score", 1);
  space.match = load_scaling(*file, "match", static_cast<std::int32_t>(match_feature_names(space.schema).size()));
  space.item_popularity = load_floats(*file, "item_popularity", space.item.rows());
  space.item_vectors = ItemVectors::load(file, space.schema.item_vector);
  space.interactions = Interactions::load(file);
  return space;
}

void FeatureSpace::save(SafetensorsWriter& writer) const {
  writer.metadata("schema", json_text(to_json(schema)));
  save_scaling(writer, "user_dense", user_dense);
  save_scaling(writer, "item_dense", item_dense);
  save_scaling(writer, "score", score);
  save_scaling(writer, "match", match);
  writer.add("item_popularity", std::span<const float>(item_popularity));
  interactions.save(writer);
  each_vocabulary(*this, [&](const std::string& name, const Vocabulary& v) { v.save(writer, name); });
  item_vectors.save(writer);
}

void FeatureSpace::append_term(std::string_view text, std::string& buffer, std::vector<std::int32_t>& rows) const {
  if (!schema.ngrams.on()) return rows.push_back(term.find(text));
  mark_word(text, buffer);
  rows.push_back(term.find(unmarked(buffer)));
  for_each_ngram(buffer, schema.ngrams, [&](std::int32_t bucket) { rows.push_back(term.rows() + bucket); });
}

std::string FeatureSpace::fingerprint() const {
  std::uint64_t h = hash64(json_text(to_json(schema)));
  each_vocabulary(*this, [&](const std::string& name, const Vocabulary& v) {
    h = hash64(name, h);
    for (std::int32_t row = kFirstId; row < v.rows(); ++row) h = hash64(v.text(row), h);
  });
  for (const Scaling* s : {&user_dense, &item_dense, &score, &match})
    for (const std::vector<float>* column : {&s->mean, &s->deviation})
      h = hash64({reinterpret_cast<const char*>(column->data()), column->size() * sizeof(float)}, h);
  h = item_vectors.hash(h);
  h = interactions.fingerprint(h);
  std::array<char, 17> hex{};
  std::snprintf(hex.data(), hex.size(), "%016llx", static_cast<unsigned long long>(h));
  return hex.data();
}

std::string schema_difference(const Schema& model, const Schema& file) {
  const auto width = [](const char* what, std::int32_t wanted, std::int32_t found) {
    if (wanted == 0 || found == 0 || wanted == found) return std::string();
    return std::string(what) + ": the model reads " + std::to_string(wanted) + " numbers, the data has " + std::to_string(found);
  };
  const auto fields = [](const char* what, const std::vector<std::string>& wanted, const std::vector<std::string>& found) {
    const auto has = [](const std::vector<std::string>& names, const std::string& name) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    for (const std::string& name : wanted) {
      if (has(found, name)) continue;
      for (const std::string& other : found)
        if (!has(wanted, other)) return std::string(what) + ": the model reads '" + name + "', the data has '" + other + "' instead";
    }
    return std::string();
  };
  for (const std::string& difference :
       {width("user.dense", model.user_dense, file.user_dense), width("candidates.dense", model.item_dense, file.item_dense),
        width("candidates.vector", model.item_vector, file.item_vector), fields("user.fields", model.user_fields, file.user_fields),
        fields("context", model.context_fields, file.context_fields), fields("candidates.fields", model.item_fields, file.item_fields),
        model.conversions.empty() ? std::string() : fields("candidates.conversion", model.conversions, file.conversions)})
    if (!difference.empty()) return difference;
  return {};
}

}  // namespace piano::data
