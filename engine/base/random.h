// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//
// A number is a pure function of (seed, step, site, list, row, column), so it is the same under any sharding, fusion or device.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace piano {

// Ten rounds of Philox4x32; counter and key as in the paper.
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// FNV-1a of a dotted module name: the `site` of a random number.
constexpr std::uint32_t site_hash(std::string_view name) {
  std::uint32_t h = 2166136261u;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 16777619u;
  return h;
}

// A uniform float in [0, 1) with 24 bits from 32 random bits.
constexpr float uniform_from_bits(std::uint32_t bits) { return static_cast<float>(bits >> 8) * (1.0f / 16777216.0f); }

struct RandomKey {
  std::uint64_t seed = 0;
  std::uint32_t step = 0;
};

// Four random words for columns 4*quad .. 4*quad+3 of `row` of `list`, at `site`.
constexpr std::array<std::uint32_t, 4> random_quad(RandomKey key, std::uint32_t site, std::uint32_t list, std::uint32_t row,
                                                   std::uint32_t quad) {
  return philox4x32({quad, row, list, key.step},
                    {static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32) ^ site});
}

constexpr float random_uniform(RandomKey key, std::uint32_t site, std::uint32_t list, std::uint32_t row, std::uint32_t column) {
  return uniform_from_bits(random_quad(key, site, list, row, column / 4)[column % 4]);
}

// A stream of random numbers for code that is serial by nature (shuffles, the simulator, bootstraps, initial weights).
// Two streams with different names are independent.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name) : key_{seed, 0}, site_(site_hash(name)) {}

  std::uint32_t bits();                     // 32 random bits
  double uniform();                         // [0, 1), 53 bits
  double normal();                          // mean 0, variance 1 (Box-Muller, one of the pair)
  std::uint64_t below(std::uint64_t n);     // 0 .. n-1 without bias; requires n >= 1

  // Fisher-Yates, in place.
  template <class Container>
  void shuffle(Container& items) {
    for (std::uint64_t i = items.size(); i > 1; --i) {
      const std::uint64_t j = below(i);
      using std::swap;
      swap(items[static_cast<std::size_t>(i - 1)], items[static_cast<std::size_t>(j)]);
    }
  }

 private:
  RandomKey key_;
  std::uint32_t site_;
  std::uint64_t drawn_ = 0;
  std::array<std::uint32_t, 4> block_{};
};

}  // namespace piano
