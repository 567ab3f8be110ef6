#include "data/entity_table.h"

#include "engine/base/check.h"

namespace piano::data {

bool EntityTable::add(std::string_view id, std::span<const std::string_view> values) {
  PIANO_CHECK(values.size() == names_.size(), "one value per field");
  if (const std::int32_t known = ids_.size(); ids_.intern(id) != known) return false;
  for (const std::string_view value : values) rows_.push(value.empty() ? -1 : values_.intern(value));
  return true;
}

std::span<const std::span<const Field>> EntityTable::look_up(std::span<const std::string_view> ids) {
  found_values_.resize(ids.size() * names_.size());  // no pointer into these is taken before they have their sizes
  found_fields_.resize(ids.size() * names_.size());
  found_.clear();
  const std::span<const std::int32_t> rows = rows_.view();
  std::size_t used = 0;
  for (const std::string_view id : ids) {
    const std::size_t begin = used;
    if (const std::int32_t row = ids_.find(id); row >= 0) {
      for (std::size_t k = 0; k < names_.size(); ++k) {
        const std::int32_t value = rows[static_cast<std::size_t>(row) * names_.size() + k];
        if (value < 0) continue;
        found_values_[used] = values_.text(value);
        found_fields_[used] = {names_[k], {&found_values_[used], 1}};
        ++used;
      }
    }
    found_.push_back(std::span<const Field>(found_fields_).subspan(begin, used - begin));
  }
  return found_;
}

}  // namespace piano::data
