#include "piano/history_cache.h"

#include <algorithm>

#include "data/hash.h"

namespace piano {

void history_key(const data::Batch& batch, std::vector<std::int32_t>& key) {
  const auto add = [&](const std::vector<std::int32_t>& column) { key.insert(key.end(), column.begin(), column.end()); };
  const auto add_bags = [&](const data::BagColumn& bags) {  // the offsets say how many ids follow
    add(bags.offsets);
    add(bags.ids);
  };
  key.clear();
  add(batch.history_offsets);  // and how many rows the other columns have
  add(batch.history_query.id);
  add_bags(batch.history_query.terms);
  add(batch.history_item.id);
  for (const data::BagColumn& field : batch.history_item.fields) add_bags(field);
  add(batch.history_action);
  add(batch.history_age);
  add(batch.history_vector_of);
}

std::uint64_t HistoryCache::xxh64(std::span<const std::int32_t> key) {
  return data::hash64({reinterpret_cast<const char*>(key.data()), key.size_bytes()});
}

HistoryCache::HistoryCache(std::size_t bytes, std::size_t most_keys, std::size_t most_values, Hash hash)
    : hash_(hash), most_keys_(most_keys), most_values_(most_values) {
  const std::size_t slot_bytes = most_keys * sizeof(std::int32_t) + most_values * sizeof(float) + sizeof(Slot) + sizeof(std::int32_t);
  const std::size_t slots = bytes / slot_bytes;
  keys_.reset(new std::int32_t[slots * most_keys]);
  values_.reset(new float[slots * most_values]);
  slots_.resize(slots);
  buckets_.assign(slots, -1);
}

std::span<const std::int32_t> HistoryCache::key_of(std::int32_t slot) const {
  const auto at = static_cast<std::size_t>(slot);
  return {keys_.get() + at * most_keys_, static_cast<std::size_t>(slots_[at].keys)};
}

void HistoryCache::unlink(std::int32_t slot) {
  const Slot& s = slots_[static_cast<std::size_t>(slot)];
  (s.newer < 0 ? newest_ : slots_[static_cast<std::size_t>(s.newer)].older) = s.older;
  (s.older < 0 ? oldest_ : slots_[static_cast<std::size_t>(s.older)].newer) = s.newer;
}

void HistoryCache::to_front(std::int32_t slot) {
  Slot& s = slots_[static_cast<std::size_t>(slot)];
  s.newer = -1;
  s.older = newest_;
  (newest_ < 0 ? oldest_ : slots_[static_cast<std::size_t>(newest_)].newer) = slot;
  newest_ = slot;
}

std::span<const float> HistoryCache::find(std::span<const std::int32_t> key) {
  ++lookups_;
  if (slots_.empty()) return {};
  const std::uint64_t hash = hash_(key);
  for (std::int32_t slot = bucket_of(hash); slot >= 0; slot = slots_[static_cast<std::size_t>(slot)].next) {
    const auto at = static_cast<std::size_t>(slot);
    if (slots_[at].hash != hash || !std::ranges::equal(key_of(slot), key)) continue;
    ++hits_;
    unlink(slot);
    to_front(slot);
    return {values_.get() + at * most_values_, static_cast<std::size_t>(slots_[at].values)};
  }
  return {};
}

std::span<float> HistoryCache::keep(std::span<const std::int32_t> key, std::size_t values) {
  if (slots_.empty() || key.size() > most_keys_ || values > most_values_) return {};
  std::int32_t slot = used_;
  if (static_cast<std::size_t>(used_) < slots_.size()) {
    ++used_;
  } else {
    slot = oldest_;
    unlink(slot);
    std::int32_t* link = &bucket_of(slots_[static_cast<std::size_t>(slot)].hash);
    while (*link != slot) link = &slots_[static_cast<std::size_t>(*link)].next;
    *link = slots_[static_cast<std::size_t>(slot)].next;
  }
  const auto at = static_cast<std::size_t>(slot);
  Slot& s = slots_[at];
  s.hash = hash_(key);
  s.keys = static_cast<std::int32_t>(key.size());
  s.values = static_cast<std::int32_t>(values);
  s.next = bucket_of(s.hash);
  bucket_of(s.hash) = slot;
  to_front(slot);
  std::copy(key.begin(), key.end(), keys_.get() + at * most_keys_);
  return {values_.get() + at * most_values_, values};
}

}  // namespace piano
