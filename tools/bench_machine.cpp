#include "tools/bench_machine.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <new>
#include <numeric>
#include <vector>

#include "engine/core/device.h"
#include "engine/core/thread_pool.h"
#include "tools/bench_samples.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace piano::tools {
namespace {

using Clock = std::chrono::steady_clock;

// `rounds` rounds of 16 independent chains of multiply-add, enough to hide its latency on two ports. A chain x <- x a + b stays near 1.
// Returns something that depends on all of it. Flops: rounds * 16 * lanes * 2.
struct FmaProbe {
  std::int64_t lanes;
  float (*run)(std::int64_t rounds);
};

// Sums `n` floats (a multiple of 128) with wide loads.
using ReadProbe = float (*)(const float* data, std::int64_t n);

constexpr int kChains = 16;

#if defined(__x86_64__)
#define PIANO_PROBES(suffix, isa, vector, width, set1, fma, add, load, store)                       \
  __attribute__((target(isa))) float fma_##suffix(std::int64_t rounds) {                            \
    vector x[kChains];                                                                              \
    const vector a = set1(0.999f), b = set1(0.001f);                                                \
    for (int c = 0; c < kChains; ++c) x[c] = set1(1.0f + 0.01f * static_cast<float>(c));            \
    for (std::int64_t r = 0; r < rounds; ++r) {                                                     \
      _Pragma("GCC unroll 16") for (int c = 0; c < kChains; ++c) x[c] = fma(x[c], a, b);            \
    }                                                                                               \
    for (int c = 1; c < kChains; ++c) x[0] = add(x[0], x[c]);                                       \
    float out[width];                                                                               \
    store(out, x[0]);                                                                               \
    return out[0];                                                                                  \
  }                                                                                                 \
  __attribute__((target(isa))) float read_##suffix(const float* data, std::int64_t n) {             \
    vector x[8];                                                                                    \
    for (int c = 0; c < 8; ++c) x[c] = set1(0.0f);                                                  \
    for (std::int64_t i = 0; i < n; i += 8 * width) {                                               \
      _Pragma("GCC unroll 8") for (int c = 0; c < 8; ++c) x[c] = add(x[c], load(data + i + c * width)); \
    }                                                                                               \
    for (int c = 1; c < 8; ++c) x[0] = add(x[0], x[c]);                                             \
    float out[width];                                                                               \
    store(out, x[0]);                                                                               \
    return out[0];                                                                                  \
  }
#define PIANO_MUL_ADD(x, a, b) _mm_add_ps(_mm_mul_ps(x, a), b)
PIANO_PROBES(v4, "avx512f", __m512, 16, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_loadu_ps, _mm512_storeu_ps)
PIANO_PROBES(v3, "avx2,fma", __m256, 8, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_loadu_ps, _mm256_storeu_ps)
PIANO_PROBES(v1, "sse2", __m128, 4, _mm_set1_ps, PIANO_MUL_ADD, _mm_add_ps, _mm_loadu_ps, _mm_storeu_ps)

FmaProbe fma_probe() {
  const std::string& level = cpu_device().name;
  if (level.ends_with("-v4")) return {16, fma_v4};
  return level.ends_with("-v3") ? FmaProbe{8, fma_v3} : FmaProbe{4, fma_v1};
}

ReadProbe read_probe() {
  const std::string& level = cpu_device().name;
  return level.ends_with("-v4") ? read_v4 : level.ends_with("-v3") ? read_v3 : read_v1;
}
#else
constexpr int kLanes = 4;  // as on NEON

float fma_any(std::int64_t rounds) {
  float x[kChains * kLanes];
  std::fill(std::begin(x), std::end(x), 1.0f);
  for (std::int64_t r = 0; r < rounds; ++r) {
#pragma omp simd
    for (int i = 0; i < kChains * kLanes; ++i) x[i] = __builtin_fmaf(x[i], 0.999f, 0.001f);
  }
  return x[0];
}

float read_any(const float* data, std::int64_t n) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += data[i];
  return sum;
}

FmaProbe fma_probe() { return {kLanes, fma_any}; }
ReadProbe read_probe() { return read_any; }
#endif

// Work a second of all threads of `pool` at once, each doing `work` a call. Each thread times its own calls and counts with a fast one (nine of
// ten are slower): what interrupts a thread makes a few calls slow and says nothing of the machine.
template <class Do>
double peak_rate(ThreadPool& pool, int calls, double work, Do&& run) {
  std::vector<double> rates(static_cast<std::size_t>(pool.size()));
  pool.run([&](int w) {
    Samples own;
    for (int call = 0; call < calls; ++call) {
      const auto start = Clock::now();
      run(w);
      own.add(work / std::chrono::duration<double>(Clock::now() - start).count());
    }
    rates[static_cast<std::size_t>(w)] = own.quantile(0.9);
  });
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

thread_local volatile float sink;  // what the probes return, so that they are not left out

double fma_peak(ThreadPool& pool) {
  const FmaProbe probe = fma_probe();
  constexpr std::int64_t kRounds = 50'000;  // a quarter of a millisecond
  return 1e-9 * peak_rate(pool, 80, static_cast<double>(kRounds * kChains * 2 * probe.lanes), [&](int) { sink = probe.run(kRounds); });
}

// Bytes of the first core's cache of this level. Linux says it in KiB ("32768K"); C libraries have been seen to count L3 tenfold.
std::int64_t cache_bytes(int level, std::int64_t otherwise) {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level) + "/size");
  std::int64_t kib = 0;
  return file >> kib && kib > 0 ? kib * 1024 : otherwise;
}

// Reads `bytes` in all, each thread its own share of it.
double read_peak(ThreadPool& pool, std::int64_t bytes, int calls, std::int64_t passes) {
  const std::int64_t n = bytes / pool.size() / static_cast<std::int64_t>(sizeof(float)) / 128 * 128;
  const ReadProbe probe = read_probe();
  struct Free {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t{64}); }
  };
  std::vector<std::unique_ptr<float, Free>> arrays(static_cast<std::size_t>(pool.size()));
  pool.run([&](int w) {  // touched by the thread that will read it
    auto& array = arrays[static_cast<std::size_t>(w)];
    array.reset(static_cast<float*>(::operator new(static_cast<std::size_t>(n) * sizeof(float), std::align_val_t{64})));
    std::fill_n(array.get(), n, 1.0f);
  });
  return 1e-9 * peak_rate(pool, calls, static_cast<double>(passes * n) * sizeof(float), [&](int w) {
    for (std::int64_t p = 0; p < passes; ++p) sink = probe(arrays[static_cast<std::size_t>(w)].get(), n);
  });
}

}  // namespace

double fma_gflops(int threads) {
  ThreadPool pool(threads);
  return fma_peak(pool);
}

MachinePeaks measure_machine(int threads) {
  ThreadPool pool(threads);
  MachinePeaks peaks;
  peaks.level = cpu_device().name;
  peaks.fma_gflops = fma_peak(pool);
  peaks.dram_gb_s = read_peak(pool, std::max<std::int64_t>(4 * cache_bytes(3, 32 << 20), 64 << 20), 5, 1);
  peaks.l2_gb_s = read_peak(pool, pool.size() * cache_bytes(2, 512 << 10) / 2, 60, 40);
  return peaks;
}

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  }
  return "unknown CPU";
}

}  // namespace piano::tools
