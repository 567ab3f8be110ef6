// Words in pieces, so that a word that training never saw, a typo of a known one above all, still has a meaning: hashed character n-grams, as
// fastText has them (Bojanowski et al. 2017, Enriching Word Vectors with Subword Information, arXiv 1607.04606, section 3.2).
//
// A word is put between '<' and '>' in lower case. Its n-grams are all runs of `least` to `most` characters of that, but for a lone '<' or '>'; each
// falls into one of `buckets` rows by xxh64, and n-grams that meet there share it. A character is a UTF-8 code point; a byte that is no
// part of one stands for itself. "love" with 3 to 4: <lo <lov lov love ove ove> ve>.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "data/hash.h"

namespace piano::data {

struct Ngrams {
  static constexpr std::int32_t kLongest = 10, kMostBuckets = 1 << 24;
  // Of one word: with 3 to 5, a word of 14 characters has all of its own. Of a longer one the first count.
  static constexpr std::int32_t kMostOfWord = 40;

  std::int32_t least = 0, most = 0;  // characters
  std::int32_t buckets = 0;          // 0: there are no n-grams

  bool on() const { return buckets > 0; }
  bool valid() const { return !on() || (least >= 1 && least <= most && most <= kLongest && buckets <= kMostBuckets); }
  friend bool operator==(const Ngrams&, const Ngrams&) = default;
};

// Bytes of the character that begins at `at`: 1 to 4. requires: at < text.size()
std::size_t character_size(std::string_view text, std::size_t at);

// "<" + the word in lower case + ">". Lower case is Unicode's simple one, letter by letter, of the whole of these blocks: Latin (Basic, Latin-1, Extended-A,
// Extended-B, Extended Additional, full width), Greek (with Greek Extended), Cyrillic (with its supplement), Armenian, and the signs ohm, kelvin and
// angstrom. Other characters have no case or keep theirs (Georgian, Cherokee, Coptic, Glagolitic, Latin Extended-C to -G, Cyrillic Extended). Accents
// stay; nothing depends on the language. `marked` keeps its memory.
void mark_word(std::string_view word, std::string& marked);
inline std::string_view unmarked(std::string_view marked) { return marked.substr(1, marked.size() - 2); }

// Calls add(bucket) for each n-gram of a marked word: by where it begins, then by length.
template <class Add>
void for_each_ngram(std::string_view marked, const Ngrams& ngrams, Add add) {
  std::int32_t left = Ngrams::kMostOfWord;
  for (std::size_t begin = 0; begin < marked.size(); begin += character_size(marked, begin)) {
    std::size_t end = begin;
    for (std::int32_t n = 1; n <= ngrams.most && end < marked.size(); ++n) {
      end += character_size(marked, end);
      if (n < ngrams.least || (n == 1 && (begin == 0 || end == marked.size()))) continue;
      if (left-- == 0) return;
      add(static_cast<std::int32_t>(hash64(marked.substr(begin, end - begin)) % static_cast<std::uint64_t>(ngrams.buckets)));
    }
  }
}

}  // namespace piano::data
