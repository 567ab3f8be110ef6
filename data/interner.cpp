#include "data/interner.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "data/hash.h"
#include "engine/base/error.h"

namespace piano::data {

namespace {
std::uint32_t half_hash(std::string_view text) { return static_cast<std::uint32_t>(hash_in_memory(text)); }
}  // namespace

std::size_t Interner::slot_of(std::string_view wanted, std::uint32_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash & mask;; slot = (slot + 1) & mask) {
    const Slot& s = slots_[slot];
    if (s.index < 0 || (s.hash == hash && text(s.index) == wanted)) return slot;
  }
}

std::int32_t Interner::find(std::string_view wanted) const {
  return slots_.empty() ? -1 : slots_[slot_of(wanted, half_hash(wanted))].index;
}

std::int32_t Interner::intern(std::string_view wanted) {
  if (offsets_.size() * 3 > slots_.size() * 2) grow();
  const std::uint32_t hash = half_hash(wanted);
  Slot& slot = slots_[slot_of(wanted, hash)];
  if (slot.index < 0) {
    if (size() == std::numeric_limits<std::int32_t>::max()) throw Error(ErrorCode::data, "more than 2^31 - 1 different strings of one kind");
    slot = {hash, size()};
    text_.insert(text_.end(), wanted.begin(), wanted.end());
    offsets_.push_back(static_cast<std::int64_t>(text_.size()));
  }
  return slot.index;
}

void Interner::grow() {
  const std::vector<Slot> old = std::move(slots_);
  slots_.assign(std::max<std::size_t>(16, old.size() * 2), {0, -1});
  const std::size_t mask = slots_.size() - 1;
  for (const Slot& s : old) {
    if (s.index < 0) continue;
    std::size_t slot = s.hash & mask;
    while (slots_[slot].index >= 0) slot = (slot + 1) & mask;
    slots_[slot] = s;
  }
}

void Interner::clear() {
  text_.clear();
  offsets_.resize(1);
  std::fill(slots_.begin(), slots_.end(), Slot{0, -1});
}

}  // namespace piano::data
