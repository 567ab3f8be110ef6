// Memory that nobody may touch for now, as the address sanitizer is told it. Without the sanitizer nothing happens.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define PIANO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PIANO_ASAN 1
#endif
#endif
#ifdef PIANO_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace piano {

inline void poison([[maybe_unused]] void* data, [[maybe_unused]] std::size_t size) {
#ifdef PIANO_ASAN
  __asan_poison_memory_region(data, size);
#endif
}

inline void unpoison([[maybe_unused]] void* data, [[maybe_unused]] std::size_t size) {
#ifdef PIANO_ASAN
  __asan_unpoison_memory_region(data, size);
#endif
}

}  // namespace piano
