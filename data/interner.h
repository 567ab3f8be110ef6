// Strings to consecutive integers, in order of first appearance. The dictionaries of a log while it is packed, and the scratch dictionaries
// of one request while it is served: clear() keeps the memory, so that a warmed-up interner does not allocate.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace piano::data {

class Interner {
 public:
  std::int32_t intern(std::string_view text);      // a new string gets the index size()
  std::int32_t find(std::string_view text) const;  // -1 when absent
  std::int32_t size() const { return static_cast<std::int32_t>(offsets_.size()) - 1; }
  std::string_view text(std::int32_t index) const {
    const std::int64_t* offset = offsets_.data() + index;
    return {reinterpret_cast<const char*>(text_.data()) + offset[0], static_cast<std::size_t>(offset[1] - offset[0])};
  }
  void clear();

  std::span<const std::uint8_t> bytes() const { return text_; }
  std::span<const std::int64_t> offsets() const { return offsets_; }

 private:
  // Half of the string's hash beside its index: a slot of another string is passed over, and the table grows, without a look at the text.
  struct Slot {
    std::uint32_t hash;
    std::int32_t index;                   // -1 = empty
  };
  std::size_t slot_of(std::string_view text, std::uint32_t hash) const;  // where `text` is, or the empty slot where it belongs
  void grow();

  std::vector<std::uint8_t> text_;
  std::vector<std::int64_t> offsets_{0};  // (size + 1)
  std::vector<Slot> slots_;               // a power of two, at most two thirds full
};

}  // namespace piano::data
