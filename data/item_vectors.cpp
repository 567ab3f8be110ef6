#include "data/item_vectors.h"

#include <algorithm>
#include <cmath>

#include "data/hash.h"

namespace piano::data {

namespace {
constexpr const char* kName = "item_vectors";
}

ItemVectors::ItemVectors(std::vector<std::string> ids, std::vector<float> values, std::int32_t width)
    : ids_(Vocabulary::build(std::move(ids))), width_(width) {
  auto owned = std::make_shared<const std::vector<float>>(std::move(values));
  values_ = *owned;
  owner_ = std::move(owned);
}

std::int32_t ItemVectors::find(std::string_view id) const {
  if (width_ == 0) return kNone;
  const std::int32_t row = ids_.find(id);
  return row < kFirstId ? kNone : row - kFirstId;
}

void ItemVectors::save(SafetensorsWriter& writer) const {
  if (width_ == 0) return;
  writer.add(kName, {size(), width_}, values_);
  ids_.save(writer, kName);
}

ItemVectors ItemVectors::load(std::shared_ptr<const SafetensorsFile> file, std::int32_t width) {
  ItemVectors table;
  const TensorInfo* info = file->find(kName);
  if (info == nullptr) return table;
  table.ids_ = Vocabulary::load(file, kName);
  table.values_ = file->values<float>(kName);
  table.width_ = width;
  if (width == 0 || info->shape != std::vector<std::int64_t>{table.size(), width})
    throw Error(ErrorCode::model, file->path() + ": " + kName + ": has a wrong shape; the file is damaged");
  if (!std::all_of(table.values_.begin(), table.values_.end(), [](float v) { return std::isfinite(v); }))
    throw Error(ErrorCode::model, file->path() + ": " + kName + ": a number that is not finite; the file is damaged");
  table.owner_ = std::move(file);
  return table;
}

std::uint64_t ItemVectors::hash(std::uint64_t seed) const {
  if (width_ == 0) return seed;
  for (std::int32_t row = 0; row < size(); ++row) seed = hash64(ids_.text(row + kFirstId), seed);
  return hash64({reinterpret_cast<const char*>(values_.data()), values_.size_bytes()}, seed);
}

}  // namespace piano::data
