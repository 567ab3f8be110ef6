// What a CudaMemory does with kernels, products and memory when something is unusual, on the emulation.
#include <doctest/doctest.h>

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/cuda/product.h"
#include "tests/cuda_emulation/emulation.h"

using namespace piano;
using namespace piano::cuda;

namespace {

__global__ void take_last(const std::int32_t* numbers, std::int64_t n, std::int32_t* to) { *to = numbers[n - 1]; }

__global__ void count_up(int* n) { ++*n; }

__global__ void fill_shared(std::int64_t n, float* sum) {
  auto* shared = shared_memory<float>();
  for (std::int64_t i = 0; i < n; ++i) shared[i] = 1;
  float total = 0;
  for (std::int64_t i = 0; i < n; ++i) total += shared[i];
  *sum = total;
}

// The message of what f throws; empty: nothing.
template <class F>
std::string thrown(F f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

struct OtherGpu {  // until the end of a test
  ~OtherGpu() { emulation::gpu = {}; }
};

}  // namespace

TEST_CASE("memory: no lists need no offsets") {
  CudaMemory memory(Precision::f32);
  CHECK(lists_of(memory, {nullptr, 0}).offsets == nullptr);
  CHECK(memory.list_of_row({nullptr, 0}) != nullptr);
}

TEST_CASE("memory: after a reset nothing that was copied is taken for what lies at the same address now") {
  CudaMemory memory(Precision::f32);
  std::int32_t offsets[] = {0, 0, 4};
  for (const std::int32_t first : {2, 1}) {
    offsets[1] = first;
    const std::int32_t* copy = memory.copy_of(offsets, 3);
    CHECK(memory.copy_of(offsets, 3) == copy);  // once between resets
    const std::int32_t* list = memory.list_of_row({offsets, 2});
    memory.read({});
    CHECK(copy[1] == first);
    CHECK(list[1] == (first == 2 ? 0 : 1));
    memory.reset();
  }
}

// That transfers and kernels wait for each other where they must, the thread sanitizer sees.
TEST_CASE("memory: kernels read what their own round staged, however many rounds nobody waits for") {
  CudaMemory memory(Precision::f32);
  std::vector<std::int32_t> seen(6, -1);
  for (std::int32_t round = 0; round < 6; ++round) {
    memory.reset();
    std::vector<std::int32_t> numbers(300, round);
    const std::int32_t* there = memory.staged_copy<std::int32_t>(numbers);
    launch(memory, take_last, dim3(1), dim3(1), 0, there, std::int64_t{300}, seen.data() + round);
    memory.run();
  }
  memory.read({});
  CHECK(seen == std::vector<std::int32_t>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("memory: products that cuBLASLt refuses are made all the same") {
  for (const std::int64_t n : {1, 5}) {
    for (const std::int64_t k : {1, 40}) {
      for (const int transposed : {0, 1, 2, 3}) {
        for (const int ending : {0, 1, 2}) {  // nothing, a bias, added
          CAPTURE(n);
          CAPTURE(k);
          CAPTURE(transposed);
          CAPTURE(ending);
          CudaMemory memory(Precision::f32);
          constexpr std::int64_t m = 3;
          const std::int64_t stride = n + 2;
          std::vector<float> a(static_cast<std::size_t>(m * k)), b(static_cast<std::size_t>(k * n)), bias(static_cast<std::size_t>(n));
          std::vector<float> c(static_cast<std::size_t>(m * stride), 100.0f);
          for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i % 7) - 3;
          for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i % 5) - 1;
          for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i + 1);
          const bool ta = (transposed & 1) != 0, tb = (transposed & 2) != 0;
          product(memory, m, n, k, {a.data(), ta ? m : k, ta}, {b.data(), tb ? k : n, tb}, ending == 1 ? bias.data() : nullptr, c.data(), stride, ending == 2);
          memory.read({});
          for (std::int64_t i = 0; i < m; ++i) {
            for (std::int64_t j = 0; j < stride; ++j) {
              float expected = j >= n || ending == 2 ? 100.0f : 0.0f;
              for (std::int64_t x = 0; x < k && j < n; ++x) {
                expected += a[static_cast<std::size_t>(ta ? x * m + i : i * k + x)] * b[static_cast<std::size_t>(tb ? j * k + x : x * n + j)];
              }
              if (j < n && ending == 1) expected += bias[static_cast<std::size_t>(j)];
              CHECK(c[static_cast<std::size_t>(i * stride + j)] == expected);  // whole numbers: exact in any order
            }
          }
        }
      }
    }
  }
}

TEST_CASE("memory: a kernel gets as much shared memory as the GPU has, and says so where that is too little") {
  CudaMemory memory(Precision::f32);
  float sum = 0;
  for (const std::int64_t floats_wanted : {12 * 1024, 12 * 1024 + 1, 56 * 1024}) {
    launch(memory, fill_shared, dim3(1), dim3(1), static_cast<std::size_t>(floats_wanted) * sizeof(float), floats_wanted, &sum);
    memory.read({});
    CHECK(sum == static_cast<float>(floats_wanted));
  }
  launch(memory, fill_shared, dim3(1), dim3(1), memory.most_shared() + 4, 1, &sum);
  CHECK(thrown([&] { memory.run(); }).find("did not start") != std::string::npos);
}

TEST_CASE("memory: what was noted down is started once, though something among it throws") {
  CudaMemory memory(Precision::f32);
  int started = 0;
  launch(memory, count_up, dim3(1), dim3(1), 0, &started);
  memory.note("an error", [](cudaStream_t) { throw std::runtime_error("on purpose"); });
  for (const bool as_step : {false, true}) {
    CAPTURE(as_step);
    memory.expect_repeats(as_step ? 2 : 0);
    CHECK(thrown([&] { as_step ? memory.run_step() : memory.run(); }) == (as_step ? "" : "on purpose"));
    memory.read({});
    CHECK(started == 1);
  }
}

TEST_CASE("memory: PIANO_CUDA_SYNC names the kernel that fails; without it the next wait tells of it") {
  const OtherGpu restored;
  for (const bool watched : {false, true}) {
    CAPTURE(watched);
    if (watched) setenv("PIANO_CUDA_SYNC", "1", 1);
    CudaMemory memory(Precision::f32);
    unsetenv("PIANO_CUDA_SYNC");
    int started = 0;
    memory.expect_repeats(2);
    for (int i = 0; i < 3; ++i) launch(memory, count_up, dim3(1), dim3(1), 0, &started);
    emulation::gpu.fails = 2;
    const std::string message = thrown([&] { memory.run_step(); });
    CHECK(message == (watched ? "[cuda] a kernel: an error of the emulation" : ""));
    CHECK(thrown([&] { memory.read({}); }) == (watched ? "" : "[cuda] kernels: an error of the emulation"));
    CHECK(started == (watched ? 1 : 2));
  }
}

TEST_CASE("memory: commands are timed by name, each by itself, and do what they do") {
  CudaMemory memory(Precision::f32);
  std::vector<float> a(6, 1.0f), b(6, 2.0f), c(4);
  memory.expect_repeats(2);
  memory.time_commands(true);
  for (int step = 0; step < 3; ++step) {
    product(memory, 2, 2, 3, {a.data(), 3, false}, {b.data(), 2, false}, nullptr, c.data(), 2, step > 0);
    memory.zero(a.data(), sizeof(float));
    memory.run_step();
    memory.reset();
  }
  memory.time_commands(false);
  memory.run_step();
  CHECK(c == std::vector<float>{14, 14, 18, 18});
  std::vector<std::string> names;
  for (const auto& [name, count, seconds] : memory.command_times()) {
    names.push_back(name);
    CHECK(count == 3);
    CHECK(seconds == doctest::Approx(0.003));  // a millisecond each, says the emulation
  }
  CHECK(names == std::vector<std::string>{"a product of (2, 3) and (3, 2)", "memset"});
  CHECK(memory.replays().hits == 0);
}

TEST_CASE("memory: a kernel's name without namespaces and parameters") {
  CHECK(short_name("_ZN5piano4cuda45_GLOBAL__N__98f1803f_12_attention_cu_18019f5811attend_backENS1_6InputsEPKfS4_PfNS1_9GradientsE") == "attend_back");
  CHECK(short_name("_ZN5piano4cuda12map_elementsILi2ELi1ENS0_47_GLOBAL__N__aa5344bb_14_elementwise_cu_8558fd284PlusEEEvllNS0_6ArraysIXT_EXT0_EEET1_") ==
        "map_elements<2, 1, Plus>");
  CHECK(short_name("_ZN5piano4cuda12_GLOBAL__N_13oneEv") == "one");
  CHECK(short_name("two") == "two");
}

TEST_CASE("memory: the last of a GPU's memory can be had, and what is too much is said") {
  const OtherGpu restored;
  constexpr std::int64_t kMiB = 1 << 20;
  DeviceBlocks blocks(nullptr);
  emulation::gpu.memory = emulation::memory_in_use() + 11 * kMiB;
  blocks.allocate(4 * kMiB);
  blocks.allocate(6 * kMiB);  // twice the last block would be too much
  CHECK(thrown([&] { blocks.allocate(6 * kMiB); }).find("out of memory") != std::string::npos);
  blocks.reset();  // one block of 10 MiB, when both are given back
  CHECK(emulation::memory_in_use() <= emulation::gpu.memory);
  blocks.allocate(10 * kMiB);
}

TEST_CASE("memory: parameters take as much of the GPU as they need") {
  ParameterStore store;
  store.add_table("small", 1000, 64), store.add_table("large", 5000, 64), store.add("dense", {100, 64}, true);
  store.allocate();
  CudaMemory memory(Precision::f32);
  const std::int64_t before = emulation::memory_in_use();
  memory.keep(store, DeviceMemory::Tables::resident);
  const std::int64_t needed = (6000 + 2 * 100) * 64 * 4;
  CHECK(emulation::memory_in_use() - before >= needed);
  CHECK(emulation::memory_in_use() - before < needed + 4096);
}

TEST_CASE("memory: a GPU that this build does not run on is named") {
  const OtherGpu restored;
  CHECK(std::string(usable_gpu().name) == "emulation");
  emulation::gpu = {.major = 7, .minor = 5};
  CHECK(thrown([] { usable_gpu(); }).find("compute capability 8.0 (A100) or newer with memory pools, got emulation of 7.5; use") != std::string::npos);
  emulation::gpu = {.pools = 0};
  CHECK(thrown([] { usable_gpu(); }).find("9.0 without memory pools") != std::string::npos);
  emulation::gpu = {.count = 0};
  CHECK(thrown([] { usable_gpu(); }).find("no GPU was found (an error of the emulation; the driver is for CUDA 13.0") != std::string::npos);
}
