// Vectors of kLanes floats, in the compilers' own vector types: one source for every instruction set.
//
// Rules that keep an element's bits independent of where it lies: the kernel files are compiled without contraction of a * b + c (what shall
// be fused says fma), and the elements after the last whole vector go through the same vector code, in a padded vector.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__FMA__)
#include <immintrin.h>
#endif

namespace piano {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
using F = float __attribute__((vector_size(kLanes * sizeof(float))));
using I = std::int32_t __attribute__((vector_size(kLanes * sizeof(float))));

inline F splat(float x) { return x - F{}; }

inline F load(const float* p) {
  F v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

inline void store(float* p, F v) { std::memcpy(p, &v, sizeof v); }

// The first n <= kLanes elements; the others are zeros, or are not written.
#if defined(__AVX512F__)
inline __mmask16 first_lanes(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
inline F load_first(const float* p, std::int64_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
inline void store_first(float* p, F v, std::int64_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), v); }
#elif defined(__FMA__) && defined(__AVX2__)
inline __m256i first_lanes(std::int64_t n) {
  const I lanes = {0, 1, 2, 3, 4, 5, 6, 7};
  return reinterpret_cast<__m256i>(lanes < static_cast<std::int32_t>(n));
}
inline F load_first(const float* p, std::int64_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
inline void store_first(float* p, F v, std::int64_t n) { _mm256_maskstore_ps(p, first_lanes(n), v); }
#else
inline F load_first(const float* p, std::int64_t n) {
  F v{};
  std::memcpy(&v, p, static_cast<std::size_t>(n) * sizeof(float));
  return v;
}
inline void store_first(float* p, F v, std::int64_t n) { std::memcpy(p, &v, static_cast<std::size_t>(n) * sizeof(float)); }
#endif

// a * b + c, rounded once where the machine can.
inline F fma(F a, F b, F c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__FMA__) && defined(__AVX__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

inline F max(F a, F b) { return a > b ? a : b; }
inline F min(F a, F b) { return a < b ? a : b; }

// Combines the lanes pairwise, halves first: 8 with 8, 4 with 4, 2 with 2, 1 with 1.
template <class Combine>
inline float across(F v, Combine combine) {
#if defined(__AVX512F__)
  v = combine(v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  v = combine(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
  v = combine(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
  v = combine(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
#elif defined(__AVX__)
  v = combine(v, __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3));
  v = combine(v, __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5));
  v = combine(v, __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6));
#else
  v = combine(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
  v = combine(v, __builtin_shufflevector(v, v, 1, 0, 3, 2));
#endif
  return v[0];
}
inline float sum(F v) { return across(v, [](F a, F b) { return a + b; }); }
inline float largest(F v) { return across(v, [](F a, F b) { return max(a, b); }); }

constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Calls body(i, n) for each vector of 0..count-1: n = kLanes elements from i on, fewer in the last one. `get` and `put` move them.
template <class Body>
inline void for_vectors(std::int64_t count, Body body) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) body(i, std::int64_t{kLanes});
  if (i < count) body(i, count - i);
}
inline F get(const float* p, std::int64_t n) { return n == kLanes ? load(p) : load_first(p, n); }
inline void put(float* p, F v, std::int64_t n) { n == kLanes ? store(p, v) : store_first(p, v, n); }

}  // namespace
}  // namespace piano
