// Indices in order, and rows added up by them, on the emulation: whole numbers, so that sums are exact in any order.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "engine/base/random.h"
#include "engine/cuda/memory.h"
#include "engine/cuda/sort.h"
#include "tests/cuda_emulation/emulation.h"

using namespace piano;
using namespace piano::cuda;

namespace {

using Numbers = std::vector<std::int32_t>;

Numbers draw(std::size_t n, std::int64_t limit, std::uint64_t seed) {
  RandomStream random(seed, "keys");
  Numbers keys(n);
  for (std::int32_t& key : keys) key = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(limit)));
  return keys;
}

// Keys on the device, with room behind them where there is garbage: it would crash who followed it.
struct Keys {
  Keys(CudaMemory& memory, const Numbers& keys, std::size_t spare) : room(static_cast<std::int64_t>(keys.size() + spare)) {
    Numbers with_garbage = keys;
    with_garbage.resize(static_cast<std::size_t>(room), -0x7ABCDEF0);
    const auto n = static_cast<std::int32_t>(keys.size());
    there = memory.staged_copy<std::int32_t>(with_garbage), count = memory.staged_copy<std::int32_t>({&n, 1});
  }
  const std::int32_t *there, *count;
  std::int64_t room;
};

Numbers read(CudaMemory& memory, const std::int32_t* from, std::size_t n) {
  Numbers numbers(n);
  memory.read(numbers.data(), from, n * sizeof(std::int32_t));
  return numbers;
}

void check_sorted(const Numbers& keys, std::int64_t limit, std::size_t spare) {
  CAPTURE(keys.size());
  CAPTURE(limit);
  CAPTURE(spare);
  CudaMemory memory(Precision::f32);
  const Keys at(memory, keys, spare);
  const SortedKeys sorted = sort_keys(memory, at.there, at.count, at.room, limit);
  const Runs runs = number_runs(memory, sorted.key, at.count, at.room, limit);
  memory.run();
  Numbers places(keys.size()), expected, run_keys, run_begins, run_of;
  std::iota(places.begin(), places.end(), 0);
  const auto key = [&](std::int32_t place) { return keys[static_cast<std::size_t>(place)]; };
  std::stable_sort(places.begin(), places.end(), [&](std::int32_t a, std::int32_t b) { return key(a) < key(b); });
  for (const std::int32_t place : places) {
    expected.push_back(key(place));
    if (run_keys.empty() || run_keys.back() != expected.back()) {
      run_keys.push_back(expected.back()), run_begins.push_back(static_cast<std::int32_t>(expected.size()) - 1);
    }
    run_of.push_back(static_cast<std::int32_t>(run_keys.size()) - 1);
  }
  CHECK(read(memory, sorted.key, keys.size()) == expected);
  CHECK(read(memory, sorted.place, keys.size()) == places);
  CHECK(read(memory, runs.count, 1) == Numbers{static_cast<std::int32_t>(run_keys.size())});
  CHECK(read(memory, runs.key, run_keys.size()) == run_keys);
  CHECK(read(memory, runs.begin, run_keys.size()) == run_begins);
  CHECK(read(memory, runs.of, keys.size()) == run_of);
}

// Sums by an index, in the memory's own order and with `fresh` or not, beside a plain loop. Rows hold small whole numbers.
void check_sums(const Numbers& index, std::int64_t targets, std::int64_t d, bool fresh) {
  CAPTURE(index.size());
  CAPTURE(targets);
  CAPTURE(d);
  CAPTURE(fresh);
  CudaMemory memory(Precision::f32);
  std::vector<float> rows(index.size() * static_cast<std::size_t>(d)), out(static_cast<std::size_t>(targets * d), fresh ? 1e30f : 3.0f);
  std::vector<float> expected(out.size(), fresh ? 0.0f : 3.0f);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i * i % 13) - 6;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t width = static_cast<std::size_t>(d), target = static_cast<std::size_t>(index[i / width]);
    expected[target * width + i % width] += rows[i];
  }
  const auto n = static_cast<std::int64_t>(index.size());
  sum_rows(memory, memory.row_sums(index.data(), n, targets), rows.data(), d, out.data(), fresh);  // the emulation's device memory is the host's
  memory.read({});
  CHECK(out == expected);
}

// Runs that end at chunks' edges, go over one, fill several; and one that is nearly all there is.
Numbers runs_of(const std::vector<std::size_t>& lengths) {
  Numbers index;
  for (std::size_t t = 0; t < lengths.size(); ++t) index.insert(index.end(), lengths[t], static_cast<std::int32_t>(t));
  return index;
}

}  // namespace

TEST_CASE("sort: as std::stable_sort has it, for all sizes around its tiles, few keys and many; what lies behind the keys is not looked at") {
  for (const std::size_t n : {0u, 1u, 2u, 31u, 32u, 33u, 511u, 512u, 513u, 1024u, 5000u}) {
    for (const std::int64_t limit : {std::int64_t{1}, std::int64_t{2}, std::int64_t{256}, std::int64_t{257}, std::int64_t{70000}}) {
      check_sorted(draw(n, limit, n + 1), limit, 0);
      check_sorted(draw(n, limit, n + 2), limit, 700);
    }
  }
  check_sorted(draw(3000, std::int64_t{1} << 31, 5), std::int64_t{1} << 31, 100);  // every bit that a key has
  check_sorted({0, 0x7FFFFFFF, 0x7FFFFFFE, 0, 0x40000000, 0x01000000, 0x00010000, 0x00000100}, std::int64_t{1} << 31, 1);
  check_sorted(draw(140'000, 3, 6), 3, 0);  // more tiles than a warp scans at once
}

TEST_CASE("row sums: whatever their runs, as a plain loop adds them up") {
  for (const std::int64_t d : {1, 8, 32, 40, 70}) {
    for (const bool fresh : {false, true}) {
      check_sums({}, 3, d, fresh);
      check_sums({2}, 4, d, fresh);
      check_sums(runs_of({64, 64, 1, 63, 65, 127, 0, 129, 5}), 9, d, fresh);
      check_sums(runs_of({10, 300, 54, 64, 200, 64}), 6, d, fresh);
      check_sums(draw(1000, 300, 1), 300, d, fresh);
      check_sums(draw(1000, 2, 2), 2, d, fresh);
    }
  }
  check_sums(runs_of({3, 9000, 2}), 3, 3, true);    // longer than a chunk of chunks
  check_sums(Numbers(64 * 64 * 64 + 1, 1), 2, 1, false);  // and than a chunk of these
}

TEST_CASE("row sums: rows that lie anywhere, with factors and widths; entries behind the count are no entries; the bits are those of any order of threads") {
  CudaMemory memory(Precision::f32);
  const Numbers targets = runs_of({1, 70, 200, 3});
  std::vector<float> rows(targets.size() * 5);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i % 11) - 5;
  std::vector<Addend> addends;
  Numbers entry;
  std::vector<float> expected(4 * 5, 0.0f);
  for (std::size_t e = 0; e < targets.size(); ++e) {
    const std::int32_t width = e % 3 == 0 ? 2 : 5;
    const float factor = e % 4 == 0 ? 0.5f : 2.0f;
    addends.push_back({rows.data() + 5 * e, factor, width}), entry.push_back(static_cast<std::int32_t>(e));
    for (std::int32_t c = 0; c < width; ++c) expected[static_cast<std::size_t>(targets[e] * 5 + c)] += factor * rows[5 * e + static_cast<std::size_t>(c)];
  }
  const Keys target(memory, targets, 100), places(memory, entry, 100);
  std::vector<float> in_order;
  for (const std::uint64_t seed : {0u, 7u, 8u}) {
    std::vector<float> out(expected.size(), 1e30f);
    emulation::shuffle_threads(seed);
    sum_rows(memory, {target.there, places.there, target.count, target.room, 4}, addends.data(), 5, out.data());
    memory.run();
    CHECK(out == expected);
  }
  emulation::shuffle_threads(0);
}

TEST_CASE("row sums: the bits of numbers that round do not depend on the order of threads, and a plan is made once for each index and height") {
  const Numbers index = draw(3000, 5, 3);
  std::vector<float> rows(index.size() * 2), in_order;
  RandomStream random(4, "rows");
  for (float& x : rows) x = static_cast<float>(random.normal());
  for (const std::uint64_t seed : {0u, 1u, 2u}) {
    emulation::shuffle_threads(seed);
    CudaMemory memory(Precision::f32);
    std::vector<float> out(20);
    sum_rows(memory, memory.row_sums(index.data(), 3000, 10), rows.data(), 2, out.data(), true);
    const RowSums& other = memory.row_sums(index.data(), 3000, 5);
    CHECK(other.targets == 5);
    CHECK(&other == &memory.row_sums(index.data(), 3000, 5));
    memory.run();
    if (seed == 0) in_order = out;
    CHECK(out == in_order);
  }
  emulation::shuffle_threads(0);
}

TEST_CASE("row sums: whatever comes after them lies where it lay, however few the rows are this time") {
  CudaMemory memory(Precision::f32);
  memory.expect_repeats(1);
  std::vector<const void*> after;
  for (const std::int32_t n : {5000, 5000, 50, 5000}) {  // two levels and two digits, or one each
    const Numbers index = draw(static_cast<std::size_t>(n), n, 1);
    auto* rows = static_cast<float*>(memory.allocate(static_cast<std::size_t>(n) * sizeof(float)));
    auto* sums = static_cast<float*>(memory.allocate(static_cast<std::size_t>(n) * sizeof(float)));
    memory.zero(rows, static_cast<std::size_t>(n) * sizeof(float));
    sum_rows(memory, memory.row_sums(index.data(), n, n), rows, 1, sums, true);
    after.push_back(memory.allocate(1));
    CHECK(memory.room_for(n) < 6000);  // a number, not a size in bytes
    memory.run();
    memory.reset();
  }
  CHECK(after[2] == after[1]);
  CHECK(after[3] == after[1]);
}
