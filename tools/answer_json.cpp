#include "tools/answer_json.h"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"

namespace piano::tools {
namespace {

void append_string(std::string_view text, std::string& out) {
  out += json_text(nlohmann::json(text));
}

void append_id(std::string_view id, std::string& out) {
  out += "{\"id\":";
  if (id.empty()) out += "null";
  else append_string(id, out);
}

template <class Number>
void append_number(const char* key, Number value, std::string& out) {
  char text[48];
  out += key;
  if (std::isnan(static_cast<double>(value))) {  // the model gives none
    out += "null";
    return;
  }
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}

// One number, or {"save": .., "purchase": ..} by the kinds' names.
void append_conversions(std::span<const float> cvr, const std::vector<std::string>& kinds, std::string& out) {
  if (kinds.empty()) return append_number(",\"cvr\":", cvr[0], out);
  for (std::size_t k = 0; k < kinds.size(); ++k) {
    out += k == 0 ? ",\"cvr\":{" : ",";
    append_string(kinds[k], out);
    append_number(":", cvr[k], out);
  }
  out += '}';
}

}  // namespace

void append_answer(std::string_view request_id, const Model& model, const Response& response, std::string& out) {
  append_id(request_id, out);
  out += ",\"model\":";
  append_string(model.name(), out);
  append_number(",\"list\":{\"ctr\":", response.list_ctr, out);
  append_conversions(response.list_cvr, model.conversions(), out);
  out += "},\"ranking\":[";
  for (const Ranked& r : response.ranking) {
    out += r.rank == 1 ? "{\"id\":" : ",{\"id\":";
    append_string(r.id, out);
    append_number(",\"rank\":", r.rank, out);
    append_number(",\"from\":", r.from, out);
    append_number(",\"score\":", r.score, out);
    append_number(",\"ctr\":", r.ctr, out);
    append_conversions(r.cvr, model.conversions(), out);
    out += '}';
  }
  out += "]}\n";
}

void append_error(std::string_view request_id, std::string_view message, std::string& out) {
  append_id(request_id, out);
  out += ",\"error\":{\"code\":\"invalid_request\",\"message\":";
  append_string(message, out);
  out += "}}\n";
}

}  // namespace piano::tools
