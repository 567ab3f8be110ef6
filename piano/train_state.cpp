#include "piano/train_state.h"

#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"
#include "piano/model_file.h"

namespace piano {
namespace {

constexpr const char* kFormat = "piano-training-state";
constexpr int kVersion = 1;

void require_same_config(const std::string& path, const Config& saved, const Config& asked) {
  const auto a = options(saved), b = options(asked);
  for (std::size_t i = 0; i < a.size(); ++i) {
    const bool how_long = a[i].key == "train.max_steps" || a[i].key == "train.patience" ||
                          (a[i].key == "train.epochs" && saved.train.schedule == Schedule::constant);
    if (how_long) continue;
    if (a[i].value != b[i].value) {
      throw Error(ErrorCode::usage, path + ": the training was started with " + a[i].key + " = " + a[i].value + ", got " + b[i].value +
                                        "; resume with the same configuration, or train into another file");
    }
  }
}

}  // namespace

void save_state(const std::string& path, const TrainState& state, const Config& config, const std::string& data_fingerprint,
                const ParameterStore& parameters, const Optimiser& optimiser) {
  SafetensorsWriter writer(path);
  write_format(writer, kFormat, kVersion, kVersion);
  // How long to train is no part of the state: 400 steps, or 200 and 200 more, write the same bytes.
  Config until = config;
  until.train.max_steps = 0, until.train.patience = Config{}.train.patience;
  if (config.train.schedule == Schedule::constant) until.train.epochs = Config{}.train.epochs;
  writer.metadata("config", to_toml(until));
  writer.metadata("data", data_fingerprint);
  nlohmann::json json{{"step", optimiser.steps()}, {"epoch", state.epoch}, {"cursor", state.cursor}, {"best_epoch", state.best_epoch},
                      {"best", state.best}, {"worse", state.worse}};
  writer.metadata("state", json_text(json));
  save_parameters(writer, parameters);
  optimiser.save(writer);
  writer.commit();
}

TrainState load_state(const std::string& path, const Config& config, const std::string& data_fingerprint, ParameterStore& parameters,
                      Optimiser& optimiser) {
  const SafetensorsFile file(path);
  check_format(file, kFormat, kVersion);
  file.verify();
  const auto& metadata = file.metadata();
  const auto text = [&](const char* key) {
    const auto found = metadata.find(key);
    if (found == metadata.end()) throw Error(ErrorCode::model, path + ": no metadata '" + key + "'; the file is damaged");
    return found->second;
  };
  Config saved;
  parse_toml(text("config"), path + ": config", saved);
  require_same_config(path, saved, config);
  if (text("data") != data_fingerprint) {
    throw Error(ErrorCode::usage, path + ": the training was started on other data; resume with the same file, or train into another --out");
  }
  TrainState state;
  std::int64_t step = 0;
  try {
    const auto json = parse_json(text("state"));
    step = json.at("step");
    state = {json.at("epoch"), json.at("cursor"), json.at("best_epoch"), json.at("best"), json.at("worse")};
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorCode::model, path + ": metadata 'state': " + e.what());
  }
  load_parameters(file, parameters);
  optimiser.load(file, step);
  return state;
}

}  // namespace piano
