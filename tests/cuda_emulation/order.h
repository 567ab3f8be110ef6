// What comes before what, as the thread sanitizer is told it. In a build with it every thread of a block and every stream is a thread to it, and only
// what CUDA promises is an order between them: barriers and __syncwarp (a shuffle is none), streams and events. So what it reports is a race on
// a GPU: within a block, between blocks, between streams, or with the host. In other builds all of this does nothing.
// For files of the emulation that are compiled without the sanitizer: what the emulation itself does is not to be looked at.
#pragma once

#if defined(PIANO_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
#include <sys/mman.h>

extern "C" {  // what the compiler itself calls for instrumented code: in no header
void __tsan_read_range(void* p, unsigned long bytes);
void __tsan_write_range(void* p, unsigned long bytes);
}
#endif

#include <cstddef>

namespace piano::emulation {

#if defined(PIANO_EMULATION_TSAN)

inline constexpr bool kFindsRaces = true;
using Actor = void*;  // a thread, as the sanitizer knows it
inline Actor new_actor() { return __tsan_create_fiber(0); }
inline void end_actor(Actor a) { __tsan_destroy_fiber(a); }
inline Actor acting() { return __tsan_get_current_fiber(); }
inline void act_as(Actor a) { __tsan_switch_to_fiber(a, __tsan_switch_to_fiber_no_sync); }
inline void before(void* point) { __tsan_release(point); }  // what was done until now comes before whatever ...
inline void after(void* point) { __tsan_acquire(point); }   // ... is done from here on, in the order of these calls
inline void reads(const void* p, std::size_t bytes) { __tsan_read_range(const_cast<void*>(p), bytes); }
inline void writes(void* p, std::size_t bytes) { __tsan_write_range(p, bytes); }
// Memory of whole pages that nobody has used before, as it were: what was done to it is forgotten.
inline void forget(void* pages, std::size_t bytes) { mmap(pages, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

#else

inline constexpr bool kFindsRaces = false;
struct Actor {};
inline Actor new_actor() { return {}; }
inline void end_actor(Actor) {}
inline Actor acting() { return {}; }
inline void act_as(Actor) {}
inline void before(void*) {}
inline void after(void*) {}
inline void reads(const void*, std::size_t) {}
inline void writes(void*, std::size_t) {}
inline void forget(void*, std::size_t) {}

#endif

}  // namespace piano::emulation
