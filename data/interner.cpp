#include "data/interner.h"

#include <algorithm>
#include <limits>

#include "data/hash.h"
#include "engine/base/error.h"

namespace piano::data {

std::string_view Interner::text(std::int32_t index) const {
  const auto i = static_cast<std::size_t>(index);
  return {reinterpret_cast<const char*>(text_.data()) + offsets_[i], static_cast<std::size_t>(offsets_[i + 1] - offsets_[i])};
}

std::size_t Interner::slot_of(std::string_view wanted) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = static_cast<std::size_t>(hash64(wanted)) & mask;
  while (slots_[slot] >= 0 && text(slots_[slot]) != wanted) slot = (slot + 1) & mask;
  return slot;
}

std::int32_t Interner::find(std::string_view wanted) const { return slots_.empty() ? -1 : slots_[slot_of(wanted)]; }

std::int32_t Interner::intern(std::string_view wanted) {
  if (offsets_.size() * 3 > slots_.size() * 2) grow();
  const std::size_t slot = slot_of(wanted);
  if (slots_[slot] < 0) {
    if (size() == std::numeric_limits<std::int32_t>::max()) throw Error(ErrorCode::data, "more than 2^31 - 1 different strings of one kind");
    slots_[slot] = size();
    text_.insert(text_.end(), wanted.begin(), wanted.end());
    offsets_.push_back(static_cast<std::int64_t>(text_.size()));
  }
  return slots_[slot];
}

void Interner::grow() {
  slots_.assign(std::max<std::size_t>(16, slots_.size() * 2), -1);
  for (std::int32_t i = 0; i < size(); ++i) slots_[slot_of(text(i))] = i;
}

void Interner::clear() {
  text_.clear();
  offsets_.resize(1);
  std::fill(slots_.begin(), slots_.end(), -1);
}

}  // namespace piano::data
