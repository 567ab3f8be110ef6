// Labelled lists made by hand or at random, for the tests of evaluation.
#pragma once

#include <string>
#include <vector>

#include "engine/base/random.h"
#include "piano/evaluation.h"

namespace piano::test {

// Keeps the id strings that its lists view.
struct Lists {
  LabelledLists lists;
  std::vector<std::string> requests, items;

  Lists() {
    lists.request_id = [this](std::int64_t l) { return std::string_view(requests[static_cast<std::size_t>(l)]); };
    lists.item_id = [this](std::int64_t r) { return std::string_view(items[static_cast<std::size_t>(r)]); };
  }
  Lists(const Lists&) = delete;
  Lists& operator=(const Lists&) = delete;

  // One list; item ids are "i0", "i1", ...
  void add(std::int32_t user, const std::vector<std::uint8_t>& click, const std::vector<std::uint8_t>& conversion,
           std::int32_t target = -1) {
    requests.push_back("r" + std::to_string(requests.size()));
    for (std::size_t i = 0; i < click.size(); ++i) {
      items.push_back("i" + std::to_string(i));
      lists.click.push_back(click[i]);
      lists.conversion.push_back(conversion[i]);
      lists.conversions.push_back(conversion[i]);
      lists.labelled.push_back(1);
    }
    lists.offsets.push_back(static_cast<std::int64_t>(lists.click.size()));
    lists.user.push_back(user);
    lists.users = std::max(lists.users, user + 1);
    lists.target.push_back(target);
  }
};

// `count` lists of 1 to 20 items, about a third of them without a click; a user has about four.
inline void add_random_lists(Lists& made, int count, std::uint64_t seed) {
  RandomStream random(seed, "lists");
  for (int l = 0; l < count; ++l) {
    const std::size_t n = 1 + static_cast<std::size_t>(random.below(20));
    const double rate = random.uniform() < 0.25 ? 0.0 : 0.2;
    std::vector<std::uint8_t> click(n), conversion(n);
    for (std::size_t i = 0; i < n; ++i) {
      click[i] = random.uniform() < rate;
      conversion[i] = click[i] != 0 && random.uniform() < 0.5;
    }
    made.add(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(1 + count / 4))), click, conversion,
             static_cast<std::int32_t>(random.below(n)));
  }
}

}  // namespace piano::test
