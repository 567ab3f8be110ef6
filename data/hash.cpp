#define XXH_INLINE_ALL
#include "data/hash.h"

#include <xxhash.h>

namespace piano::data {

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) { return XXH64(bytes.data(), bytes.size(), seed); }
std::uint64_t hash_in_memory(std::string_view bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace piano::data
