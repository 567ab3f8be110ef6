#include "data/id_set.h"

#include <algorithm>
#include <utility>

#include "data/hash.h"

namespace piano::data {

namespace {

constexpr std::uint64_t kLowSeed = 2, kHighSeed = 3;  // two independent hashes of 64 bits

}  // namespace

IdSet::Key IdSet::key_of(std::string_view id) {
  const Key key{hash64(id, kLowSeed), hash64(id, kHighSeed)};
  return key == Key{} ? Key{1, 0} : key;
}

std::size_t IdSet::slot_of(const Key& key) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = static_cast<std::size_t>(key.low) & mask;
  while (slots_[slot] != Key{} && slots_[slot] != key) slot = (slot + 1) & mask;
  return slot;
}

bool IdSet::insert(std::string_view id) {
  if ((size_ + 1) * 3 > slots_.size() * 2) grow();
  const Key key = key_of(id);
  Key& slot = slots_[slot_of(key)];
  if (slot == key) return false;
  slot = key;
  ++size_;
  return true;
}

void IdSet::grow() {
  const std::vector<Key> old = std::exchange(slots_, std::vector<Key>(std::max<std::size_t>(16, slots_.size() * 2)));
  for (const Key& key : old)
    if (key != Key{}) slots_[slot_of(key)] = key;
}

}  // namespace piano::data
