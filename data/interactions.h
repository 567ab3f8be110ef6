// Who had what in the training part, and how alike two items are by it: item-item cosine (Sarwar et al., WWW 2001; binary), without the user
// who asks. An interaction is a candidate clicked or converted in a training list, or an item in a training request's history; requests
// without a user have none.
//
// Without the asker's own row a training request's figures do not depend on its labels, so that what is learned from them holds for others.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "data/raw_columns.h"
#include "engine/base/safetensors.h"

namespace piano::data {

class Interactions {
 public:
  Interactions() = default;  // nobody had anything

  // At most `most` interactions, the same one again counted again: of a larger log whole users are left out, those with the largest hashes, so
  // that memory and the cost of a request stay bounded.
  static Interactions build(const RawColumns& log, const RawStrings& strings, std::int64_t most);
  static Interactions load(std::shared_ptr<const SafetensorsFile> file);  // tensors interactions.*; nobody had anything where there are none
  void save(SafetensorsWriter& writer) const;                             // views: *this must live until commit()
  std::uint64_t fingerprint(std::uint64_t seed) const;

  // How many users had the item, those of the asker's quarter of all users left out; asker -1: three quarters of all. A count that left out the
  // asker alone would be lower by one exactly where the asker had the item, and so tell a training label; one of other quarters knows nothing
  // of the asker. item -1: 0.
  double users_apart(std::int32_t item, std::int32_t asker) const;

  std::int32_t user(std::string_view id) const { return find(user_hashes_, id); }  // -1: had nothing in the training part
  std::int32_t item(std::string_view id) const { return find(item_hashes_, id); }
  std::span<const std::int32_t> users_of(std::int32_t item) const;  // rows, ascending. requires: item >= 0

 private:
  friend class CosineToPast;
  static std::int32_t find(std::span<const std::int64_t> hashes, std::string_view id);
  double others(std::int32_t item, std::int32_t asker) const;  // |U_item|
  static constexpr std::size_t kQuarters = 4;
  std::size_t quarter_of(std::int32_t user) const;
  void count_quarters();

  std::shared_ptr<const void> owner_;
  std::span<const std::int64_t> user_hashes_, item_hashes_;  // xxh64, ascending: a user's or item's row is its place
  std::span<const std::int64_t> offsets_;                    // (items + 1)
  std::span<const std::int32_t> users_;                      // (pairs): users of item k are users_[offsets_[k]] .., ascending
  std::vector<std::int32_t> quarters_;                       // (items, kQuarters): users of the item by quarter
};

// sum over the distinct items j of a user's past of cos(i, j) = |U_i and U_j| / sqrt(|U_i| |U_j|), U_i: the users of i but the one who asks.
// An item is like itself: cos(i, i) = 1. Memory: 12 bytes a user and 4 an item, for good, from the first start() on.
class CosineToPast {
 public:
  explicit CosineToPast(const Interactions& interactions);  // which must outlive it

  void start(std::int32_t asker);                 // a row, or -1
  void add(std::int32_t item);                    // of the past, in any order and as often as it likes; -1: like no other
  double operator()(std::int32_t candidate) const;  // of what was added since start()

 private:
  const Interactions& interactions_;
  std::int32_t asker_ = -1, call_ = 0;
  std::vector<double> weight_;                    // (users): w of operator()
  std::vector<std::int32_t> touched_;             // users with a weight
  std::vector<std::int32_t> added_;               // (items): the call that added it
};

}  // namespace piano::data
