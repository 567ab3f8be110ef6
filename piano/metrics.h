// Ranking metrics of one list, from relevances in the order in which the items are shown. docs/metrics.md defines them all.
//
// `ties` cuts the order into blocks of exactly equal scores: ties[b] is one past the last place of block b. With it a metric is its
// expectation over all orders of the items within each block (McSherry & Najork, "Computing information retrieval performance measures
// efficiently in the presence of tied scores", ECIR 2008). Empty: the order is final, every item is a block of its own.
//
// nullopt: the list has no positive relevance, so the metric is undefined. Relevance > 0 counts as relevant where a metric is binary.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace piano {

using Relevance = std::span<const double>;     // (n), in ranked order, >= 0
using TieBlocks = std::span<const std::int32_t>;

// Linear gain, discount 1 / log2(1 + place), divided by the best order's. Under ties equal to scikit-learn's ndcg_score.
std::optional<double> ndcg(Relevance relevance, std::int32_t k, TieBlocks ties = {});

// What average precision at k is divided by; public systems disagree.
enum class MapDenominator {
  bounded,   // min(relevant, k): 1 can be reached
  full,      // relevant: trec_eval's map_cut
  in_top_k   // relevant items among the first k: a list with none there has 0. Not defined together with ties: ErrorCode::usage
};
std::optional<double> average_precision(Relevance relevance, std::int32_t k, MapDenominator denominator = MapDenominator::bounded,
                                        TieBlocks ties = {});

// 1 / place of the first relevant item.
std::optional<double> reciprocal_rank(Relevance relevance, TieBlocks ties = {});

// 1 when a relevant item is among the first k.
std::optional<double> hit_rate(Relevance relevance, std::int32_t k, TieBlocks ties = {});

// Sum over the first k places: clicks, conversions, or revenue (conversion times value). 0 for a list without a positive.
double sum_at(Relevance relevance, std::int32_t k, TieBlocks ties = {});

// The permutation that would be shown: descending score; exact ties in the order of a hash of (seed, request, item), which no ranker can
// know and which does not depend on the order of the input. requires: no NaN; distinct item ids (id(i) is called for tied items only).
std::vector<std::int32_t> show_order(std::span<const double> scores, const std::function<std::string_view(std::int32_t)>& id,
                                     std::string_view request, std::uint64_t seed);

// The blocks of equal scores of `order`, for the metrics above.
std::vector<std::int32_t> tie_blocks(std::span<const double> scores, std::span<const std::int32_t> order);

}  // namespace piano
