// What QDIR computed of a history, kept for the user's next request: the same history need not be encoded again.
//
// A history is known by its columns in the batch, all of them, compared and not only hashed. All memory is taken at once: as many slots of one
// size as `bytes` hold; when they are full, the one used longest ago gives way.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/batch.h"

namespace piano {

// The columns of a batch's history, one after the other: equal when, and only when, the network is given the same past.
void history_key(const data::Batch& batch, std::vector<std::int32_t>& key);

class HistoryCache {
 public:
  using Hash = std::uint64_t (*)(std::span<const std::int32_t> key);
  static std::uint64_t xxh64(std::span<const std::int32_t> key);

  // A slot holds a key and the values of a history. bytes too few for one slot: nothing is ever kept.
  HistoryCache(std::size_t bytes, std::size_t most_keys, std::size_t most_values, Hash hash = xxh64);

  // The values kept under `key`, or nothing. Valid until the next keep().
  std::span<const float> find(std::span<const std::int32_t> key);
  // Room for the values of `key`, to be filled by the caller; empty when they do not fit into a slot. requires: find(key) gave nothing
  std::span<float> keep(std::span<const std::int32_t> key, std::size_t values);

  std::size_t slots() const { return slots_.size(); }
  std::int64_t lookups() const { return lookups_; }
  std::int64_t hits() const { return hits_; }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::int32_t keys = 0, values = 0;        // how many
    std::int32_t next = -1;                   // of the same bucket
    std::int32_t newer = -1, older = -1;      // by last use
  };
  std::int32_t& bucket_of(std::uint64_t hash) { return buckets_[hash % buckets_.size()]; }
  std::span<const std::int32_t> key_of(std::int32_t slot) const;
  void unlink(std::int32_t slot);             // from the order of use
  void to_front(std::int32_t slot);

  Hash hash_;
  std::size_t most_keys_, most_values_;
  std::unique_ptr<std::int32_t[]> keys_;      // (slots, most_keys): not touched before it is used
  std::unique_ptr<float[]> values_;           // (slots, most_values)
  std::vector<Slot> slots_;
  std::vector<std::int32_t> buckets_;         // first slot of each, -1 = none
  std::int32_t newest_ = -1, oldest_ = -1, used_ = 0;
  std::int64_t lookups_ = 0, hits_ = 0;
};

}  // namespace piano
