// What a log says of its items or users in a file of its own: the values of a few fields for each id. Values lie in a temporary file; in
// memory are the ids (about 40 bytes each) and every distinct value once.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset_writer_columns.h"
#include "data/interner.h"
#include "data/request.h"

namespace piano::data {

class EntityTable {
 public:
  explicit EntityTable(std::vector<std::string> names) : names_(std::move(names)) {}

  std::size_t width() const { return names_.size(); }
  bool contains(std::string_view id) const { return ids_.find(id) >= 0; }
  // One value a name; "" is a missing one. False, and nothing is added, when the id is there already.
  bool add(std::string_view id, std::span<const std::string_view> values);
  // The fields of each id, none for one that is not there. Valid until the next call or add().
  std::span<const std::span<const Field>> look_up(std::span<const std::string_view> ids);

 private:
  std::vector<std::string> names_;
  Interner ids_, values_;
  SpillColumn<std::int32_t> rows_;  // (ids, names): value, or -1
  std::vector<std::string_view> found_values_;
  std::vector<Field> found_fields_;
  std::vector<std::span<const Field>> found_;
};

}  // namespace piano::data
