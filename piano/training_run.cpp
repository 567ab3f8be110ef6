#include "piano/training_run.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <optional>

#include <nlohmann/json.hpp>

#include "data/hash.h"
#include "engine/base/files.h"
#include "engine/base/json_text.h"
#include "piano/model_file.h"

namespace piano {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

std::optional<Json> read_json(const std::string& path) {
  if (!fs::exists(path)) return std::nullopt;
  const MappedFile file(path);
  try {
    return parse_ordered_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()});
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::model, path + ": damaged: expected JSON; remove it to train anew");
  }
}

void write_json(const std::string& path, const Json& json) {
  AtomicFile file(path);
  file.write(json_text(json) + "\n");
  file.commit();
}

std::string checksum_of(const std::string& model) { return SafetensorsFile(model).metadata().at("checksum"); }

// The run as its result.json tells it, or nothing when there is none or its model is gone.
std::optional<RunResult> finished(const std::string& folder, const Json& made_from) {
  const std::string path = folder + "/result.json";
  const std::optional<Json> json = read_json(path);
  if (!json || !fs::exists(run_model(folder))) return std::nullopt;
  try {
    if (json->at("made_from") != made_from) {
      throw Error(ErrorCode::usage, path + ": the run was made from another configuration or other data; give another folder, or remove this one");
    }
    if (json->at("model") != checksum_of(run_model(folder))) {
      throw Error(ErrorCode::model, run_model(folder) + ": not the model that " + path + " speaks of; remove the folder to train anew");
    }
    const Json& best = json->at("best");
    return RunResult{{json->at("steps"), json->at("epochs"), json->at("best_epoch"),
                      best.is_null() ? std::numeric_limits<double>::quiet_NaN() : best.get<double>(), json->at("stopped_by")},
                     json->at("seconds"), json->at("parameters"), json->at("in_tables"), true};
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::model, path + ": damaged: expected what compare writes when a training is done; remove it to train anew");
  }
}

}  // namespace

std::vector<std::string> changed_options(const Config& config) {
  const std::vector<Option> defaults = options(Config{}), mine = options(config);
  std::vector<std::string> changed;
  for (std::size_t i = 0; i < mine.size(); ++i) {
    if (mine[i].value != defaults[i].value) changed.push_back(mine[i].key + "=" + mine[i].value);
  }
  return changed;
}

std::string run_name(std::size_t fold, const Config& config) {
  std::uint64_t hash = 0;
  for (const std::string& option : changed_options(config)) {
    if (!option.starts_with("train.seed=")) hash = data::hash64(option, hash);  // the seed has its own place in the name
  }
  char text[80];
  std::snprintf(text, sizeof text, "fold%zu.seed%lld.%08llx", fold, static_cast<long long>(config.train.seed),
                static_cast<unsigned long long>(hash >> 32));
  return text;
}

std::string run_model(const std::string& folder) { return folder + "/model.safetensors"; }

RunResult train_once(const std::string& folder, const Config& config, const data::Dataset& data, ThreadPool& pool, TrainOptions options) {
  const Json made_from{{"options", changed_options(config)}, {"data", data.fingerprint()}};
  if (const auto known = finished(folder, made_from)) return *known;
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) throw Error(ErrorCode::io, folder + ": cannot make the folder: " + failed.message());

  const std::string state = run_model(folder) + ".state", sittings = folder + "/interrupted.json";
  options.out = run_model(folder);
  options.resume = fs::exists(state);
  RunResult result;
  if (const auto earlier = read_json(sittings); earlier && options.resume) result.seconds = earlier->value("seconds", 0.0);
  const auto started = std::chrono::steady_clock::now();
  result.summary = train(config, data, pool, options);
  result.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (result.summary.stopped_by == "interrupted") {
    write_json(sittings, {{"seconds", result.seconds}});
    return result;
  }

  const auto model = Model::load(options.out);
  for (const Parameter& p : model->impl().parameters.parameters()) {
    result.parameters += p.shape.elements();
    if (p.is_table) result.in_tables += p.shape.elements();
  }
  const TrainSummary& s = result.summary;
  const Json best = std::isnan(s.best) ? Json(nullptr) : Json(s.best);
  write_json(folder + "/result.json", {{"made_from", made_from}, {"model", checksum_of(options.out)}, {"steps", s.steps}, {"epochs", s.epochs},
                                       {"best_epoch", s.best_epoch}, {"best", best}, {"stopped_by", s.stopped_by}, {"seconds", result.seconds},
                                       {"parameters", result.parameters}, {"in_tables", result.in_tables}});
  for (const std::string& done_with : {state, sittings}) fs::remove(done_with, failed);
  return result;
}

}  // namespace piano
