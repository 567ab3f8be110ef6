// A vector for each item of a catalogue, known by its id: embeddings of audio or text that were computed elsewhere. The table travels with the
// feature space, from the data file into the model file, so that serving finds what training read; a vector in a request goes before it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/vocabulary.h"

namespace piano::data {

inline constexpr std::int32_t kWidestRow = 1 << 20;  // numbers of one entity

class ItemVectors {
 public:
  static constexpr std::int32_t kNone = -1;

  ItemVectors() = default;
  // `values` (ids.size(), width), row by row. requires: distinct ids, width > 0
  ItemVectors(std::vector<std::string> ids, std::vector<float> values, std::int32_t width);

  std::int32_t width() const { return width_; }  // 0: there is no table
  std::int32_t size() const { return ids_.rows() - kFirstId; }
  std::int32_t find(std::string_view id) const;  // a row, or kNone
  std::span<const float> operator[](std::int32_t row) const {  // (width), or nothing for kNone
    if (row < 0) return {};
    const auto w = static_cast<std::size_t>(width_);
    return values_.subspan(static_cast<std::size_t>(row) * w, w);
  }

  // Tensors item_vectors (size, width) and vocab.item_vectors.*; none when there is no table. Views: *this must live until commit().
  void save(SafetensorsWriter& writer) const;
  static ItemVectors load(std::shared_ptr<const SafetensorsFile> file, std::int32_t width);
  // hash64 over ids and values, begun with `seed`; without a table, `seed`.
  std::uint64_t hash(std::uint64_t seed) const;

 private:
  Vocabulary ids_;
  std::shared_ptr<const void> owner_;
  std::span<const float> values_;
  std::int32_t width_ = 0;
};

// Reads the table that `vectors` and `ids` hold.
//   vectors  .npy, a matrix of floats (data/npy.h), or .safetensors with a tensor "vectors" (n, width), F32
//   ids      text, the id of one row a line; "": a safetensors file may bring it along as tensor "ids", U8
// Throws ErrorCode::io, or ErrorCode::data naming file and line: another number of ids than rows, an id twice, a number that is not finite.
ItemVectors read_item_vectors(const std::string& vectors, const std::string& ids);

}  // namespace piano::data
