// Batches built ahead: in order, each by one thread, errors in their place, and no thread outlives the queue.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "piano/batch_queue.h"
#include "piano/model_file.h"
#include "piano/padded_batch.h"
#include "tests/base/temporary_folder.h"
#include "tests/data/batch_equal.h"
#include "tests/piano/tiny_data.h"

using namespace piano;

namespace {

// Builds note what they were asked for in `request`; that of a negative one throws.
std::vector<BatchQueue::Build> builds(int threads, std::atomic<int>* begun = nullptr) {
  return std::vector<BatchQueue::Build>(static_cast<std::size_t>(threads), [begun](std::span<const std::int64_t> requests, data::Batch& batch) {
    if (begun != nullptr) ++*begun;
    std::this_thread::sleep_for(std::chrono::microseconds(requests[0] % 7 * 200));  // a later one is often done before
    batch.request.assign(requests.begin(), requests.end());
    if (requests[0] < 0) throw std::runtime_error("no batch of " + std::to_string(requests[0]));
  });
}

std::vector<std::int64_t> numbers(std::int64_t n, std::int64_t first = 0) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), first);
  return all;
}

// Takes `n` batches of `size` of what was announced, from the one that begins at `at` on.
void take(BatchQueue& queue, std::span<const std::int64_t> announced, std::size_t size, std::size_t at, std::size_t n) {
  for (; n-- > 0; at += size) {
    const auto part = announced.subspan(at, std::min(size, announced.size() - at));
    const data::Batch& batch = queue.next(part);
    std::this_thread::sleep_for(std::chrono::microseconds(100));  // nobody touches it meanwhile
    CHECK(batch.request == std::vector<std::int64_t>(part.begin(), part.end()));
  }
}

}  // namespace

TEST_CASE("batch queue: batches come in order, whatever the number of threads, fewer than those or none too") {
  for (const int threads : {1, 2, 3, 8}) {
    CAPTURE(threads);
    BatchQueue queue(builds(threads));
    for (const std::int64_t n : {50, 49, 1, 0, 3, 50}) {
      const std::vector<std::int64_t> announced = numbers(n, n);
      queue.announce(announced, 3);
      take(queue, announced, 3, 0, static_cast<std::size_t>(n + 2) / 3);
      take(queue, numbers(10, 100), 4, 0, 2);  // nothing is announced any more: what is asked for is built
    }
  }
}

TEST_CASE("batch queue: at most one batch for each thread is begun ahead") {
  std::atomic<int> begun = 0;
  BatchQueue queue(builds(3, &begun));
  const std::vector<std::int64_t> announced = numbers(40);
  queue.announce(announced, 2);
  for (std::size_t taken = 1; taken <= 20; ++taken) {
    take(queue, announced, 2, 2 * (taken - 1), 1);
    CHECK(begun <= static_cast<int>(taken) + 3);
  }
  CHECK(begun == 20);
}

TEST_CASE("batch queue: what building a batch throws comes out where that batch is asked for, and the next ones follow") {
  for (const int threads : {1, 3}) {
    CAPTURE(threads);
    BatchQueue queue(builds(threads));
    const std::vector<std::int64_t> announced{0, 1, -2, 3, -4, 5};
    queue.announce(announced, 1);
    take(queue, announced, 1, 0, 2);
    CHECK_THROWS_WITH(queue.next(std::span(announced).subspan(2, 1)), "no batch of -2");
    take(queue, announced, 1, 3, 1);
    queue.announce(announced, 1);  // an error that nobody saw is gone
    take(queue, announced, 1, 0, 1);
  }
}

TEST_CASE("batch queue: another announcement replaces what is left; requests other than announced are a mistake") {
  for (const int threads : {1, 4}) {
    CAPTURE(threads);
    BatchQueue queue(builds(threads));
    const std::vector<std::int64_t> first = numbers(90), second = numbers(12, 1000);
    for (std::size_t taken = 0; taken < 20; ++taken) {
      queue.announce(first, 3);
      take(queue, first, 3, 0, taken);
      queue.announce(second, 5);  // while threads build
      CHECK_THROWS_WITH(queue.next(std::span(first).subspan(6, 3)), "a step over other requests than were announced for it");
      take(queue, second, 5, 0, 3);
    }
  }
}

TEST_CASE("batch queue: it may end at any time") {
  for (std::size_t taken = 0; taken < 6; ++taken) {
    std::atomic<int> begun = 0;
    {
      BatchQueue queue(builds(4, &begun));
      const std::vector<std::int64_t> announced = numbers(1000);
      queue.announce(announced, 1);
      take(queue, announced, 1, 0, taken);
    }
    CHECK(begun <= static_cast<int>(taken) + 4);
  }
}

TEST_CASE("batch queue: batches of a data set are those of one builder, by builders that share its maps") {
  const TemporaryFolder folder;
  write_tiny_data(folder / "data.safetensors", 120);
  const data::Dataset data(folder / "data.safetensors");
  std::vector<data::BatchBuilder> builders;
  std::vector<BatchQueue::Build> padded;
  for (int w = 0; w < 4; ++w) {
    builders.emplace_back(data.features(), builder_limits(tiny_config()));
    w == 0 ? builders[0].attach(data) : builders.back().share_maps_with(builders[0]);
  }
  for (int w = 1; w < 4; ++w) {
    padded.push_back([&builder = builders[static_cast<std::size_t>(w)]](std::span<const std::int64_t> requests, data::Batch& batch) {
      builder.build(requests, batch);
      pad_batch(batch);
    });
  }
  BatchQueue queue(padded);
  const std::vector<std::int64_t> announced = numbers(120);
  queue.announce(announced, 7);
  for (std::size_t at = 0; at < 120; at += 7) {
    const auto part = std::span(announced).subspan(at, std::min<std::size_t>(7, 120 - at));
    data::Batch expected;
    builders[0].build(part, expected);
    pad_batch(expected);
    CHECK(data::test::difference(queue.next(part), expected) == "");
  }
}
