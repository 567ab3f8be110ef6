#include "data/npy.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

#include "engine/base/error.h"

namespace piano::data {

namespace {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they lie in the file: little-endian");

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<std::int64_t>> shape;
};

// The header is a Python dict literal with these three keys: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : rest_(text), name_(name) {}

  Header parse() {
    Header header;
    expect('{');
    while (!take('}')) {
      const std::string key = string();
      expect(':');
      if (key == "descr") put(header.descr, dtype());
      else if (key == "fortran_order") put(header.fortran_order, boolean());
      else if (key == "shape") put(header.shape, tuple());
      else fail();
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!rest_.empty() || !header.descr || !header.fortran_order || !header.shape) fail();
    return header;
  }

 private:
  [[noreturn]] void fail() const {
    throw Error(ErrorCode::data, name_ + ": expected the header of a .npy file, a dict of 'descr', 'fortran_order' and 'shape'; the file is damaged");
  }
  template <class T>
  void put(std::optional<T>& to, T value) const {
    if (to) fail();  // a key twice
    to = std::move(value);
  }
  void skip_space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }
  bool take(char c) {
    skip_space();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail();
  }
  bool word(std::string_view wanted) {
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(wanted.size());
    return true;
  }
  std::string string() {
    const char quote = take('\'') ? '\'' : '"';
    if (quote == '"') expect('"');
    const std::size_t end = rest_.find(quote);
    if (end == rest_.npos) fail();
    const std::string text(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return text;
  }
  std::string dtype() {
    skip_space();
    if (!rest_.starts_with('[') && !rest_.starts_with('(')) return string();
    throw Error(ErrorCode::data, name_ + ": unsupported dtype, a structured one: expected little-endian floats (<f4, <f2 or <f8); save one of its fields, "
                                         "or numpy.lib.recfunctions.structured_to_unstructured(matrix)");
  }
  bool boolean() {
    skip_space();
    const bool is_true = word("True");
    if (!is_true && !word("False")) fail();
    return is_true;
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> sizes;
    expect('(');
    while (!take(')')) {
      skip_space();
      std::int64_t size = -1;
      const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), size);
      if (error != std::errc() || size < 0) fail();
      rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
      sizes.push_back(size);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return sizes;
  }

  std::string_view rest_;
  const std::string& name_;
};

// IEEE 754 binary16.
float half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
  const float size = exponent == 31  ? (fraction != 0 ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity())
                     : exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                     : std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return bits >> 15 ? -size : size;
}

// A double beyond the floats becomes infinite, by IEEE 754's conversion, which the language alone does not promise.
float narrow(double x) {
  constexpr double most = std::numeric_limits<float>::max();
  return std::abs(x) > most ? std::numeric_limits<float>::infinity() : static_cast<float>(x);
}

template <class T, class Convert>
void read_values(std::span<const std::byte> bytes, std::vector<float>& out, Convert convert) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof(T));
    out.push_back(convert(value));
  }
}

}  // namespace

FloatMatrix parse_npy(std::span<const std::byte> bytes, const std::string& name) {
  const auto fail = [&](const std::string& message) { throw Error(ErrorCode::data, name + ": " + message); };
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with("\x93NUMPY")) fail("expected a .npy file, as np.save writes it");
  // Magic (6), version (2), length of the header (2 in version 1, else 4), header.
  const auto byte_at = [&](std::size_t i) { return i < text.size() ? static_cast<std::size_t>(static_cast<unsigned char>(text[i])) : 0; };
  const std::size_t version = byte_at(6), begin = version == 1 ? 10 : 12;
  if (version < 1 || version > 3 || byte_at(7) != 0)
    fail("expected version 1.0, 2.0 or 3.0 of the .npy format, got " + std::to_string(version) + "." + std::to_string(byte_at(7)));
  std::size_t length = 0;
  for (std::size_t i = begin; i-- > 8;) length = length << 8 | byte_at(i);
  if (begin + length > text.size()) fail("the file is truncated in its header");
  const Header header = HeaderParser(text.substr(begin, length), name).parse();

  const std::string& type = *header.descr;
  const std::size_t width = type == "<f2" ? 2 : type == "<f4" ? 4 : type == "<f8" ? 8 : 0;
  if (width == 0) fail("expected little-endian floats (<f4, <f2 or <f8), got '" + type.substr(0, 20) + "': save matrix.astype(\"<f4\")");
  if (*header.fortran_order) fail("expected rows one after the other (C order), got Fortran order: save numpy.ascontiguousarray(matrix)");
  if (header.shape->size() != 2) fail("expected a matrix of two dimensions, one row an item, got " + std::to_string(header.shape->size()));

  FloatMatrix m{(*header.shape)[0], (*header.shape)[1], {}};
  const std::span<const std::byte> numbers = bytes.subspan(begin + length);
  const auto rows = static_cast<std::size_t>(m.rows), columns = static_cast<std::size_t>(m.columns);
  const std::size_t most = numbers.size() / width;  // of the numbers that fit; the product is formed only below it
  if ((columns != 0 && rows > most / columns) || rows * columns * width != numbers.size())
    fail("shape (" + std::to_string(m.rows) + ", " + std::to_string(m.columns) + ") does not fit " + std::to_string(numbers.size()) +
         " bytes of numbers; the file is truncated or damaged");
  m.values.reserve(rows * columns);
  if (width == 2) read_values<std::uint16_t>(numbers, m.values, half);
  if (width == 4) read_values<float>(numbers, m.values, [](float v) { return v; });
  if (width == 8) read_values<double>(numbers, m.values, narrow);
  return m;
}

}  // namespace piano::data
