// Whatever the line: a request, or a piano::Error, and the strict reader alone says the same. A request that was parsed survives being written and
// parsed again.
#include <cstdint>
#include <string>
#include <string_view>

#include "data/request_json.h"
#include "data/request_json_strict.h"
#include "engine/base/error.h"

namespace {

// The canonical line of what was read; "" for an error.
template <class Read>
std::string written(Read read) {
  try {
    return piano::data::to_json(read());
  } catch (const piano::Error&) {
    return "";
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static piano::data::RequestParser parser;
  static piano::data::StrictRequestReader strict;
  static piano::data::RequestArrays arrays;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string line = written([&]() -> const piano::Request& { return parser.parse(input); });
  const std::string exact = written([&]() -> const piano::Request& {
    strict.parse(input);
    strict.read(arrays);
    return arrays.request;
  });
  if (line != exact) __builtin_trap();
  if (!line.empty() && written([&]() -> const piano::Request& { return parser.parse(line); }) != line) __builtin_trap();
  return 0;
}
