#include "engine/base/json_text.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace piano {

using nlohmann::json, nlohmann::ordered_json;

std::string json_text(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }
std::string json_text(const ordered_json& value) { return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace); }

json parse_json(std::string_view text) { return json::parse(text); }
ordered_json parse_ordered_json(std::string_view text) { return ordered_json::parse(text); }

nlohmann::ordered_json number_or_null(double x) { return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json(nullptr); }

}  // namespace piano
