// piano inspect: what is in a file, with warnings.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "data/packed_file.h"
#include "engine/base/json_text.h"
#include "piano/model_file.h"
#include "tools/command_line.h"
#include "tools/inspect.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string value_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_number_float()) return number_text(value.get<double>(), 4);
  if (value.is_number()) return count_text(value.get<std::int64_t>());
  std::string joined;
  for (const Json& element : value) joined += (joined.empty() ? "" : ", ") + value_text(element);
  return joined.empty() ? "none" : joined;
}

std::string words(std::string key) {
  std::replace(key.begin(), key.end(), '_', ' ');
  return key;
}

// Facts first, then one indented block per section. The whole configuration is for --json: people see what differs from the defaults.
std::string to_text(const Json& report) {
  std::vector<std::vector<std::string>> facts;
  std::string sections;
  for (const auto& [key, value] : report.items()) {
    if (key == "config" || key == "warnings") continue;
    if (!value.is_object()) {
      facts.push_back({words(key), value_text(value)});
      continue;
    }
    std::vector<std::vector<std::string>> rows;
    for (const auto& [name, inner] : value.items()) {
      const bool time = inner.is_number() && name.find("time") != std::string::npos;
      const std::string text = time ? json_text(inner) : value_text(inner);
      rows.push_back({words(name), text});
    }
    sections += "\n" + words(key) + "\n" + aligned(rows, "ll", "  ");
  }
  std::string text = aligned(facts, "ll") + sections;
  for (const Json& warning : report["warnings"]) text += "\nwarning: " + warning.get<std::string>();
  return text + (report["warnings"].empty() ? "" : "\n");
}

Json inspect_file(const std::string& path, bool verify) {
  const SafetensorsFile file(path);
  const auto metadata = [&](const char* key) {
    const auto entry = file.metadata().find(key);
    return entry == file.metadata().end() ? std::string("none") : entry->second;
  };
  const std::string format = metadata("format");
  Json out{{"file", path}, {"format", format}, {"format_version", metadata("format_version")},
           {"bytes", static_cast<std::int64_t>(std::filesystem::file_size(path))}, {"tensors", file.tensors().size()},
           {"checksum", metadata("checksum")}};
  if (verify) {
    file.verify();
    out["verified"] = true;
  }
  std::vector<std::string> warnings;
  if (format == data::kDatasetFormat) inspect_data(path, out, warnings);
  else if (format == kModelFormat) inspect_model(path, out, warnings);
  else if (format == "piano-training-state") inspect_state(file, out);
  else if (format == "piano-oracle") inspect_oracle(file, out);
  else warnings.emplace_back("not a file of PIANO's: only the container was read");
  out["warnings"] = warnings;
  return out;
}

}  // namespace

void inspect(const Arguments& arguments) {
  CommandLine line("inspect", "[flags] FILE...", "says what is in a model, data, training state or oracle file, with warnings");
  line.flag("verify", "read the whole file and check its checksum")
      .flag("json", "one JSON object per file")
      .example("piano inspect model.safetensors");
  if (!line.parse(arguments)) return;
  if (line.files().empty()) throw Error(ErrorCode::usage, "expected a file; see piano help inspect");
  bool first = true;
  for (const std::string& path : line.files()) {
    const Json report = inspect_file(path, line.given("verify"));
    if (line.given("json")) print(json_text(report) + "\n");
    else print((first ? "" : "\n") + to_text(report));
    first = false;
  }
}

}  // namespace piano::tools
