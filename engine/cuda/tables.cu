// Embedding tables on the device: their gradient, which is that of few rows, and tables that stay in the host's memory.
#include <algorithm>
#include <cstring>
#include <limits>

#include "engine/cuda/device_code.h"
#include "engine/cuda/launch.h"
#include "engine/cuda/sort.h"

namespace piano::cuda {
namespace {

// A touch as the device sees it: id i, of whatever bag, is entry first_entry + i.
struct TouchThere {
  const std::int32_t *offsets, *ids;  // offsets null: a bag is one id
  const float* dy;
  std::int32_t bags, mean, d, first_entry, first_row;
};

// A thread for each bag; blockIdx.y is the touch.
__global__ void list_entries(const TouchThere* touches, std::int32_t* row, Addend* addend) {
  const TouchThere& touch = touches[blockIdx.y];
  for (std::int64_t bag = first_element(); bag < touch.bags; bag += element_stride()) {
    const std::int64_t begin = touch.offsets != nullptr ? touch.offsets[bag] : bag, end = touch.offsets != nullptr ? touch.offsets[bag + 1] : bag + 1;
    const float factor = touch.mean != 0 ? 1.0f / static_cast<float>(end - begin) : 1.0f;
    for (std::int64_t i = begin; i < end; ++i) {
      row[touch.first_entry + i] = touch.first_row + touch.ids[i];
      addend[touch.first_entry + i] = {touch.dy + bag * touch.d, factor, touch.d};
    }
  }
}

// The ids that a touch names lie from begin to end.
struct Ids { std::int32_t begin, end; };
Ids ids_of(const CudaMemory::Touch& touch) {
  return touch.offsets == nullptr ? Ids{0, touch.rows} : Ids{touch.offsets[0], touch.offsets[touch.rows]};
}

}  // namespace

void CudaMemory::number_rows() {
  first_rows_.assign(1, 0), widest_ = 0;
  for (std::size_t t = 0; t < store_->table_count(); ++t) {
    const Shape& shape = store_->table_shape(t);
    PIANO_CHECK(shape.rows() < std::numeric_limits<std::int32_t>::max() - first_rows_.back(), "[cuda] 2^31 rows in tables, or more");
    first_rows_.push_back(first_rows_.back() + static_cast<std::int32_t>(shape.rows()));
    widest_ = std::max(widest_, shape.cols());
  }
  place_of_row_.assign(tables_on_host_ ? static_cast<std::size_t>(first_rows_.back()) : 0, -1);
}

CudaMemory::TableRows CudaMemory::table_rows(const void* table, const std::int32_t* ids, std::int64_t n) {
  if (!tables_on_host_) return {static_cast<const float*>(table), copy_of(ids, n)};
  const auto t = static_cast<std::size_t>(std::find(table_values_.begin(), table_values_.end(), table) - table_values_.begin());
  const auto d = static_cast<std::size_t>(store_->table_shape(t).cols());
  std::int32_t* const place_of = place_of_row_.data() + first_rows_[t];
  std::vector<std::int32_t> rows, places;
  for (std::int64_t i = 0; i < n; ++i) {
    std::int32_t& place = place_of[ids[i]];
    if (place < 0) place = static_cast<std::int32_t>(rows.size()), rows.push_back(ids[i]);
    places.push_back(place);
  }
  const Staged copy = stage(rows.size() * d * sizeof(float));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    place_of[rows[r]] = -1;
    std::memcpy(static_cast<float*>(copy.host) + r * d, table_values_[t] + static_cast<std::size_t>(rows[r]) * d, d * sizeof(float));
  }
  return {static_cast<const float*>(copy.device), staged_copy<std::int32_t>(places)};
}

CudaMemory::TableGradients CudaMemory::table_gradients() {
  std::vector<TouchThere> touches;
  std::int64_t entries = 0, most_bags = 0;
  for (const Touch& touch : touches_) {
    const std::int32_t* offsets = touch.offsets == nullptr ? nullptr : copy_of(touch.offsets, touch.bags + 1);
    const auto [begin, end] = ids_of(touch);
    const std::int32_t* ids = touch.kept != nullptr ? touch.kept : copy_of(touch.ids, end);
    touches.push_back({offsets, ids, touch.dy, touch.rows, touch.mean, static_cast<std::int32_t>(touch.d),
                       static_cast<std::int32_t>(entries - begin), first_rows_[touch.table]});
    entries += end - begin, most_bags = std::max<std::int64_t>(most_bags, touch.rows);
  }
  PIANO_CHECK(entries <= std::numeric_limits<std::int32_t>::max(), "[cuda] 2^31 ids in a batch, or more");
  const std::int64_t room = room_for(entries), all_rows = first_rows_.back();
  TableGradients gradients;
  if (room == 0) return gradients;
  auto* row = static_cast<std::int32_t*>(allocate(static_cast<std::size_t>(room) * sizeof(std::int32_t)));
  auto* addend = static_cast<Addend*>(allocate(static_cast<std::size_t>(room) * sizeof(Addend)));
  const auto n = static_cast<std::int32_t>(entries);
  const std::int32_t* count = staged_copy<std::int32_t>({&n, 1});
  launch(*this, list_entries, dim3(blocks_for(room_for(most_bags), kThreads), static_cast<unsigned>(touches.size())), dim3(kThreads), 0,
         staged_copy<TouchThere>(touches), row, addend);
  const SortedKeys sorted = sort_keys(*this, row, count, room, all_rows);
  const Runs runs = number_runs(*this, sorted.key, count, room, all_rows);
  gradients = {runs.count, runs.key, nullptr, std::min(room, all_rows), widest_};
  gradients.sums = static_cast<float*>(allocate(static_cast<std::size_t>(gradients.room * gradients.d) * sizeof(float)));
  sum_rows(*this, {runs.of, sorted.place, count, room, gradients.room}, addend, gradients.d, gradients.sums);
  return gradients;
}

std::vector<std::int32_t> CudaMemory::touched_rows() {
  std::vector<std::int32_t> rows;
  for (const Touch& touch : touches_) {
    std::int32_t* const seen = place_of_row_.data() + first_rows_[touch.table];
    const auto [begin, end] = ids_of(touch);
    for (std::int32_t i = begin; i < end; ++i) {
      if (std::exchange(seen[touch.ids[i]], 0) < 0) rows.push_back(first_rows_[touch.table] + touch.ids[i]);
    }
  }
  for (const std::int32_t row : rows) place_of_row_[static_cast<std::size_t>(row)] = -1;
  std::sort(rows.begin(), rows.end());
  return rows;
}

CudaMemory::TableRow CudaMemory::table_row(std::int32_t row) const {
  const auto behind = std::upper_bound(first_rows_.begin(), first_rows_.end(), row);
  const auto t = static_cast<std::size_t>(behind - first_rows_.begin()) - 1;
  return {t, row - first_rows_[t], store_->table_shape(t).cols()};
}

void CudaMemory::read_row_gradients(std::span<RowGradients> tables) {
  const TableGradients gradients = table_gradients();
  std::int32_t count = 0;
  if (gradients.count != nullptr) read(&count, gradients.count, sizeof count);
  std::vector<std::int32_t> rows(static_cast<std::size_t>(count));
  std::vector<float> sums(rows.size() * static_cast<std::size_t>(gradients.d));
  const Part parts[] = {{rows.data(), gradients.row, rows.size() * sizeof(std::int32_t)}, {sums.data(), gradients.sums, sums.size() * sizeof(float)}};
  read(parts);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const TableRow at = table_row(rows[i]);
    auto* to = static_cast<float*>(tables[at.table].at(at.row));
    for (std::int64_t c = 0; c < at.d; ++c) to[c] += sums[i * static_cast<std::size_t>(gradients.d) + static_cast<std::size_t>(c)];
  }
}

}  // namespace piano::cuda
