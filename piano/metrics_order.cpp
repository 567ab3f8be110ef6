// The order that a list of scores is shown in.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/check.h"
#include "piano/metrics.h"

namespace piano {

std::vector<std::int32_t> show_order(std::span<const double> scores, const std::function<std::string_view(std::int32_t)>& id,
                                     std::string_view request, std::uint64_t seed) {
  for (const double score : scores) PIANO_CHECK(!std::isnan(score), "a score is not a number: the list has no order");
  const auto score = [&](std::int32_t i) { return scores[static_cast<std::size_t>(i)]; };
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return score(a) > score(b); });

  struct Tied {
    std::uint64_t hash;
    std::string_view id;
    std::int32_t index;
  };
  const std::uint64_t request_seed = XXH64(request.data(), request.size(), seed);
  std::vector<Tied> tied;
  std::size_t begin = 0;
  for (const std::int32_t block_end : tie_blocks(scores, order)) {
    const auto end = static_cast<std::size_t>(block_end);
    if (end - begin > 1) {
      tied.clear();
      for (std::size_t i = begin; i < end; ++i) {
        const std::string_view item = id(order[i]);
        tied.push_back({XXH64(item.data(), item.size(), request_seed), item, order[i]});
      }
      std::sort(tied.begin(), tied.end(), [](const Tied& a, const Tied& b) { return a.hash != b.hash ? a.hash < b.hash : a.id < b.id; });
      for (std::size_t i = begin; i < end; ++i) order[i] = tied[i - begin].index;
    }
    begin = end;
  }
  return order;
}

std::vector<std::int32_t> tie_blocks(std::span<const double> scores, std::span<const std::int32_t> order) {
  std::vector<std::int32_t> ends;
  for (std::size_t i = 1; i <= order.size(); ++i)
    if (i == order.size() || scores[static_cast<std::size_t>(order[i])] != scores[static_cast<std::size_t>(order[i - 1])])
      ends.push_back(static_cast<std::int32_t>(i));
  return ends;
}

}  // namespace piano
