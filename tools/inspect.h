// What `piano inspect` says of a file: one JSON object, whose top level holds facts and sections of facts. People see the same as text.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "data/ngrams.h"
#include "engine/base/safetensors.h"

namespace piano::tools {

// Each adds sections to `out` and what deserves attention to `warnings`. Throws ErrorCode::model when the file is not what its format says.
void inspect_data(const std::string& path, nlohmann::ordered_json& out, std::vector<std::string>& warnings);
void inspect_model(const std::string& path, nlohmann::ordered_json& out, std::vector<std::string>& warnings);
void inspect_state(const SafetensorsFile& file, nlohmann::ordered_json& out);
void inspect_oracle(const SafetensorsFile& file, nlohmann::ordered_json& out);

nlohmann::ordered_json ngrams_json(const data::Ngrams& ngrams);

}  // namespace piano::tools
