#include "piano/list_search.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "engine/ops/shared_forward.h"
#include "piano/predictor.h"

namespace piano {
void show_by_initial_rank(data::Batch& batch) {
  for (std::size_t i = 0; i < batch.position.size(); ++i) batch.position[i] = batch.rank[i] + 1;
}

void order_by_score(std::span<const double> score, std::vector<std::int32_t>& order) {
  order.resize(score.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    const double x = score[static_cast<std::size_t>(a)], y = score[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
}

void JudgedList::take(const Logits& logits, std::int32_t list, std::int32_t begin, std::int32_t end) {
  const auto copy = [](const Tensor& from, std::int32_t first, std::int32_t last, std::vector<float>& to) {
    to.clear();
    if (!from) return;
    const auto d = from.shape().cols();
    const auto rows = from.values<float>().subspan(static_cast<std::size_t>(first * d), static_cast<std::size_t>((last - first) * d));
    to.assign(rows.begin(), rows.end());
  };
  size_ = end - begin;
  copy(logits.content, begin, end, content_);
  copy(logits.token, list, list + 1, token_);
}

void JudgedList::judge(const Context& context, const Network& network, std::span<const std::int32_t> orders, std::vector<float>& click,
                       std::vector<float>& conversion) {
  const auto n = static_cast<std::size_t>(size_), all = orders.size() / n;
  const std::size_t at_once = std::max<std::size_t>(1, kRows / n);
  const auto d = static_cast<std::int64_t>(content_.size() / n);
  click.clear(), conversion.clear();
  for (std::size_t first = 0; first < all; first += at_once) {
    const std::size_t count = std::min(at_once, all - first);
    positions_.resize(count * n);
    for (std::size_t i = 0; i < count * n; ++i) {
      const std::size_t place = i % n;
      positions_[i - place + static_cast<std::size_t>(orders[first * n + i])] = static_cast<std::int32_t>(place + 1);
    }
    context.arena->reset();
    if (context.memory != nullptr) context.memory->reset();
    if (context.shared != nullptr) context.shared->begin();
    const Tensor content = context.constant(content_, {size_, d}), token = token_.empty() ? Tensor{} : context.constant(token_, {1, d});
    const Logits logits = network.judge(context, content, token, positions_);
    if (context.shared != nullptr) context.shared->run(context);
    to_host(context, logits);
    const auto c = logits.list_click.values<float>();
    click.insert(click.end(), c.begin(), c.end());
    for (std::size_t s = 0; s < c.size(); ++s) {
      for (const Tensor& kind : logits.list_conversion) {
        if (kind) conversion.push_back(kind.values<float>()[s]);
      }
    }
  }
}

double order_value(const Config& config, float list_click_logit, std::span<const float> list_conversion_logits) {
  const std::vector<double>& weights = config.rank.conversion_weights;
  const double p_ctr = sigmoid(list_click_logit);
  double value = config.rank.list_click * p_ctr;
  for (std::size_t k = 0; k < list_conversion_logits.size(); ++k) {
    value += config.rank.list_conversion * (weights.empty() ? 1 : weights[k]) * p_ctr * sigmoid(list_conversion_logits[k]);
  }
  return value;
}

std::int64_t ListSearch::improve(const Context& context, const Network& network, JudgedList& list, std::span<std::int32_t> order) {
  const auto conversions_of = [&](std::size_t i) {
    const std::size_t kinds = conversion_.size() / click_.size();
    return std::span<const float>(conversion_).subspan(i * kinds, kinds);
  };
  const auto value_of = [&](std::size_t i) { return order_value(config_, click_[i], conversions_of(i)); };
  const auto accept = [&](std::size_t i) {
    list_click_ = click_[i], value_ = value_of(i);
    list_conversion_.assign(conversions_of(i).begin(), conversions_of(i).end());
  };
  list.judge(context, network, order, click_, conversion_);
  accept(0);
  start_value_ = value_;

  const std::size_t n = order.size(), places = std::min(n, static_cast<std::size_t>(config_.rank.places));
  std::int64_t swaps = 0;
  for (bool better = true; better && swaps < config_.rank.swaps; swaps += better) {
    better = false;
    std::size_t first = 0, other = 0;  // the places of the best swap so far, the first of equals
    orders_.clear(), swapped_.clear();
    const auto judge = [&] {
      list.judge(context, network, orders_, click_, conversion_);
      for (std::size_t s = 0; s < click_.size(); ++s) {
        if (!(value_of(s) > value_)) continue;
        accept(s), better = true;
        std::tie(first, other) = swapped_[s];
      }
      orders_.clear(), swapped_.clear();
    };
    for (std::size_t a = 0; a < places; ++a) {
      for (std::size_t b = a + 1; b < places; ++b) {
        orders_.insert(orders_.end(), order.begin(), order.end());
        std::swap(*(orders_.end() - static_cast<std::ptrdiff_t>(n - a)), *(orders_.end() - static_cast<std::ptrdiff_t>(n - b)));
        swapped_.emplace_back(a, b);
        if (orders_.size() + n > JudgedList::kRows) judge();  // as many as one pass takes
      }
    }
    if (!orders_.empty()) judge();
    if (better) std::swap(order[first], order[other]);
  }
  return swaps;
}

}  // namespace piano
