#include "data/csv.h"

#include "engine/base/error.h"

namespace piano::data {

void CsvRow::split(std::string_view line) {
  cells_.clear();
  columns_.clear();
  unescaped_.clear();
  unescaped_.reserve(line.size());  // views into it stay valid
  error_column_ = 0;
  const auto fail = [&](std::size_t at, const char* reason) {
    error_column_ = static_cast<std::int64_t>(at) + 1;
    throw Error(ErrorCode::data, reason);
  };
  if (const std::size_t broken = find_broken_utf8(line); broken != std::string_view::npos) fail(broken, "broken UTF-8");

  std::size_t at = 0;
  for (;;) {
    columns_.push_back(static_cast<std::int64_t>(at) + 1);
    if (at < line.size() && line[at] == '"') {
      const std::size_t begin = unescaped_.size(), opened = at++;
      for (;; ++at) {
        if (at >= line.size()) fail(opened, "a quoted cell does not end on its line");
        if (line[at] == '"') {
          if (at + 1 >= line.size() || line[at + 1] != '"') break;
          ++at;
        }
        unescaped_ += line[at];
      }
      ++at;
      if (at < line.size() && line[at] != ',') fail(at, "expected a comma after the quoted cell");
      cells_.push_back(std::string_view(unescaped_).substr(begin));
    } else {
      const std::size_t end = std::min(line.find(',', at), line.size());
      cells_.push_back(line.substr(at, end - at));
      at = end;
    }
    if (at >= line.size()) return;
    ++at;  // the comma
  }
}

std::size_t find_broken_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  for (std::size_t i = 0; i < text.size();) {
    const unsigned lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    std::size_t more = 0;                   // continuation bytes
    unsigned low = 0x80, high = 0xbf;       // of the first of them
    if (lead >= 0xc2 && lead <= 0xdf) more = 1;
    else if (lead >= 0xe0 && lead <= 0xef) more = 2;
    else if (lead >= 0xf0 && lead <= 0xf4) more = 3;
    else return i;
    if (lead == 0xe0) low = 0xa0;           // no overlong forms
    if (lead == 0xed) high = 0x9f;          // no surrogates
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;          // nothing above U+10FFFF
    if (byte(i + 1) < low || byte(i + 1) > high) return i;
    for (std::size_t k = 2; k <= more; ++k)
      if (byte(i + k) < 0x80 || byte(i + k) > 0xbf) return i;
    i += more + 1;
  }
  return std::string_view::npos;
}

}  // namespace piano::data
