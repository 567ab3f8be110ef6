// Threads, blocks and grids.
#include "tests/cuda_emulation/emulation.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/base/poison.h"
#include "engine/base/random.h"
#include "tests/cuda_emulation/cuda_pipeline_primitives.h"
#include "tests/cuda_emulation/grid.h"
#include "tests/cuda_emulation/order.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace piano::cuda {
alignas(4096) unsigned char dynamic_shared[(emulation::kMostShared / 4096 + 2) * 4096];
}  // namespace piano::cuda

namespace piano::emulation {
namespace {

constexpr std::size_t kStack = 256 * 1024, kPage = 4096, kWatched = 256;  // bytes; kWatched lie behind a block's shared memory
constexpr std::size_t kMostArguments = 4096;
constexpr unsigned char kUnset = 0xFF;

std::uint64_t order_seed = 0;
std::int64_t launch_count = 0;

// ---- fibers: a stack and where to go on

#if defined(__x86_64__)
extern "C" void piano_emulation_switch(void** save, void* load);
asm(R"(
.text
.globl piano_emulation_switch
.type piano_emulation_switch, @function
piano_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size piano_emulation_switch, .-piano_emulation_switch
)");

struct Place {
  void* sp = nullptr;
};
void go(Place& from, Place& to) { piano_emulation_switch(&from.sp, to.sp); }
void begin_at(Place& place, unsigned char* stack, void (*entry)()) {
  auto** top = reinterpret_cast<void**>(stack + kStack - 16);  // as after a call: aligned to 16 less 8
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  place.sp = top;
}
#else
struct Place {
  ucontext_t context;
};
void go(Place& from, Place& to) { swapcontext(&from.context, &to.context); }
void begin_at(Place& place, unsigned char* stack, void (*entry)()) {
  getcontext(&place.context);
  place.context.uc_stack.ss_sp = stack, place.context.uc_stack.ss_size = kStack, place.context.uc_link = nullptr;
  makecontext(&place.context, entry, 0);
}
#endif

enum class State { ready, at_barrier, at_exchange, ended };

struct Fiber {
  std::unique_ptr<unsigned char[]> stack;
  Place place;
  Actor actor = new_actor();
  uint3 thread;
  State state = State::ready;
  // of the exchange that it waits in
  unsigned mask = 0;
  int from = 0;
  Exchange kind = Exchange::shuffle;
  const void* mine = nullptr;
  void* theirs = nullptr;
  std::size_t bytes = 0;
  struct Copy { void* to; const void* from; std::size_t bytes, zeros; };
  std::vector<Copy> copies;  // to shared memory, not waited for yet
};

// Fibers are kept from block to block. There are two sets: by a bit of the block's number, another one in each launch, so that any two blocks' threads
// are others to the sanitizer in one launch or another.
struct Set {
  std::vector<std::unique_ptr<Fiber>> fibers;
  char meetings[33] = {};  // their addresses are where threads that wait for each other meet: each warp's, and the block's
};

struct Block {
  Set sets[2];
  Set* set = sets;
  std::vector<std::size_t> order, turns;  // of threads, and of blocks
  std::size_t threads = 0, current = 0;
  Place scheduler;
  Actor actor;       // of the stream that the kernel runs in
  char beginning = 0, ending = 0;
  void (*thread)(void*) = nullptr;
  alignas(16) unsigned char arguments[kMostArguments];
  std::string error;
  Fiber& fiber(std::size_t i) { return *set->fibers[i]; }
} block;

void stop() { go(block.fiber(block.current).place, block.scheduler); }

void fiber_main() {
  for (;;) {  // a fiber that has ended is begun anew for the next block
    block.thread(block.arguments);
    if (!block.fiber(block.current).copies.empty()) block.error = "a thread ends that did not wait for its copies to shared memory";
    block.fiber(block.current).state = State::ended;
    stop();
  }
}

// What some threads (from the first on, those of `mask` where it is a warp) did until now comes before what they do from now on.
void meet(char& place, std::size_t first, std::size_t count, unsigned mask) {
  const auto takes_part = [&](std::size_t i) { return count > 32 || (mask >> (i - first) & 1) != 0; };
  for (std::size_t i = first; i < first + count; ++i) {
    if (takes_part(i)) act_as(block.fiber(i).actor), before(&place);
  }
  for (std::size_t i = first; i < first + count; ++i) {
    if (takes_part(i)) act_as(block.fiber(i).actor), after(&place);
  }
  act_as(block.actor);
}

std::string where() {
  return "block " + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) + "," + std::to_string(blockIdx.z);
}

void copy_bytes(void* to, const void* from, std::size_t bytes) {  // no memcpy, which the sanitizer would look at
  for (std::size_t i = 0; i < bytes; ++i) static_cast<unsigned char*>(to)[i] = static_cast<const unsigned char*>(from)[i];
}

// All lanes of an exchange have come: each gets what it asked for.
bool settle_exchange(std::size_t warp) {
  const std::size_t begin = warp * 32, end = std::min(begin + 32, block.threads);
  bool settled = false;
  for (std::size_t i = begin; i < end; ++i) {
    Fiber& first = block.fiber(i);
    if (first.state != State::at_exchange) continue;
    bool complete = true;
    for (std::size_t l = 0; l < 32; ++l) {
      if ((first.mask >> l & 1) == 0) continue;
      if (begin + l >= end) throw std::runtime_error(where() + ": a shuffle's mask names a lane that the block does not have");
      const Fiber& other = block.fiber(begin + l);
      if (other.state == State::ended) throw std::runtime_error(where() + ": a shuffle waits for a thread that has ended");
      complete = complete && other.state == State::at_exchange;
    }
    if (!complete) continue;
    for (std::size_t l = 0; l < 32; ++l) {
      if ((first.mask >> l & 1) == 0) continue;
      const Fiber& lane = block.fiber(begin + l);
      if (lane.mask != first.mask || lane.kind != first.kind || lane.bytes != first.bytes) {
        throw std::runtime_error(where() + ": threads of a warp meet in different shuffles");
      }
      if ((lane.mask >> lane.from & 1) == 0) throw std::runtime_error(where() + ": a shuffle reads a lane that takes no part");
    }
    for (std::size_t l = 0; l < 32; ++l) {
      if ((first.mask >> l & 1) == 0) continue;
      Fiber& lane = block.fiber(begin + l);
      for (std::size_t from = 0; from < 32 && lane.kind == Exchange::to_all; ++from) {
        auto* const to = static_cast<std::uint32_t*>(lane.theirs) + from;
        *to = (first.mask >> from & 1) != 0 ? *static_cast<const std::uint32_t*>(block.fiber(begin + from).mine) : 0;
      }
      if (lane.kind != Exchange::to_all) copy_bytes(lane.theirs, block.fiber(begin + static_cast<std::size_t>(lane.from)).mine, lane.bytes);
      lane.state = State::ready;
    }
    if (first.kind == Exchange::sync_warp) meet(block.set->meetings[warp], begin, end - begin, first.mask);
    settled = true;
  }
  return settled;
}

void run_block() {
  for (std::size_t i = 0; i < block.threads; ++i) {
    if (i >= block.set->fibers.size()) {
      block.set->fibers.push_back(std::make_unique<Fiber>());
      block.set->fibers.back()->stack.reset(new unsigned char[kStack]);
    }
    Fiber& fiber = block.fiber(i);
    unpoison(fiber.stack.get(), kStack);  // which a thread that never ended may have left as it was
    begin_at(fiber.place, fiber.stack.get(), fiber_main);
    const auto t = static_cast<unsigned>(i);
    fiber.thread = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    fiber.state = State::ready;
    act_as(fiber.actor), after(&block.beginning), fiber.copies.clear(), act_as(block.actor);
  }
  for (;;) {
    for (const std::size_t i : block.order) {
      Fiber& fiber = block.fiber(i);
      if (fiber.state != State::ready) continue;
      block.current = i, threadIdx = fiber.thread;
      act_as(fiber.actor);
      go(block.scheduler, fiber.place);
      act_as(block.actor);
      if (!block.error.empty()) throw std::runtime_error(where() + ": " + std::exchange(block.error, ""));
    }
    std::size_t ended = 0, at_barrier = 0, ready = 0;
    for (std::size_t w = 0; w * 32 < block.threads; ++w) settle_exchange(w);
    for (std::size_t i = 0; i < block.threads; ++i) {
      const State state = block.fiber(i).state;
      ended += state == State::ended, at_barrier += state == State::at_barrier, ready += state == State::ready;
    }
    if (ended == block.threads) return;
    if (ready > 0) continue;
    if (at_barrier == block.threads) {
      meet(block.set->meetings[32], 0, block.threads, ~0u);
      for (std::size_t i = 0; i < block.threads; ++i) block.fiber(i).state = State::ready;
      continue;
    }
    throw std::runtime_error(where() + ": " + std::to_string(at_barrier) + " threads wait at a barrier, " + std::to_string(ended) +
                             " have ended, the others wait at shuffles: they never meet");
  }
}

}  // namespace

void shuffle_threads(std::uint64_t seed) { order_seed = seed; }
bool finds_races() { return kFindsRaces; }
std::int64_t launches() { return launch_count; }
int lane() { return static_cast<int>(block.current % 32); }

void wait_for_block() {
  block.fiber(block.current).state = State::at_barrier;
  stop();
}

void exchange(unsigned mask, int from, const void* mine, void* theirs, std::size_t bytes, Exchange kind) {
  Fiber& fiber = block.fiber(block.current);
  if ((mask >> lane() & 1) == 0) block.error = "a thread calls a shuffle whose mask does not name it";
  fiber.mask = mask, fiber.from = from, fiber.kind = kind, fiber.mine = mine, fiber.theirs = theirs, fiber.bytes = bytes;
  fiber.state = State::at_exchange;
  stop();
}

void exchange_all(unsigned mask, std::uint32_t mine, std::uint32_t* theirs) { exchange(mask, lane(), &mine, theirs, sizeof mine, Exchange::to_all); }

void start_copy(void* to, const void* from, std::size_t bytes, std::size_t zeros) {
  const auto misplaced = [&](const void* p) { return reinterpret_cast<std::uintptr_t>(p) % bytes != 0; };
  if ((bytes != 4 && bytes != 8 && bytes != 16) || zeros > bytes) block.error = "a copy to shared memory of a size that there is not";
  else if (misplaced(to) || misplaced(from)) block.error = "a copy to shared memory that is not aligned";
  if (!block.error.empty()) stop();
  block.fiber(block.current).copies.push_back({to, from, bytes, zeros});
  writes(to, bytes);  // from now on, at some time until the wait
}

void wait_for_copies() {
  for (const auto& [to, from, bytes, zeros] : block.fiber(block.current).copies) {
    std::memcpy(to, from, bytes - zeros);
    std::memset(static_cast<unsigned char*>(to) + bytes - zeros, 0, zeros);
  }
  block.fiber(block.current).copies.clear();
}

void draw_order(dim3 grid, dim3 threads) {
  block.order.resize(std::size_t{threads.x} * threads.y * threads.z);
  std::iota(block.order.begin(), block.order.end(), std::size_t{0});
  block.turns.resize(std::size_t{grid.x} * grid.y * grid.z);
  std::iota(block.turns.begin(), block.turns.end(), std::size_t{0});
  if (order_seed == 0) return;
  RandomStream random(order_seed, "threads");
  random.shuffle(block.order);
  random.shuffle(block.turns);
}

void run_grid(dim3 grid, dim3 threads, std::size_t shared_bytes, void (*thread)(void*), const void* arguments, std::size_t bytes) {
  ++launch_count;
  if (gpu.fails > 0 && --gpu.fails == 0) {
    gpu.failed = true;
    return;
  }
  gridDim = grid, blockDim = threads;
  block.threads = std::size_t{threads.x} * threads.y * threads.z;
  if (block.threads == 0 || block.threads > 1024) throw std::runtime_error("a block of " + std::to_string(block.threads) + " threads");
  if (grid.y > 65535 || grid.z > 65535) throw std::runtime_error("a grid of more than 65535 blocks along y or z");
  if (shared_bytes > kMostShared) throw std::runtime_error("more shared memory than there is");
  if (bytes > kMostArguments) throw std::runtime_error("more than 4 KiB of arguments");
  block.thread = thread, block.actor = acting();
  copy_bytes(block.arguments, arguments, bytes);
  unsigned char* const behind = cuda::dynamic_shared + shared_bytes;
  for (const std::size_t turn : block.turns) {
    const auto b = static_cast<unsigned>(turn);
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    block.set = &block.sets[turn >> (launch_count % 12) & 1];
    forget(cuda::dynamic_shared, (shared_bytes + kWatched + kPage - 1) / kPage * kPage);
    std::memset(cuda::dynamic_shared, kUnset, shared_bytes + kWatched);
    before(&block.beginning);
    run_block();
    if (std::any_of(behind, behind + kWatched, [](unsigned char c) { return c != kUnset; })) {
      throw std::runtime_error(where() + ": a thread wrote behind the block's shared memory");
    }
  }
  for (const Set& set : block.sets) {
    for (std::size_t i = 0; i < std::min(block.threads, set.fibers.size()); ++i) act_as(set.fibers[i]->actor), before(&block.ending);
  }
  act_as(block.actor), after(&block.ending);
}

}  // namespace piano::emulation
