// exp, sigmoid, log sigmoid and the normal distribution on vectors, without branches. Polynomials are minimax fits, their errors stated relative
// to the exact function, before rounding. Bounds in ulp hold with rounding, for results that are normal numbers; NaN stays NaN.
#pragma once

#include "engine/cpu/lanes.inl"

namespace piano {
namespace {

// max and min, b where either is NaN, in one instruction: compilers make two of a comparison.
inline F larger(F a, F b) {
#if defined(__AVX512F__)
  return _mm512_maskz_max_ps(0xFFFF, a, b);  // g++ 12 warns about the plain one
#elif defined(__FMA__) && defined(__AVX__)
  return _mm256_max_ps(a, b);
#else
  return max(a, b);
#endif
}

inline F smaller(F a, F b) {
#if defined(__AVX512F__)
  return _mm512_maskz_min_ps(0xFFFF, a, b);
#elif defined(__FMA__) && defined(__AVX__)
  return _mm256_min_ps(a, b);
#else
  return min(a, b);
#endif
}

// v in the first n lanes, `other` in the rest.
inline F first_of(F v, std::int64_t n, F other = F{}) {
  I lanes;
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = lane;
  return lanes < static_cast<std::int32_t>(n) ? v : other;
}

// An integral constant, for bodies that are compiled for each value.
template <int n>
struct Count {
  static constexpr int value = n;
};

// Adding it to x, -126 <= x <= 127, rounds x to an integer n and leaves n + 127 in the low bits: the exponent of 2^n.
constexpr float kRounder = 12582912.0f + 127.0f;  // 1.5 * 2^23

// p * 2^n for n + kRounder
inline F times_power(F p, F n_and_rounder) { return p * reinterpret_cast<F>(reinterpret_cast<I>(n_and_rounder) << 23); }

// 2^x, the exponential of a softmax: 2^-100 below -100, 2^126 or more above 126, exact at 0. Fit: 9.3e-8, 8.2e-8 for AVX-512; with
// rounding 1.9e-7.
inline F softmax_exp2(F x) {
#if defined(__AVX512F__)
  const F clamped = larger(splat(-100.0f), x);
  const F f = _mm512_maskz_reduce_ps(0xFFFF, clamped, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // x - floor(x)
  F p = splat(0.0018671303020135336f);
  p = fma(p, f, splat(0.009017029828402133f));
  p = fma(p, f, splat(0.05579991345966229f));
  p = fma(p, f, splat(0.24016445005624198f));
  p = fma(p, f, splat(0.6931513118129259f));
  p = fma(p, f, splat(1.0f));
  return _mm512_maskz_scalef_ps(0xFFFF, p, clamped);  // p * 2^floor(x)
#else
  const F clamped = smaller(splat(126.0f), larger(splat(-100.0f), x));
  const F n_and_rounder = clamped + kRounder;
  const F f = clamped - (n_and_rounder - kRounder);  // |f| <= 1/2
  F p = splat(0.0013264454387990684f);
  p = fma(p, f, splat(0.009671725608631597f));
  p = fma(p, f, splat(0.0555073632444534f));
  p = fma(p, f, splat(0.2402223882883481f));
  p = fma(p, f, splat(0.6931469751594286f));
  p = fma(p, f, splat(1.0f));
  return times_power(p, n_and_rounder);
#endif
}

// e^x for x <= 0, within 1 ulp; zero (AVX-512: subnormal) where it falls below float's smallest normal number. Fit: 3e-9.
inline F exp(F x) {
#if defined(__AVX512F__)
  const F clamped = larger(splat(-104.0f), x);
#else
  const F clamped = larger(splat(-87.3365479f), x);  // log(2^-126), the last float above it
#endif
  const F n_and_rounder = fma(clamped, splat(1.44269504f), splat(kRounder));
  const F n = n_and_rounder - kRounder;  // x = n log 2 + r, |r| <= log(2) / 2
  F r = fma(n, splat(-0.693145752f), clamped);
  r = fma(n, splat(-1.42860677e-6f), r);
  F p = splat(0.0013813134734931057f);
  p = fma(p, r, splat(0.00836941857263095f));
  p = fma(p, r, splat(0.04166845699516956f));
  p = fma(p, r, splat(0.16666514792893966f));
  p = fma(p, r, splat(0.4999999304951541f));
  p = fma(p, r * r, r) + 1.0f;
#if defined(__AVX512F__)
  return _mm512_maskz_scalef_ps(0xFFFF, p, n);
#else
  return x < -87.3365479f ? F{} : times_power(p, n_and_rounder);
#endif
}

inline F abs(F x) { return larger(x, -x); }

// 1 / (1 + e^-x), within 2.5 ulp
inline F sigmoid(F x) {
  const F e = exp(-abs(x));
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}

// (1 - e^-2|x|) / (1 + e^-2|x|) with x's sign: within 4e-7 of tanh(x), absolutely
inline F tanh(F x) {
  const F e = exp(-2.0f * abs(x));
  const F t = (1.0f - e) / (1.0f + e);
  return x < 0.0f ? -t : t;
}

// log(1 / (1 + e^-x)) = min(x, 0) - log1p(e^-|x|), log1p(e) = 2 atanh(e / (2 + e)): within 4 ulp. Fit of atanh: 4e-9.
inline F log_sigmoid(F x) {
  const F e = exp(-abs(x));
  const F s = e / (2.0f + e);
  const F u = s * s;
  F p = splat(0.28179975710854593f);
  p = fma(p, u, splat(0.2796025787146698f));
  p = fma(p, u, splat(0.4002493285403665f));
  p = fma(p, u, splat(0.6666631422505536f));
  p = fma(p, u, splat(2.000000007934589f));
  return fma(-p, s, smaller(x, F{}));
}

struct Normal {
  F density, distribution;
};

// The standard normal's density and distribution function at x. Both tails share one exp:
// Phi(-|x|) = e^(-x^2/2) t P(t), t = 1 / (1 + c |x|), the form of Abramowitz & Stegun 7.1.26 with a fit of our own: 1.4e-7.
// With rounding: Phi within 3e-7 (relative to Phi: 9e-7 above -5, and 5e-6 below, where the rounding of x^2 / 2 shows, as it does in phi).
inline Normal normal(F x) {
  const F a = abs(x);
  const F t = 1.0f / fma(a, splat(0.2316418882663604f), splat(1.0f));
  const F e = exp(x * x * -0.5f);
  F p = splat(-0.07032326426560688f);
  p = fma(p, t, splat(0.24725355443016686f));
  p = fma(p, t, splat(-0.20088680949080917f));
  p = fma(p, t, splat(0.22451014657271823f));
  p = fma(p, t, splat(0.013965663628237701f));
  p = fma(p, t, splat(0.10251713348159834f));
  p = fma(p, t, splat(0.09044302552778245f));
  p = fma(p, t, splat(0.09252061712183775f));
  const F tail = e * (p * t);
  return {e * 0.398942280f, x < 0.0f ? tail : 1.0f - tail};
}

}  // namespace
}  // namespace piano
