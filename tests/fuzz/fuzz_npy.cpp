// Whatever the bytes: a matrix with as many numbers as it says, or a piano::Error. And words of any bytes come apart.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "data/ngrams.h"
#include "data/npy.h"
#include "engine/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const piano::data::FloatMatrix m = piano::data::parse_npy(std::as_bytes(std::span(data, size)), "input");
    if (static_cast<std::size_t>(m.rows) * static_cast<std::size_t>(m.columns) != m.values.size()) __builtin_trap();
  } catch (const piano::Error&) {
  }
  std::string marked;
  piano::data::mark_word({reinterpret_cast<const char*>(data), size}, marked);
  std::int32_t count = 0;
  piano::data::for_each_ngram(marked, {1, 10, 100}, [&](std::int32_t bucket) {
    if (bucket < 0 || bucket >= 100) __builtin_trap();
    ++count;
  });
  if (count > piano::data::Ngrams::kMostOfWord) __builtin_trap();
  return 0;
}
