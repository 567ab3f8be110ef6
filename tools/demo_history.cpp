#include "tools/demo_history.h"

#include <deque>
#include <map>
#include <nlohmann/json.hpp>

#include "data/line_reader.h"
#include "engine/base/files.h"
#include "engine/base/json_text.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

// What a request leaves in its user's history: an event for each candidate that was clicked, or the search alone.
void add_events(const Json& request, Json& history) {
  const Json search{{"time", request.at("time")}, {"query", request.at("query")}};
  const std::size_t before = history.size();
  for (const Json& candidate : request.at("candidates")) {
    if (candidate.at("click") == 0) continue;
    Json event = search;
    event["item"] = candidate.at("id"), event["fields"] = candidate.at("fields");
    event["action"] = candidate.at("conversion") == 0 ? "click" : "conversion";
    history.push_back(event);
  }
  if (history.size() > before) return;
  history.push_back(search);
  history.back()["action"] = "search";
}

}  // namespace

void write_requests_with_history(const std::string& log, std::size_t count, const std::string& out) {
  std::string_view line;
  std::deque<std::string> last;
  for (data::LineReader reader(log); reader.next(line);) {
    last.emplace_back(line);
    if (last.size() > count) last.pop_front();
  }
  std::map<std::string, Json> history;  // of the users who ask
  for (const std::string& text : last) history[parse_ordered_json(text).at("user")] = Json::array();

  AtomicFile file(out);
  for (data::LineReader reader(log); reader.next(line);) {
    Json request = parse_ordered_json(line);
    const auto user = history.find(request.at("user"));
    if (user == history.end()) continue;
    const Json past = user->second;
    add_events(request, user->second);
    if (last.empty() || line != last.front()) continue;
    last.pop_front();
    for (Json& candidate : request.at("candidates")) candidate.erase("click"), candidate.erase("conversion");
    request["history"] = past;
    file.write(json_text(request) + "\n");
  }
  file.commit();
}

}  // namespace piano::tools
