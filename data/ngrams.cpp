#include "data/ngrams.h"

#include <algorithm>
#include <array>

namespace piano::data {

namespace {

// Capitals first, first + step, .. last; the small letter is `distance` further on. Sorted.
struct Capitals {
  char32_t first, last, step;
  std::int32_t distance;
};
constexpr std::array kCapitals{
    Capitals{'A', 'Z', 1, 32},
    Capitals{0xC0, 0xD6, 1, 32},      // Latin
    Capitals{0xD8, 0xDE, 1, 32},
    Capitals{0x100, 0x12E, 2, 1},
    Capitals{0x130, 0x130, 1, 'i' - 0x130},  // the dotted I of Turkish
    Capitals{0x132, 0x136, 2, 1},
    Capitals{0x139, 0x147, 2, 1},
    Capitals{0x14A, 0x176, 2, 1},
    Capitals{0x178, 0x178, 1, 0xFF - 0x178},
    Capitals{0x179, 0x17D, 2, 1},
    Capitals{0x18F, 0x18F, 1, 0x259 - 0x18F},  // Azerbaijani
    Capitals{0x1A0, 0x1A4, 2, 1},     // Vietnamese O with horn
    Capitals{0x1AF, 0x1AF, 1, 1},     // U with horn
    Capitals{0x1CD, 0x1DB, 2, 1},     // pinyin
    Capitals{0x1DE, 0x1EE, 2, 1},
    Capitals{0x1F8, 0x21E, 2, 1},     // with the Romanian S and T
    Capitals{0x386, 0x386, 1, 0x3AC - 0x386},  // Greek
    Capitals{0x388, 0x38A, 1, 37},
    Capitals{0x38C, 0x38C, 1, 64},
    Capitals{0x38E, 0x38F, 1, 63},
    Capitals{0x391, 0x3A1, 1, 32},
    Capitals{0x3A3, 0x3AB, 1, 32},
    Capitals{0x400, 0x40F, 1, 80},    // Cyrillic
    Capitals{0x410, 0x42F, 1, 32},
    Capitals{0x460, 0x480, 2, 1},
    Capitals{0x48A, 0x4BE, 2, 1},
    Capitals{0x4C1, 0x4CD, 2, 1},
    Capitals{0x4D0, 0x52E, 2, 1},
    Capitals{0x531, 0x556, 1, 48},    // Armenian
    Capitals{0x1E00, 0x1E94, 2, 1},   // Latin with more marks
    Capitals{0x1E9E, 0x1E9E, 1, 0xDF - 0x1E9E},
    Capitals{0x1EA0, 0x1EFE, 2, 1},   // Vietnamese
    Capitals{0xFF21, 0xFF3A, 1, 32},  // full width
};

char32_t lower(char32_t c) {
  const auto range = std::find_if(kCapitals.begin(), kCapitals.end(), [&](const Capitals& r) { return c <= r.last; });
  if (range == kCapitals.end() || c < range->first || (c - range->first) % range->step != 0) return c;
  return static_cast<char32_t>(static_cast<std::int32_t>(c) + range->distance);
}

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0u) == 0x80u; }

// requires: a whole character of 1 to 3 bytes
char32_t decode(std::string_view bytes) {
  char32_t c = static_cast<unsigned char>(bytes[0]);
  if (bytes.size() > 1) c &= bytes.size() == 2 ? 0x1Fu : 0x0Fu;
  for (std::size_t i = 1; i < bytes.size(); ++i) c = c << 6 | (static_cast<unsigned char>(bytes[i]) & 0x3Fu);
  return c;
}

// requires: c < 0x10000
void encode(char32_t c, std::string& out) {
  if (c < 0x80) return out.push_back(static_cast<char>(c));
  if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0u | c >> 6));
  } else {
    out.push_back(static_cast<char>(0xE0u | c >> 12));
    out.push_back(static_cast<char>(0x80u | (c >> 6 & 0x3Fu)));
  }
  out.push_back(static_cast<char>(0x80u | (c & 0x3Fu)));
}

}  // namespace

std::size_t character_size(std::string_view text, std::size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  const std::size_t size = lead >= 0xF0 && lead < 0xF8 ? 4 : lead >= 0xE0 && lead < 0xF0 ? 3 : lead >= 0xC0 && lead < 0xE0 ? 2 : 1;
  if (at + size > text.size()) return 1;
  for (std::size_t i = 1; i < size; ++i)
    if (!continues(text[at + i])) return 1;
  return size;
}

void mark_word(std::string_view word, std::string& marked) {
  marked.assign(1, '<');
  for (std::size_t at = 0, size = 0; at < word.size(); at += size) {
    size = character_size(word, at);
    const std::string_view character = word.substr(at, size);
    const bool alone = size == 1 && static_cast<unsigned char>(character[0]) >= 0x80;  // a byte of no character
    const char32_t c = alone || size > 3 ? 0 : decode(character), small = lower(c);
    if (small == c) marked.append(character);
    else encode(small, marked);
  }
  marked.push_back('>');
}

}  // namespace piano::data
