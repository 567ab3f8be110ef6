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
  std::string_view text(std::int32_t index) const;
  void clear();

  std::span<const std::uint8_t> bytes() const { return text_; }
  std::span<const std::int64_t> offsets() const { return offsets_; }

 private:
  std::size_t slot_of(std::string_view text) const;  // where `text` is, or the empty slot where it belongs
  void grow();

  std::vector<std::uint8_t> text_;
  std::vector<std::int64_t> offsets_{0};  // (size + 1)
  std::vector<std::int32_t> slots_;       // a power of two, at most two thirds full; -1 = empty
};

}  // namespace piano::data
