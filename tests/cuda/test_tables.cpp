// The gradient of embedding tables' rows, whose rows the device finds itself: on the emulation.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "engine/cuda/memory.h"

using namespace piano;
using namespace piano::cuda;

namespace {

using Numbers = std::vector<std::int32_t>;

// Three tables of different widths, one of them without rows that anybody reads.
struct Tables {
  Tables() {
    store.add_table("wide", 50, 7), store.add_table("idle", 9, 3), store.add_table("narrow", 300, 2);
    store.allocate();
    for (std::size_t t = 0; t < 3; ++t) gradients[t].reset(store.table_shape(t).cols(), DType::f32);
  }
  ParameterStore store;
  RowGradients gradients[3];
};

// What a batch gives: bags of ids of the wide table, single ids of the narrow one, and some of these a second time.
struct Batch {
  static constexpr std::size_t kBags = 400, kSingle = 900, kAgain = 200;
  explicit Batch(std::size_t seed) {
    for (std::size_t bag = 0; bag < kBags; ++bag) {
      for (std::size_t i = 0; i < (bag + seed) % (3 + seed % 3); ++i) ids.push_back(static_cast<std::int32_t>((bag * i + seed) % 50));
      offsets.push_back(static_cast<std::int32_t>(ids.size()));
    }
    for (std::size_t i = 0; i < kSingle; ++i) single.push_back(static_cast<std::int32_t>((i * i * 7 + seed * 31) % 300));
    for (std::size_t i = 0; i < dy.size(); ++i) dy[i] = static_cast<float>((i + seed) % 9) - 4;
  }
  void touch(CudaMemory& memory) const {
    memory.touch({0, offsets.data(), ids.data(), static_cast<std::int32_t>(kBags), static_cast<std::int32_t>(kBags), false, dy.data(), 7});
    memory.touch({2, nullptr, single.data(), static_cast<std::int32_t>(kSingle), static_cast<std::int32_t>(kSingle), false, dy.data(), 2});
    memory.touch({2, nullptr, single.data(), static_cast<std::int32_t>(kAgain), static_cast<std::int32_t>(kAgain), false, dy.data() + 50, 2});
  }
  void expect(std::vector<std::vector<float>>& rows) const {
    for (std::size_t bag = 0; bag < kBags; ++bag) {
      for (std::int32_t i = offsets[bag]; i < offsets[bag + 1]; ++i) add(rows[0], ids[static_cast<std::size_t>(i)], 7, dy.data() + 7 * bag);
    }
    for (std::size_t i = 0; i < kSingle; ++i) add(rows[2], single[i], 2, dy.data() + 2 * i);
    for (std::size_t i = 0; i < kAgain; ++i) add(rows[2], single[i], 2, dy.data() + 50 + 2 * i);
  }
  static void add(std::vector<float>& table, std::int32_t row, std::size_t d, const float* from) {
    for (std::size_t c = 0; c < d; ++c) table[static_cast<std::size_t>(row) * d + c] += from[c];
  }
  Numbers offsets{0}, ids, single;
  std::vector<float> dy = std::vector<float>(7 * kBags);
};

}  // namespace

TEST_CASE("tables: each touched row's gradient, of tables of several widths, with tables on the device and in the host's memory") {
  for (const DeviceMemory::Tables where : {DeviceMemory::Tables::resident, DeviceMemory::Tables::host}) {
    Tables tables;
    CudaMemory memory(Precision::f32);
    memory.keep(tables.store, where);
    const Batch batch(1);
    batch.touch(memory);
    std::vector<std::vector<float>> expected{std::vector<float>(350), std::vector<float>(27), std::vector<float>(600)};
    batch.expect(expected);
    if (where == DeviceMemory::Tables::host) {
      const CudaMemory::TableGradients there = memory.table_gradients();
      memory.read({});
      const Numbers rows = memory.touched_rows();
      CHECK(Numbers(there.row, there.row + *there.count) == rows);  // the emulation's device memory is the host's
      CHECK(memory.touched_rows() == rows);
      CHECK(memory.table_row(rows.front()).table == 0);
      CHECK(memory.table_row(59).table == 2);
      CHECK(memory.table_row(58).table == 1);
      CHECK(memory.table_row(58).row == 8);
    }
    memory.read_row_gradients(tables.gradients);
    for (std::size_t t = 0; t < 3; ++t) {
      const auto d = static_cast<std::size_t>(tables.store.table_shape(t).cols());
      std::vector<float> actual(expected[t].size());
      const auto values = tables.gradients[t].values<float>();
      Numbers rows(tables.gradients[t].rows().begin(), tables.gradients[t].rows().end());
      CHECK(std::is_sorted(rows.begin(), rows.end()));
      for (std::size_t i = 0; i < rows.size(); ++i) Batch::add(actual, rows[i], d, values.data() + i * d);
      CHECK(actual == expected[t]);
    }
    CHECK(tables.gradients[1].rows().empty());
  }
}

TEST_CASE("tables: without a touch there is no gradient, and ids without number have none") {
  Tables tables;
  CudaMemory memory(Precision::f32);
  memory.keep(tables.store, DeviceMemory::Tables::resident);
  CHECK(memory.table_gradients().room == 0);
  const Numbers no_ids(11, 0);
  memory.touch({0, no_ids.data(), no_ids.data(), 10, 10, true, nullptr, 7});  // ten empty bags
  memory.read_row_gradients(tables.gradients);
  CHECK(tables.gradients[0].rows().empty());
}

TEST_CASE("tables: other ids, and another number of them, are no other commands: steps go on being started as a whole") {
  Tables tables;
  CudaMemory memory(Precision::f32);
  memory.expect_repeats(4);
  memory.keep(tables.store, DeviceMemory::Tables::resident);
  constexpr std::size_t kSteps = 12;
  for (std::size_t step = 0; step < kSteps; ++step) {
    memory.reset();
    const Batch batch(step);
    batch.touch(memory);
    std::vector<std::vector<float>> expected{std::vector<float>(350), std::vector<float>(27), std::vector<float>(600)};
    batch.expect(expected);
    const CudaMemory::TableGradients there = memory.table_gradients();
    memory.run_step();
    memory.read({});
    for (std::int32_t i = 0; i < *there.count; ++i) {
      const CudaMemory::TableRow row = memory.table_row(there.row[i]);
      for (std::int64_t c = 0; c < there.d; ++c) {
        CHECK(there.sums[i * there.d + c] == (c < row.d ? expected[row.table][static_cast<std::size_t>(row.row * row.d + c)] : 0.0f));
      }
    }
  }
  CHECK(memory.replays().hits + memory.replays().misses == kSteps);
  CHECK(memory.replays().misses <= 6);  // for each half of what is staged: once noted, once captured, and once before room had grown
}
