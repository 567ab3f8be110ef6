// Strings to rows of an embedding table.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/safetensors.h"

namespace piano::data {

inline constexpr std::int32_t kOutOfVocabulary = 0;  // row 0 of each table: trained through id dropout
inline constexpr std::int32_t kMissing = 1;          // row 1: no id at all, which is not the same
inline constexpr std::int32_t kFirstId = 2;

// A view into a mapped file (texts, offsets and an open-addressing xxh64 index lie there), so that opening a model copies nothing.
class Vocabulary {
 public:
  Vocabulary() = default;
  std::int32_t rows() const;                              // known strings + 2
  std::int32_t find(std::string_view text) const;         // kFirstId .. rows()-1, or kOutOfVocabulary; "" gives kMissing
  std::string_view text(std::int32_t row) const;          // requires: row >= kFirstId

  // `texts` in row order, beginning at row kFirstId. requires: distinct
  static Vocabulary build(std::vector<std::string> texts);
  static Vocabulary load(std::shared_ptr<const SafetensorsFile> file, const std::string& name);  // tensors vocab.<name>.{text,offsets,index}
  void save(SafetensorsWriter& writer, const std::string& name) const;  // views: *this must live until commit()

 private:
  std::shared_ptr<const void> owner_;
  std::span<const std::uint8_t> text_;
  std::span<const std::int64_t> offsets_;  // (strings + 1)
  std::span<const std::int32_t> index_;    // a power of two of slots; -1 = empty
};

}  // namespace piano::data
