// Models, training states and oracles in numbers.
#include <map>
#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"
#include "piano/evaluation_probabilities.h"
#include "piano/model_file.h"
#include "piano/models.h"
#include "tools/inspect.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

// A field with the number of strings that have a row of their own.
Json fields(const std::vector<std::string>& names, const std::vector<data::Vocabulary>& vocabularies) {
  Json list = Json::array();
  for (std::size_t i = 0; i < names.size(); ++i) list.push_back(names[i] + " (" + std::to_string(vocabularies[i].rows() - data::kFirstId) + ")");
  return list;
}

Json schema_of(const data::FeatureSpace& f) {
  const data::Schema& s = f.schema;
  return {{"user_fields", fields(s.user_fields, f.user_fields)}, {"context_fields", fields(s.context_fields, f.context_fields)},
          {"item_fields", fields(s.item_fields, f.item_fields)}, {"user_dense", s.user_dense}, {"item_dense", s.item_dense},
          {"item_vector", s.item_vector}, {"first_ranker_score", s.has_score}, {"match_actions", s.match_actions},
          {"match_fields", s.match_fields}, {"fingerprint", f.fingerprint()}};
}

}  // namespace

Json ngrams_json(const data::Ngrams& n) {
  return {{"characters", std::to_string(n.least) + " to " + std::to_string(n.most)}, {"buckets", n.buckets}};
}

namespace {

Json config_of(const Config& config) {
  Json object;
  for (const Option& o : options(config)) {
    if (o.in_model) object[o.key] = o.value;
  }
  return object;
}

// Of what a model's file keeps, or of all options: those that are not at their defaults.
Json changed(const Config& config, bool all = false) {
  Json list = Json::array();
  const std::vector<Option> now = options(config), defaults = options(Config{});
  for (std::size_t i = 0; i < now.size(); ++i) {
    if ((all || now[i].in_model) && now[i].value != defaults[i].value) list.push_back(now[i].key + " = " + now[i].value);
  }
  return list;
}

}  // namespace

void inspect_model(const std::string& path, Json& out, std::vector<std::string>& warnings) {
  const auto model = Model::load(path);
  const Model::Impl& m = model->impl();
  out["name"] = model->name();
  out["changed_options"] = changed(m.config);
  out["config"] = config_of(m.config);
  if (m.calibration.fitted()) out["calibration"] = {{"click", m.calibration.click.text()}};
  for (std::size_t k = 0; k < m.calibration.conversion.size() && m.calibration.fitted(); ++k) {
    out["calibration"][of_kind("conversion", model->conversions(), k)] = m.calibration.conversion[k].text();
  }
  out["schema"] = schema_of(m.features);
  if (!model->conversions().empty()) out["schema"]["conversions"] = model->conversions();
  if (m.features.schema.ngrams.on()) out["ngrams"] = ngrams_json(m.features.schema.ngrams);
  if (m.features.item_vectors.width() > 0) out["item_vectors"] = {{"width", m.features.item_vectors.width()}, {"rows_of_the_table", m.features.item_vectors.size()}};
  out["vocabularies"] = {{"user", m.features.user.rows()}, {"query", m.features.query.rows()}, {"term", m.features.term.rows()},
                         {"item", m.features.item.rows()}, {"action", m.features.action.rows()}};
  std::int64_t in_tables = 0;
  std::map<std::string, std::int64_t> modules;
  for (const Parameter& p : m.parameters.parameters()) {
    if (p.is_table) in_tables += p.shape.elements();
    else modules[p.name.substr(0, p.name.find('.'))] += p.shape.elements();
  }
  out["parameters"] = {{"all", m.parameters.elements()}, {"in_embedding_tables", in_tables}};
  for (const auto& [name, count] : modules) out["parameters"][name] = count;
  if (m.features.action.rows() == data::kFirstId && m.config.model.name == ModelName::piano) {
    warnings.push_back("no history was seen in training: QDIR has learnt nothing");
  }
  if (m.config.rank.beta == 0 && traits(m.config).conversion) warnings.push_back("rank.beta = 0: the order is by click alone");
}

void inspect_state(const SafetensorsFile& file, Json& out) {
  const auto& metadata = file.metadata();
  const auto state = metadata.find("state"), config = metadata.find("config"), data = metadata.find("data");
  if (state == metadata.end() || config == metadata.end() || data == metadata.end()) {
    throw Error(ErrorCode::model, file.path() + ": the metadata of a training state is missing; the file is damaged");
  }
  try {
    out["state"] = parse_ordered_json(state->second);
  } catch (const Json::exception&) {
  }
  if (!out["state"].is_object()) throw Error(ErrorCode::model, file.path() + ": metadata 'state' is no JSON object; the file is damaged");
  out["data_fingerprint"] = data->second;
  Config parsed;
  parse_toml(config->second, file.path() + ": config", parsed);
  Json all;
  for (const Option& o : options(parsed)) all[o.key] = o.value;
  out["changed_options"] = changed(parsed, true);
  out["config"] = all;
}

void inspect_oracle(const SafetensorsFile& file, Json& out) {
  const auto probability = file.values<float>("p_conversion");
  double sum = 0;
  for (const float p : probability) sum += static_cast<double>(p);
  out["size"] = {{"requests", file.values<std::int64_t>("offsets").size() - 1}, {"candidates", probability.size()}};
  if (!probability.empty()) out["size"]["mean_true_conversion"] = sum / static_cast<double>(probability.size());
  for (const char* key : {"synthetic", "seed", "kappa", "eta", "position_bias", "swap"}) {
    const auto entry = file.metadata().find(key);
    if (entry != file.metadata().end()) out["simulator"][key] = entry->second;
  }
}

}  // namespace piano::tools
