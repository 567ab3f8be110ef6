// xxh64 of a string: dictionaries, the user split and fingerprints. Stable across machines and releases: files depend on it.
#pragma once

#include <cstdint>
#include <string_view>

namespace piano::data {

// To hash several parts, chain them: hash64(b, hash64(a)) is sensitive to where a ends.
std::uint64_t hash64(std::string_view bytes, std::uint64_t seed = 0);

// For tables in memory, never for a file: quicker for short strings, and no promise that it stays.
std::uint64_t hash_in_memory(std::string_view bytes);

}  // namespace piano::data
