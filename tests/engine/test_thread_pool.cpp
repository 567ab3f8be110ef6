// The thread pool: every worker once a run, errors handed to the caller, no allocation.
#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/core/thread_pool.h"
#include "tests/support/allocation_counter.h"

using namespace piano;

TEST_CASE("each worker runs once") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.size() == threads);
    std::vector<int> calls(static_cast<std::size_t>(threads), 0);
    for (int round = 0; round < 50; ++round) pool.run([&](int worker) { ++calls[static_cast<std::size_t>(worker)]; });
    CHECK(calls == std::vector<int>(static_cast<std::size_t>(threads), 50));
  }
}

TEST_CASE("the lowest worker's exception reaches the caller, and the pool goes on") {
  ThreadPool pool(4);
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> finished{0};
    std::string message;
    try {
      pool.run([&](int worker) {
        if (worker == 1 || worker == 3) throw std::runtime_error("worker " + std::to_string(worker));
        ++finished;
      });
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
    CHECK(message == "worker 1");
    CHECK(finished == 2);
  }
  std::atomic<int> calls{0};
  pool.run([&](int) { ++calls; });
  CHECK(calls == 4);
}

TEST_CASE("a run allocates nothing") {
  ThreadPool pool(2);
  std::atomic<int> calls{0};
  const auto run = [&] { pool.run([&](int) { ++calls; }); };
  run();
  const std::int64_t before = allocation_count();
  for (int i = 0; i < 10; ++i) run();
  CHECK(allocation_count() == before);
  CHECK(calls == 22);
}
