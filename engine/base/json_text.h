// JSON to text and back. nlohmann's writer and parser are templates that cost seconds in every file that names them: they are compiled here.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace piano {

/// One line. Bytes that are not UTF-8 become U+FFFD.
std::string json_text(const nlohmann::json& json);
std::string json_text(const nlohmann::ordered_json& json);

/// Throw nlohmann::json::parse_error.
nlohmann::json parse_json(std::string_view text);
nlohmann::ordered_json parse_ordered_json(std::string_view text);  // keys stay in the text's order

nlohmann::ordered_json number_or_null(double x);  // null for what JSON has no number for

}  // namespace piano
