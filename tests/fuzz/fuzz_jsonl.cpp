// Whatever the line: a request, or a piano::Error. A request that was parsed survives being written and parsed again.
#include <cstdint>
#include <string>
#include <string_view>

#include "data/request_json.h"
#include "engine/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static piano::data::RequestParser parser;
  std::string line;
  try {
    line = piano::data::to_json(parser.parse({reinterpret_cast<const char*>(data), size}));
  } catch (const piano::Error&) {
    return 0;
  }
  if (piano::data::to_json(parser.parse(line)) != line) __builtin_trap();
  return 0;
}
