// Simulated logs whose conversions have kinds.
#pragma once

#include <string>

#include "data/dataset_writer.h"
#include "data/request_json.h"
#include "data/simulator.h"

namespace piano::kinds {

// A simulated log, each line as edit() leaves it.
template <class Edit>
void pack(const std::string& path, std::int64_t requests, std::int32_t kinds, Edit edit) {
  data::WriterOptions write;
  data::DatasetWriter writer(path, write);
  data::RequestParser parser;
  data::SimulatorOptions options;
  options.requests = requests;
  options.kinds = kinds;
  std::int64_t line = 0;
  data::simulate(options, [&](std::string_view text) { writer.add_request(parser.parse(edit(std::string(text), line++)), 0, true); }, nullptr);
  writer.commit();
}
inline void pack(const std::string& path, std::int64_t requests, std::int32_t kinds) {
  pack(path, requests, kinds, [](std::string text, std::int64_t) { return text; });
}

inline std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size()) text.replace(at, what.size(), by);
  return text;
}

}  // namespace piano::kinds
