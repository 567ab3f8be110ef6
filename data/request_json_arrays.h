// What a parsed request views. Kept from line to line for its memory.
#pragma once

#include <string_view>
#include <vector>

#include "data/request.h"

namespace piano::data {

struct RequestArrays {
  Request request;
  // Parts of these are viewed while they grow: reserve() makes room for a whole line first, so that no view moves.
  std::vector<std::string_view> strings;
  std::vector<float> numbers;
  std::vector<Field> fields;
  std::vector<KindLabel> labels;
  std::vector<KindValue> values;
  std::vector<Event> events;          // viewed when complete
  std::vector<Candidate> candidates;

  void clear() {
    request = {};
    strings.clear();
    numbers.clear();
    fields.clear();
    labels.clear();
    values.clear();
    events.clear();
    candidates.clear();
  }
  void reserve(std::size_t most_strings, std::size_t most_numbers, std::size_t most_fields) {
    strings.reserve(most_strings);
    numbers.reserve(most_numbers);
    fields.reserve(most_fields);
    labels.reserve(most_fields);
    values.reserve(most_fields);
  }
};

inline constexpr std::string_view kRequestKeys[] = {"id", "time", "user", "query", "context", "history", "candidates", "target"};
inline constexpr std::string_view kUserKeys[] = {"id", "fields", "dense"};
inline constexpr std::string_view kEventKeys[] = {"time", "query", "item", "fields", "action"};
inline constexpr std::string_view kCandidateKeys[] = {"id", "score", "position", "fields", "dense", "vector", "value", "click", "conversion"};

inline constexpr double kFloatLimit = 0x1.ffffffp127;  // half a step above the largest float: from here on it would become infinite

}  // namespace piano::data
