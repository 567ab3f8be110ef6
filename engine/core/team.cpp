#include "engine/core/team.h"

#include <chrono>

#include "engine/base/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace piano {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSpin = std::chrono::microseconds(30);    // longer than any meeting of members that run
constexpr auto kYield = std::chrono::microseconds(150);  // about a request's parsing: the next one finds everybody awake

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Until `word` is no longer `value`.
void wait_while(const std::atomic<std::uint32_t>& word, std::uint32_t value) {
  const auto changed = [&] { return word.load(std::memory_order_acquire) != value; };
  if (changed()) return;
  const auto begin = Clock::now();
  for (auto waited = Clock::duration::zero(); waited < kYield; waited = Clock::now() - begin) {
    for (int i = 0; i < 32; ++i) {
      if (changed()) return;
      pause();
    }
    if (waited > kSpin) std::this_thread::yield();
  }
  while (!changed()) word.wait(value, std::memory_order_acquire);
}

constexpr std::uint32_t kRun = 1u << 16;

}  // namespace

Team::Team(int members) : size_(members) {
  PIANO_CHECK(members >= 1, "[team] expected at least one member");
  for (int member = 1; member < members; ++member) threads_.emplace_back([this, member] { serve(member); });
}

Team::~Team() {
  stopping_ = true;
  signal_.fetch_add(kRun, std::memory_order_release);
  signal_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Team::serve(int member) {
  for (std::uint32_t seen = 0;;) {
    wait_while(signal_, seen);
    const std::uint32_t now = signal_.load(std::memory_order_acquire);
    const bool runs = now / kRun != seen / kRun;
    seen = now;
    if (!runs) continue;
    if (stopping_) return;
    call_(function_, member);
    meet();
  }
}

void Team::run_erased(void* function, Call call) {
  function_ = function;
  call_ = call;
  if (size_ > 1) {
    signal_.fetch_add(kRun, std::memory_order_release);
    signal_.notify_all();
  }
  call(function, 0);
  meet();
}

void Team::meet() {
  const std::uint32_t meeting = meetings_.load(std::memory_order_relaxed);  // cannot end before this member has arrived
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 < size_) {
    wait_while(meetings_, meeting);
    return;
  }
  arrived_.store(0, std::memory_order_relaxed);
  meetings_.store(meeting + 1, std::memory_order_release);
  meetings_.notify_all();
}

void Team::rouse() {
  if (size_ == 1) return;
  const std::uint32_t now = signal_.load(std::memory_order_relaxed);
  signal_.store((now & ~(kRun - 1)) | ((now + 1) & (kRun - 1)), std::memory_order_release);
  signal_.notify_all();
}

}  // namespace piano
