#include "data/dataset.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "data/batch_builder.h"
#include "data/dataset_columns.h"
#include "data/packed_file.h"
#include "engine/base/check.h"
#include "engine/base/json_text.h"

namespace piano::data {

namespace {

using Json = nlohmann::json;

// The "dataset" object of the metadata: field names, and what else the writer recorded.
void load_metadata(const SafetensorsFile& file, Dataset::Columns& c) {
  const auto entry = file.metadata().find("dataset");
  if (entry == file.metadata().end()) throw Error(ErrorCode::model, file.path() + ": no \"dataset\" in the metadata");
  try {
    const Json json = parse_json(entry->second);
    json.at("user_fields").get_to(c.strings.user_fields.names);
    json.at("context_fields").get_to(c.strings.context_fields.names);
    json.at("item_fields").get_to(c.strings.item_fields.names);
    if (json.contains("conversions")) json["conversions"].get_to(c.strings.kinds);
    for (const auto& [key, value] : json.items())
      if (value.is_primitive()) c.metadata[key] = value.is_string() ? value.get<std::string>() : json_text(value);
  } catch (const Json::exception&) {
    throw Error(ErrorCode::model, file.path() + ": the \"dataset\" in the metadata is not one that this version can read");
  }
}

std::int32_t widest(const Bags& bags) {
  std::int64_t most = 0;
  for (std::size_t r = 1; r < bags.offsets.size(); ++r) most = std::max(most, bags.offsets[r] - bags.offsets[r - 1]);
  return static_cast<std::int32_t>(std::min<std::int64_t>(most, 0x7fffffff));
}

}  // namespace

Schema Dataset::Columns::schema() const {
  Schema s;
  s.user_fields = strings.user_fields.names;
  s.context_fields = strings.context_fields.names;
  s.item_fields = strings.item_fields.names;
  s.user_dense = user_dense.width;
  s.item_dense = dense.width;
  s.item_vector = vector.width;
  s.has_score = score.width > 0;
  s.conversions = strings.kinds;
  return s;
}

Dataset::Dataset(const std::string& path) {
  auto c = std::make_shared<Columns>();
  c->file = std::make_shared<const SafetensorsFile>(path);
  check_format(*c->file, kDatasetFormat, kDatasetVersion);
  if (!c->file->metadata().contains("checksum")) throw Error(ErrorCode::model, path + ": no \"checksum\" in the metadata");
  load_metadata(*c->file, *c);
  check_kind_names(c->strings.kinds, path);
  load_columns(*c->file, *c, c->strings);
  c->features = FeatureSpace::load(c->file);
  c->widest_field = 1;
  for (const std::vector<Bags>* kind : {&c->user_fields, &c->context_fields, &c->item_fields, &c->event_fields})
    for (const Bags& bags : *kind) c->widest_field = std::max(c->widest_field, widest(bags));
  columns_ = std::move(c);
}

const std::string& Dataset::path() const { return columns_->file->path(); }
std::shared_ptr<const SafetensorsFile> Dataset::file() const { return columns_->file; }
const FeatureSpace& Dataset::features() const { return columns_->features; }
std::string Dataset::fingerprint() const { return columns_->file->metadata().at("checksum"); }
const Dataset::Columns& Dataset::columns() const { return *columns_; }

std::int64_t Dataset::size() const { return columns_->requests(); }

std::vector<std::int64_t> Dataset::requests(Split wanted) const {
  std::vector<std::int64_t> result;
  for (std::int64_t r = 0; r < size(); ++r)
    if (split(r) == wanted) result.push_back(r);
  return result;
}

Split Dataset::split(std::int64_t r) const { return static_cast<Split>(columns_->split[static_cast<std::size_t>(r)]); }

std::string_view Dataset::id(std::int64_t r) const { return columns_->strings.request_ids[r]; }

std::string_view Dataset::user(std::int64_t r) const {
  const std::int32_t raw = columns_->user[static_cast<std::size_t>(r)];
  return raw < 0 ? std::string_view() : columns_->strings.users[raw];
}

std::string_view Dataset::query(std::int64_t r) const {
  const std::int32_t raw = columns_->query[static_cast<std::size_t>(r)];
  return raw < 0 ? std::string_view() : columns_->strings.queries[raw];
}

std::int64_t Dataset::time(std::int64_t r) const { return columns_->time[static_cast<std::size_t>(r)]; }
std::int64_t Dataset::candidate_begin(std::int64_t r) const { return columns_->candidates[static_cast<std::size_t>(r)]; }
std::int64_t Dataset::candidate_end(std::int64_t r) const { return columns_->candidates[static_cast<std::size_t>(r) + 1]; }

std::int64_t Dataset::history_size(std::int64_t r) const {
  const auto at = static_cast<std::size_t>(r);
  return columns_->events[2 * at + 1] - columns_->events[2 * at];
}

std::int64_t Dataset::target(std::int64_t r) const { return columns_->target[static_cast<std::size_t>(r)]; }
std::string_view Dataset::item(std::int64_t candidate) const { return columns_->strings.items[raw_item(candidate)]; }
std::int32_t Dataset::raw_item(std::int64_t candidate) const { return columns_->item[static_cast<std::size_t>(candidate)]; }
std::int32_t Dataset::raw_items() const { return static_cast<std::int32_t>(columns_->strings.items.size()); }
std::span<const std::uint8_t> Dataset::clicks() const { return columns_->click; }
std::span<const std::uint8_t> Dataset::conversions() const { return columns_->conversion; }

std::vector<std::span<const std::uint8_t>> Dataset::conversions(const Schema& schema) const {
  std::vector<std::span<const std::uint8_t>> result;
  for (const std::int32_t column : kind_columns(schema, columns_->strings.kinds)) result.push_back(conversion_column(*columns_, column));
  return result;
}

std::span<const std::uint8_t> Dataset::labelled() const { return columns_->labelled; }
std::span<const std::int32_t> Dataset::positions() const { return columns_->position; }

const std::string& Dataset::metadata(const std::string& key) const {
  static const std::string none;
  const auto entry = columns_->metadata.find(key);
  return entry == columns_->metadata.end() ? none : entry->second;
}

}  // namespace piano::data
