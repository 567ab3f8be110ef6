// Whatever the bytes: a file that can be read in full, or a piano::Error.
#include <cstdint>
#include <span>

#include "engine/base/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const piano::SafetensorsFile file(std::as_bytes(std::span(data, size)), "input");
    std::size_t bytes = 0;
    for (const piano::TensorInfo& t : file.tensors()) bytes += t.bytes.size();
    if (bytes > size) __builtin_trap();
    file.verify();  // reads every byte
    piano::check_format(file, "fuzz", 1);
  } catch (const piano::Error&) {
  }
  return 0;
}
