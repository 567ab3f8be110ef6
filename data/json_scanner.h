// Tokens of JSON text for readers that know what comes next. Every function is true only when the text is what it is asked for, well-formed and
// without a rarity; when one is false, the text is for a strict parser to judge.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

namespace piano::data {

class JsonScanner {
 public:
  static constexpr std::size_t kPadding = 16;  // zero bytes that must follow the text: they end every loop, so that none counts

  struct Number {
    bool whole = false;        // written without '.' and exponent
    std::int64_t integer = 0;  // if whole
    double value = 0;          // finite, correctly rounded
  };

  // Strings without escapes view `text`, the others an own buffer; both are valid until the next start().
  void start(std::string_view text) {
    at_ = text.data();
    end_ = text.data() + text.size();
    seen_ = 0;
    unescaped_.clear();
    unescaped_.reserve(text.size());  // the views do not move
  }
  bool at_end() {
    skip_space();
    return at_ == end_;
  }
  // Some byte that was scanned is no ASCII: then strings may hold broken UTF-8.
  bool any_high_bytes() const { return (seen_ & kHighBits) != 0; }

  // The next token's first character.
  char peek() {
    skip_space();
    return *at_;
  }
  bool take(char c) {
    if (*at_ != c && peek() != c) return false;
    ++at_;
    return true;
  }
  // The key of a member, written without escapes. requires: at most 12 bytes
  bool take_key(std::string_view key) {
    if (peek() != '"' || std::memcmp(at_ + 1, key.data(), key.size()) != 0 || at_[1 + key.size()] != '"') return false;
    at_ += key.size() + 2;
    return true;
  }
  bool take_null() {
    skip_space();
    if (std::memcmp(at_, "null", 4) != 0) return false;
    at_ += 4;
    return true;
  }

  bool string(std::string_view& out) {
    if (!take('"')) return false;
    const char* begin = at_;
    skip_plain();
    if (*at_ == '\\') return escaped(begin, out);
    if (*at_ != '"') return false;
    out = {begin, static_cast<std::size_t>(at_ - begin)};
    ++at_;
    return true;
  }

  // A whole number as its canonical text.
  bool integer_text(std::string_view& out) {
    skip_space();
    const char* begin = at_;
    Number n;
    if (!number(n) || !n.whole) return false;
    out = {begin, static_cast<std::size_t>(at_ - begin)};
    if (out == "-0") out.remove_prefix(1);
    return true;
  }

  bool number(Number& out) {
    skip_space();
    const char* at = at_;
    const bool negative = *at == '-';
    at += negative;
    const char* first = at;
    std::uint64_t digits = 0;  // of the integer part, then of the fraction too
    at = read_digits(at, digits);
    const auto before = at - first;
    if (before == 0 || (before > 1 && *first == '0')) return false;
    out.whole = *at != '.' && (*at | 0x20) != 'e';
    if (out.whole) {
      if (before > 19 || digits > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return false;
      at_ = at;
      out.integer = negative ? -static_cast<std::int64_t>(digits) : static_cast<std::int64_t>(digits);
      out.value = static_cast<double>(out.integer);
      return true;
    }
    std::ptrdiff_t after = 0;
    if (*at == '.') {
      const char* fraction = ++at;
      at = read_digits(at, digits);
      after = at - fraction;
      if (after == 0) return false;
    }
    if ((*at | 0x20) == 'e' || before + after > 19 || digits > std::uint64_t{1} << 53) return rare_number(at, out.value);
    at_ = at;  // both exact: one division rounds once, as it should
    const double value = static_cast<double>(digits) / kPowers[after];
    out.value = negative ? -value : value;
    return true;
  }

 private:
  static constexpr std::uint64_t kOnes = 0x0101010101010101, kHighBits = 0x8080808080808080;
  static constexpr double kPowers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                       1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19};

  // The loops run on a pointer of their own: at_ itself would be stored with each step, as far as the compiler knows a char may be part of it.
  void skip_space() {
    const char* at = at_;
    while (static_cast<unsigned char>(*at) <= ' ' && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) ++at;
    at_ = at;
  }
  static const char* read_digits(const char* at, std::uint64_t& value) {
    std::uint64_t sum = value;
    for (unsigned digit; (digit = static_cast<unsigned>(*at) - '0') <= 9; ++at) sum = sum * 10 + digit;
    value = sum;
    return at;
  }
  // To the next quote, backslash or control character, eight bytes at a time. A byte of (x - kOnes) & ~x has its high bit set where x's is
  // zero, and perhaps behind it: the first is right. Bytes in the order of a little-endian machine, as in all files that we map.
  void skip_plain() {
    const char* at = at_;
    std::uint64_t seen = seen_, stops = 0;
    for (;; at += 8) {
      std::uint64_t word;
      std::memcpy(&word, at, 8);
      seen |= word;
      const std::uint64_t quote = word ^ (kOnes * '"'), backslash = word ^ (kOnes * '\\');
      stops = (((quote - kOnes) & ~quote) | ((backslash - kOnes) & ~backslash) | ((word - kOnes * 0x20) & ~word)) & kHighBits;
      if (stops != 0) break;
    }
    seen_ = seen;
    at_ = at + std::countr_zero(stops) / 8;
  }
  bool rare_number(const char* at, double& out);          // with an exponent, if one is at `at`, or many digits
  bool escaped(const char* begin, std::string_view& out); // a string from `begin` on, at its first backslash
  bool code_unit(unsigned& unit);

  const char *at_ = nullptr, *end_ = nullptr;
  std::uint64_t seen_ = 0;  // bits of all bytes in strings, and of some others
  std::string unescaped_;
};

}  // namespace piano::data
