// What a query is called and what its terms are; one rule for logs and for live requests.
//
// A query given as text is that text, byte for byte; its terms are its words: split at ASCII white space, ASCII letters lower-cased, other
// bytes (UTF-8) as they are. A query given as term ids is called by its terms joined with one space; its terms are the ids as given.
// Text of white space only, or term ids that are all empty, are no query. Two queries are the same when they are called the same.
#pragma once

#include <string>
#include <string_view>

#include "data/request.h"

namespace piano::data {

inline bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// "" when there is no query. The result views the query or `buffer`.
std::string_view query_text(const Query& query, std::string& buffer);

// Calls add(term) for each term in order. requires: query_text() is not "".
template <class Add>
void for_each_term(const Query& query, std::string& buffer, Add add) {
  bool from_text = false;
  for (std::size_t i = 0; i < query.text.size();) {
    buffer.clear();
    for (; i < query.text.size() && !is_space(query.text[i]); ++i) {
      const char c = query.text[i];
      buffer.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    }
    if (!buffer.empty()) {
      add(std::string_view(buffer));
      from_text = true;
    }
    while (i < query.text.size() && is_space(query.text[i])) ++i;
  }
  if (from_text) return;
  for (const std::string_view term : query.terms)
    if (!term.empty()) add(term);
}

}  // namespace piano::data
