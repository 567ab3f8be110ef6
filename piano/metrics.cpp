#include "piano/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/base/check.h"

namespace piano {
namespace {

double discount(std::int32_t place) { return 1.0 / std::log2(2.0 + place); }  // place from 0

// A block of tied items: places begin .. end-1.
struct Block {
  std::int32_t begin, end;
  std::int32_t relevant;  // how many of its items have relevance > 0
  double gain;            // sum of relevances
  double size() const { return end - begin; }
};

// Calls visit(block) from the top until it returns false.
template <class Visit>
void for_each_block(Relevance relevance, TieBlocks ties, Visit visit) {
  const auto n = static_cast<std::int32_t>(relevance.size());
  PIANO_CHECK(ties.empty() || ties.back() == n, "tie blocks must cover the whole list");
  std::int32_t begin = 0;
  for (std::size_t b = 0; begin < n; ++b) {
    Block block{begin, ties.empty() ? begin + 1 : ties[b], 0, 0.0};
    for (std::int32_t i = block.begin; i < block.end; ++i) {
      const double gain = relevance[static_cast<std::size_t>(i)];
      block.relevant += gain > 0 ? 1 : 0;
      block.gain += gain;
    }
    if (!visit(block)) return;
    begin = block.end;
  }
}

std::int32_t count_relevant(Relevance relevance) {
  return static_cast<std::int32_t>(std::count_if(relevance.begin(), relevance.end(), [](double r) { return r > 0; }));
}

double dcg(Relevance relevance, std::int32_t k, TieBlocks ties) {
  double total = 0;
  for_each_block(relevance, ties, [&](const Block& block) {
    double discounts = 0;
    for (std::int32_t i = block.begin; i < std::min(block.end, k); ++i) discounts += discount(i);
    total += discounts * block.gain / block.size();
    return block.end < k;
  });
  return total;
}

}  // namespace

std::optional<double> ndcg(Relevance relevance, std::int32_t k, TieBlocks ties) {
  if (count_relevant(relevance) == 0) return std::nullopt;
  std::vector<double> best(relevance.begin(), relevance.end());
  std::sort(best.begin(), best.end(), std::greater<>());
  return dcg(relevance, k, ties) / dcg(best, k, {});
}

std::optional<double> average_precision(Relevance relevance, std::int32_t k, MapDenominator denominator, TieBlocks ties) {
  if (denominator == MapDenominator::in_top_k && !ties.empty())
    throw Error(ErrorCode::usage, "average precision divided by the relevant items in the top k has no expectation over ties here: "
                                  "choose the bounded or the full denominator");
  const std::int32_t relevant = count_relevant(relevance);
  if (relevant == 0) return std::nullopt;
  double total = 0;
  std::int32_t above = 0;  // relevant items above the block
  for_each_block(relevance, ties, [&](const Block& block) {
    if (block.relevant > 0) {
      // A place within the block is relevant with probability relevant/size; given that, each earlier place of the block is
      // relevant with probability (relevant-1)/(size-1).
      const double here = block.relevant / block.size();
      const double earlier = block.relevant > 1 ? (block.relevant - 1) / (block.size() - 1) : 0.0;
      for (std::int32_t i = block.begin; i < std::min(block.end, k); ++i)
        total += here * (above + 1 + earlier * (i - block.begin)) / (i + 1);
    }
    if (block.end <= k) above += block.relevant;
    return block.end < k;
  });
  switch (denominator) {
    case MapDenominator::bounded: return total / std::min(relevant, k);
    case MapDenominator::full: return total / relevant;
    case MapDenominator::in_top_k: return above > 0 ? total / above : 0.0;
  }
  return std::nullopt;
}

std::optional<double> reciprocal_rank(Relevance relevance, TieBlocks ties) {
  std::optional<double> result;
  for_each_block(relevance, ties, [&](const Block& block) {
    if (block.relevant == 0) return true;
    double expected = 0, none_yet = 1;  // none_yet: no relevant item in the block's earlier places
    for (std::int32_t i = block.begin; i < block.end && none_yet > 0; ++i) {
      const double first = std::min(1.0, block.relevant / static_cast<double>(block.end - i));
      expected += none_yet * first / (i + 1);
      none_yet *= 1 - first;
    }
    result = expected;
    return false;
  });
  return result;
}

std::optional<double> hit_rate(Relevance relevance, std::int32_t k, TieBlocks ties) {
  if (count_relevant(relevance) == 0) return std::nullopt;
  double miss = 1;
  for_each_block(relevance, ties, [&](const Block& block) {
    for (std::int32_t i = block.begin; i < std::min(block.end, k) && miss > 0; ++i)
      miss *= 1 - std::min(1.0, block.relevant / static_cast<double>(block.end - i));
    return block.end < k && miss > 0;
  });
  return 1 - miss;
}

double sum_at(Relevance relevance, std::int32_t k, TieBlocks ties) {
  double total = 0;
  for_each_block(relevance, ties, [&](const Block& block) {
    const std::int32_t inside = std::min(block.end, k) - block.begin;
    if (inside > 0) total += block.gain * inside / block.size();
    return block.end < k;
  });
  return total;
}

}  // namespace piano
