#include "engine/base/random.h"

#include <cmath>

namespace piano {

std::uint32_t RandomStream::bits() {
  const auto word = static_cast<std::size_t>(drawn_ % 4);
  if (word == 0) {
    const std::uint64_t quad = drawn_ / 4;
    block_ = random_quad(key_, site_, 0, static_cast<std::uint32_t>(quad >> 32), static_cast<std::uint32_t>(quad));
  }
  ++drawn_;
  return block_[word];
}

double RandomStream::uniform() {
  const std::uint64_t high = bits() >> 5;  // 27 bits
  const std::uint64_t low = bits() >> 6;   // 26 bits
  return static_cast<double>((high << 26) | low) * 0x1.0p-53;
}

double RandomStream::normal() {
  const double u = 1.0 - uniform();  // (0, 1]: the logarithm is finite
  const double v = uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * 3.14159265358979323846 * v);
}

std::uint64_t RandomStream::below(std::uint64_t n) {
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % n;  // the largest multiple of n: reject what lies above
  for (;;) {
    const std::uint64_t high = bits();
    const std::uint64_t draw = (high << 32) | bits();
    if (draw < limit) return draw % n;
  }
}

}  // namespace piano
