// dropout: the keyed random numbers of engine/base/random.h, kLanes quads of columns at once.
#pragma once

#include "engine/cpu/node.inl"

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace piano {
namespace {

using U = std::uint32_t __attribute__((vector_size(kLanes * sizeof(float))));
using U64 = std::uint64_t __attribute__((vector_size(kLanes * sizeof(float))));

// The 64-bit products of the even lanes with b.
inline U64 multiply_even(U a, std::uint32_t b) {
#if defined(__AVX512F__)
  return reinterpret_cast<U64>(_mm512_maskz_mul_epu32(0xFF, reinterpret_cast<__m512i>(a), _mm512_set1_epi32(static_cast<int>(b))));
#elif defined(__AVX2__)
  return reinterpret_cast<U64>(_mm256_mul_epu32(reinterpret_cast<__m256i>(a), _mm256_set1_epi32(static_cast<int>(b))));
#elif defined(__SSE2__)
  return reinterpret_cast<U64>(_mm_mul_epu32(reinterpret_cast<__m128i>(a), _mm_set1_epi32(static_cast<int>(b))));
#else
  return (reinterpret_cast<U64>(a) & std::uint64_t{0xFFFFFFFFu}) * std::uint64_t{b};
#endif
}

struct WideProduct {
  U high, low;
};

// The high and low words of every lane's product with b. (Little-endian: a 64-bit lane's low word comes first.)
inline WideProduct multiply_wide(U a, std::uint32_t b) {
  const U64 even = multiply_even(a, b), odd = multiply_even(reinterpret_cast<U>(reinterpret_cast<U64>(a) >> 32), b);
  const U64 low_word = U64{} + 0xFFFFFFFFu;
  return {reinterpret_cast<U>((even >> 32) | (odd & ~low_word)), reinterpret_cast<U>((even & low_word) | (odd << 32))};
}

struct RandomWords {
  U words[4];  // word w of quad first_quad + lane
};

// Philox4x32-10.
inline RandomWords random_words(const DropoutArgs& args, std::uint32_t list, std::uint32_t row, std::uint32_t first_quad) {
  U c0{}, c1 = U{} + row, c2 = U{} + list, c3 = U{} + args.key.step;
  for (int lane = 0; lane < kLanes; ++lane) c0[lane] = first_quad + static_cast<std::uint32_t>(lane);
  std::uint32_t key0 = static_cast<std::uint32_t>(args.key.seed), key1 = static_cast<std::uint32_t>(args.key.seed >> 32) ^ args.site;
  for (int round = 0; round < 10; ++round) {
    const WideProduct p0 = multiply_wide(c0, 0xD2511F53u), p1 = multiply_wide(c2, 0xCD9E8D57u);
    c0 = p1.high ^ c1 ^ key0;
    c2 = p0.high ^ c3 ^ key1;
    c1 = p1.low;
    c3 = p0.low;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// inputs: x (rows, d). Saves each element's multiplier (rows, d): 0, or 1 / (1 - p) for those that are kept.
void dropout_forward(const Context& context, Node& node) {
  const auto& args = args_of<DropoutArgs>(node);
  const std::int64_t d = cols_of(node.output);
  const float* x = value_of(node.inputs[0]);
  float* y = value_of(node.output);
  const F factor = splat(static_cast<float>(args.factor));
  float* multiplier = scratch(context, elements_of(node.output));
  node.saved = multiplier;

  for (std::int32_t l = 0; l < args.lists.lists; ++l) {
    const std::int32_t begin = args.lists.offsets[l];
    for (std::int32_t r = begin; r < args.lists.offsets[l + 1]; ++r) {
      for (std::int64_t first = 0; first < d; first += 4 * kLanes) {
        const RandomWords random = random_words(args, static_cast<std::uint32_t>(args.first_list + l), static_cast<std::uint32_t>(r - begin),
                                                static_cast<std::uint32_t>(first / 4));
        float block[4 * kLanes];
        for (int w = 0; w < 4; ++w) {
          const F uniform = __builtin_convertvector(reinterpret_cast<I>(random.words[w] >> 8), F) * (1.0f / 16777216.0f);
          const F chosen = uniform >= args.p ? factor : F{};
          for (int lane = 0; lane < kLanes; ++lane) block[4 * lane + w] = chosen[lane];
        }
        copy(multiplier + r * d + first, block, d - first < 4 * kLanes ? d - first : 4 * kLanes);
      }
    }
  }
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) y[i] = x[i] * multiplier[i];
}

void dropout_backward(const Context&, Node& node) {
  const float* dy = static_cast<const float*>(node.output->grad);
  const float* multiplier = static_cast<const float*>(node.saved);
  float* dx = grad_of(node.inputs[0]);
  if (dx == nullptr) return;
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) dx[i] += dy[i] * multiplier[i];
}

}  // namespace
}  // namespace piano
