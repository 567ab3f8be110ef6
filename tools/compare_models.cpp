#include "tools/compare_models.h"

#include <algorithm>
#include <filesystem>

#include "engine/base/error.h"

namespace piano::tools {
namespace {

namespace fs = std::filesystem;

// What the model changes of what all share.
std::vector<std::string> changed_keys(const Config& before, const Config& after) {
  const std::vector<Option> a = options(before), b = options(after);
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].value != b[i].value) keys.push_back(a[i].key);
  }
  return keys;
}

NamedConfig from_file(const std::string& path, const Config& shared) {
  NamedConfig model{fs::path(path).stem().string(), shared, {}};
  read_toml(path, model.config);
  return model;
}

NamedConfig from_assignments(const std::string& text, const Config& shared) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    throw Error(ErrorCode::usage, "--model: expected NAME=KEY=VALUE,.., a TOML file or a folder of them, got '" + text + "'; for a model without "
                                  "settings of its own write '" + text + "='");
  }
  NamedConfig model{text.substr(0, equals), shared, {}};
  for (std::size_t at = equals + 1; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    set_option(model.config, std::string_view(text).substr(at, comma - at));
    at = comma + 1;
  }
  return model;
}

// What to do about an option that all models share and this one does not read: a message about the model alone would blame the wrong flag.
std::string hint(const std::string& refusal, const Config& shared, const NamedConfig& model) {
  for (const std::string& key : changed_keys(Config{}, shared)) {
    const bool own = std::find(model.own.begin(), model.own.end(), key) != model.own.end();
    if (own || !refusal.starts_with(key + ": model.name = ")) continue;
    return "; it comes from what all models share (--set, --config): put it back in this model's own settings";
  }
  return "";
}

std::vector<std::string> toml_files(const std::string& folder) {
  std::vector<std::string> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".toml") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  if (paths.empty()) throw Error(ErrorCode::usage, "--model: no TOML file in the folder " + folder);
  return paths;
}

}  // namespace

void require_name(const std::string& name, const std::vector<std::string>& taken) {
  constexpr const char* plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
  if (name.empty() || name[0] == '.' || name.find_first_not_of(plain) != std::string::npos) {
    throw Error(ErrorCode::usage, "'" + name + "': expected a name of letters, digits, '_', '+', '-' and '.', which does not begin with '.'");
  }
  if (std::find(taken.begin(), taken.end(), name) != taken.end()) throw Error(ErrorCode::usage, "two systems are called '" + name + "'");
}

std::vector<NamedConfig> models_of(const CommandLine& line) {
  const Config shared = config_of(line);
  std::vector<NamedConfig> models;
  std::vector<std::string> names;
  for (const std::string& text : line.all("model")) {
    std::vector<NamedConfig> found;
    try {
      if (fs::is_directory(text)) {
        for (const std::string& path : toml_files(text)) found.push_back(from_file(path, shared));
      } else {
        found.push_back(text.ends_with(".toml") ? from_file(text, shared) : from_assignments(text, shared));
      }
      for (NamedConfig& model : found) {
        model.own = changed_keys(shared, model.config);
        try {
          check(model.config);
        } catch (const Error& e) {
          throw Error(e.code(), e.what() + hint(e.what(), shared, model));
        }
        require_name(model.name, names);
        names.push_back(model.name);
        models.push_back(std::move(model));
      }
    } catch (const Error& e) {
      throw Error(e.code(), "--model " + text + ": " + e.what());
    }
  }
  return models;
}

}  // namespace piano::tools
