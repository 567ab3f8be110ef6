#include "data/query_text.h"

#include <algorithm>

namespace piano::data {

namespace {
bool has_word(std::string_view text) { return !std::all_of(text.begin(), text.end(), is_space); }
}  // namespace

std::string_view query_text(const Query& query, std::string& buffer) {
  if (has_word(query.text)) return query.text;
  buffer.clear();
  for (const std::string_view term : query.terms) {
    if (term.empty()) continue;
    if (!buffer.empty()) buffer.push_back(' ');
    buffer.append(term);
  }
  return has_word(buffer) ? std::string_view(buffer) : std::string_view();
}

}  // namespace piano::data
