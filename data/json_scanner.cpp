#include "data/json_scanner.h"

#include <charconv>

namespace piano::data {

bool JsonScanner::escaped(const char* begin, std::string_view& out) {
  const std::size_t start = unescaped_.size();
  for (;;) {
    unescaped_.append(begin, at_);
    if (*at_ == '"') break;
    if (*at_ != '\\') return false;
    ++at_;
    constexpr std::string_view kLetters = "\"\\/bfnrt", kMeant = "\"\\/\b\f\n\r\t";
    const char letter = *at_++;
    if (letter == 'u') {
      unsigned code = 0, low = 0;
      if (!code_unit(code)) return false;
      if (code >= 0xd800 && code <= 0xdfff) {  // half of a pair
        if (code > 0xdbff || at_[0] != '\\' || at_[1] != 'u') return false;
        at_ += 2;
        if (!code_unit(low) || low < 0xdc00 || low > 0xdfff) return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      }
      const auto put = [&](unsigned byte) { unescaped_ += static_cast<char>(byte); };
      const auto put_more = [&](unsigned shift) { put(0x80 | ((code >> shift) & 0x3f)); };
      if (code < 0x80) {
        put(code);
      } else if (code < 0x800) {
        put(0xc0 | (code >> 6)), put_more(0);
      } else if (code < 0x10000) {
        put(0xe0 | (code >> 12)), put_more(6), put_more(0);
      } else {
        put(0xf0 | (code >> 18)), put_more(12), put_more(6), put_more(0);
      }
    } else {
      const std::size_t which = kLetters.find(letter);
      if (which == std::string_view::npos) return false;
      unescaped_ += kMeant[which];
    }
    begin = at_;
    skip_plain();
  }
  ++at_;
  out = std::string_view(unescaped_).substr(start);
  return true;
}

bool JsonScanner::rare_number(const char* at, double& out) {
  if ((*at | 0x20) == 'e') {
    ++at;
    if (*at == '+' || *at == '-') ++at;
    const char* exponent = at;
    while (*at >= '0' && *at <= '9') ++at;
    if (at == exponent) return false;
  }
  const auto [stop, error] = std::from_chars(at_, at, out);
  at_ = at;
  return error == std::errc{} && stop == at;
}

bool JsonScanner::code_unit(unsigned& unit) {
  const auto [stop, error] = std::from_chars(at_, at_ + 4, unit, 16);  // takes no sign; stops at the padding
  at_ += 4;
  return error == std::errc{} && stop == at_;
}

}  // namespace piano::data
