// rank.by = list_search: the order is one that the list heads like. From the order by the items' own scores, the swap of two of the first
// rank.places that raises rank.list_click * P_ctr + rank.list_conversion * P_ctr * P_cvr of the whole list most is made, rank.swaps times at most,
// or until none raises it. What the list heads say of an order is a prediction, and a search finds their errors: docs/models.md.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "piano/config.h"
#include "piano/network.h"

namespace piano {

// The positions that candidates get in serving, where nobody has shown them yet: their initial ranks, from 1. What a logged order was is past.
void show_by_initial_rank(data::Batch& batch);

// The candidates 0 .. n-1 by descending score, equal ones as they stand. Replaces `order`, whose memory is kept.
void order_by_score(std::span<const double> score, std::vector<std::int32_t>& order);

// One list as a model's judge() takes it, kept beyond the forward that made it.
class JudgedList {
 public:
  static constexpr std::size_t kRows = 1024;  // of a pass, about: enough to fill the kernels, few enough to stay in cache

  // Copies what a forward left of list `list`, whose candidates are rows begin .. end-1.
  void take(const Logits& logits, std::int32_t list, std::int32_t begin, std::int32_t end);
  std::int32_t size() const { return size_; }

  // `context` has device, parameters and what is shared, no tape; its arena is reset, and its device's memory. orders[s * n + place] = candidate.
  // Replaces `click` and `conversion` by the list's logits: (orders), and (orders, kinds of conversion).
  void judge(const Context& context, const Network& network, std::span<const std::int32_t> orders, std::vector<float>& click,
             std::vector<float>& conversion);

 private:
  std::vector<float> content_, token_;
  std::int32_t size_ = 0;
  std::vector<std::int32_t> positions_;
};

// What an order is worth to the search; of several kinds of conversion, each counts by its rank.conversion_weights.
double order_value(const Config& config, float list_click_logit, std::span<const float> list_conversion_logits);

class ListSearch {
 public:
  explicit ListSearch(const Config& config) : config_(config) {}

  // order[place] = candidate: from the order by score to the one found. Returns how many swaps were made. No bit depends on threads or on other
  // lists; a warmed-up search does not allocate.
  std::int64_t improve(const Context& context, const Network& network, JudgedList& list, std::span<std::int32_t> order);
  // Of the order found, and of the one that the search started from.
  float list_click() const { return list_click_; }
  std::span<const float> list_conversion() const { return list_conversion_; }  // (kinds)
  double value() const { return value_; }
  double start_value() const { return start_value_; }

 private:
  const Config& config_;
  float list_click_ = 0;
  std::vector<float> list_conversion_;
  double value_ = 0, start_value_ = 0;
  std::vector<std::int32_t> orders_;  // of one pass
  std::vector<std::pair<std::size_t, std::size_t>> swapped_;  // the two places of each
  std::vector<float> click_, conversion_;
};

}  // namespace piano
