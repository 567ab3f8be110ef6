#include "data/vocabulary.h"

#include <algorithm>
#include <bit>

#include "data/hash.h"
#include "engine/base/check.h"

namespace piano::data {

namespace {

struct OwnedVocabulary {
  std::vector<std::uint8_t> text;
  std::vector<std::int64_t> offsets;
  std::vector<std::int32_t> index;
};

[[noreturn]] void broken(const SafetensorsFile& file, const std::string& name, const char* what) {
  throw Error(ErrorCode::model, file.path() + ": vocabulary '" + name + "': " + what + "; the file is damaged");
}

}  // namespace

std::int32_t Vocabulary::rows() const {
  return kFirstId + (offsets_.empty() ? 0 : static_cast<std::int32_t>(offsets_.size()) - 1);
}

std::string_view Vocabulary::text(std::int32_t row) const {
  PIANO_ASSERT(row >= kFirstId && row < rows(), "vocabulary row out of range");
  const auto i = static_cast<std::size_t>(row - kFirstId);
  return {reinterpret_cast<const char*>(text_.data()) + offsets_[i], static_cast<std::size_t>(offsets_[i + 1] - offsets_[i])};
}

std::int32_t Vocabulary::find(std::string_view wanted) const {
  if (wanted.empty()) return kMissing;
  if (index_.empty()) return kOutOfVocabulary;
  const std::size_t mask = index_.size() - 1;
  for (std::size_t slot = static_cast<std::size_t>(hash64(wanted)) & mask; index_[slot] >= 0; slot = (slot + 1) & mask)
    if (text(index_[slot] + kFirstId) == wanted) return index_[slot] + kFirstId;
  return kOutOfVocabulary;
}

Vocabulary Vocabulary::build(std::vector<std::string> texts) {
  auto owned = std::make_shared<OwnedVocabulary>();
  owned->offsets.push_back(0);
  for (const std::string& t : texts) {
    owned->text.insert(owned->text.end(), t.begin(), t.end());
    owned->offsets.push_back(static_cast<std::int64_t>(owned->text.size()));
  }
  // At most half full: short probes, and always an empty slot to stop at.
  owned->index.assign(std::bit_ceil(2 * texts.size() + 2), -1);
  const std::size_t mask = owned->index.size() - 1;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    std::size_t slot = static_cast<std::size_t>(hash64(texts[i])) & mask;
    while (owned->index[slot] >= 0) slot = (slot + 1) & mask;
    owned->index[slot] = static_cast<std::int32_t>(i);
  }
  Vocabulary result;
  result.text_ = owned->text;
  result.offsets_ = owned->offsets;
  result.index_ = owned->index;
  result.owner_ = std::move(owned);
  return result;
}

Vocabulary Vocabulary::load(std::shared_ptr<const SafetensorsFile> file, const std::string& name) {
  Vocabulary v;
  v.text_ = file->values<std::uint8_t>("vocab." + name + ".text");
  v.offsets_ = file->values<std::int64_t>("vocab." + name + ".offsets");
  v.index_ = file->values<std::int32_t>("vocab." + name + ".index");
  const auto strings = static_cast<std::int64_t>(v.offsets_.size()) - 1;
  if (strings < 0 || strings > (std::int64_t{1} << 30) || v.offsets_.front() != 0 ||
      v.offsets_.back() != static_cast<std::int64_t>(v.text_.size()) || !std::is_sorted(v.offsets_.begin(), v.offsets_.end()))
    broken(*file, name, "offsets do not cut the text");
  if (!std::has_single_bit(v.index_.size())) broken(*file, name, "the index is no power of two");
  bool has_end = false;
  for (const std::int32_t i : v.index_) {
    if (i < -1 || i >= strings) broken(*file, name, "the index points outside");
    has_end = has_end || i < 0;
  }
  if (!has_end) broken(*file, name, "the index is full");
  v.owner_ = std::move(file);
  return v;
}

void Vocabulary::save(SafetensorsWriter& writer, const std::string& name) const {
  PIANO_CHECK(!offsets_.empty(), "vocabulary '" + name + "' was never built");
  writer.add("vocab." + name + ".text", text_);
  writer.add("vocab." + name + ".offsets", offsets_);
  writer.add("vocab." + name + ".index", index_);
}

}  // namespace piano::data
