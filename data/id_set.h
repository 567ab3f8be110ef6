// Which ids have been seen, as 128-bit hashes: 24 to 48 bytes each, however long the ids (and half as much again while the table grows).
// Two ids that share a hash would be taken for one: at 10^9 ids the chance is about 10^-21.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace piano::data {

class IdSet {
 public:
  bool insert(std::string_view id);  // false when it was there

 private:
  struct Key {
    std::uint64_t low = 0, high = 0;  // both 0: an empty slot
    bool operator==(const Key&) const = default;
  };
  static Key key_of(std::string_view id);
  std::size_t slot_of(const Key& key) const;  // where the key is, or the empty slot where it belongs
  void grow();

  std::vector<Key> slots_;  // a power of two, at most two thirds full
  std::size_t size_ = 0;
};

}  // namespace piano::data
