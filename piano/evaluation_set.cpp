#include "piano/evaluation_set.h"

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

#include "piano/training_part.h"

namespace piano {
namespace {

using data::Batch;
using data::Dataset;

// The slices, in the order of membership()'s answers.
constexpr std::array<const char*, 10> kSliceNames{"history", "no history", "unseen user", "unseen query", "mostly unseen items",
                                                  "1-10 candidates", "11-30 candidates", ">30 candidates", "head query", "tail query"};

std::array<bool, kSliceNames.size()> membership(const Dataset& dataset, std::int64_t request, const TrainingPart& training,
                                                const std::vector<std::string_view>& head) {
  const std::int64_t begin = dataset.candidate_begin(request), end = dataset.candidate_end(request), n = end - begin;
  std::int64_t unseen_items = 0;
  for (std::int64_t c = begin; c < end; ++c) unseen_items += training.unseen_item(c) ? 1 : 0;
  const bool history = dataset.history_size(request) > 0;
  const std::string_view query = dataset.query(request);
  const bool ranked_query = !head.empty() && !query.empty();
  const bool is_head = std::binary_search(head.begin(), head.end(), query);
  return {history,
          !history,
          training.unseen_user(request),
          training.unseen_query(request),
          2 * unseen_items > n,
          n <= 10,
          n > 10 && n <= 30,
          n > 30,
          ranked_query && is_head,
          ranked_query && !is_head};
}

}  // namespace

std::vector<std::string_view> head_queries(const Dataset& dataset) {
  std::map<std::string_view, std::int64_t> counts;
  std::int64_t total = 0;
  for (const std::int64_t request : dataset.requests(data::Split::train)) {
    const std::string_view query = dataset.query(request);
    if (query.empty()) continue;
    ++counts[query];
    ++total;
  }
  std::vector<std::pair<std::string_view, std::int64_t>> by_count(counts.begin(), counts.end());
  std::stable_sort(by_count.begin(), by_count.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string_view> head;
  for (std::int64_t covered = 0; 2 * covered < total;) {
    covered += by_count[head.size()].second;
    head.push_back(by_count[head.size()].first);
  }
  std::sort(head.begin(), head.end());
  return head;
}

EvaluationSet evaluation_set(const Dataset& dataset, std::span<const std::int64_t> requests, const data::FeatureSpace& features,
                             data::BatchBuilder& builder) {
  LabelledLists lists;
  for (const char* name : kSliceNames) lists.slices.push_back({name, {}});
  lists.kinds = features.schema.conversions;
  const std::size_t kinds = lists.kind_count();
  const std::vector<std::string_view> head = head_queries(dataset);
  const TrainingPart training(dataset);
  std::map<std::string_view, std::int32_t> user_numbers;
  std::vector<std::int64_t> rows;  // the data set's candidate of each row
  std::vector<double> popularity, recency;
  Batch batch;
  for (const std::int64_t request : requests) {
    builder.build({&request, 1}, batch);
    const std::string_view user = dataset.user(request);
    const auto known = user.empty() ? user_numbers.end() : user_numbers.find(user);
    if (known != user_numbers.end()) {
      lists.user.push_back(known->second);
    } else {
      if (!user.empty()) user_numbers.emplace(user, lists.users);
      lists.user.push_back(lists.users++);
    }
    lists.target.push_back(static_cast<std::int32_t>(dataset.target(request)));
    const auto member = membership(dataset, request, training, head);
    for (std::size_t s = 0; s < member.size(); ++s) lists.slices[s].member.push_back(member[s] ? 1 : 0);

    const std::int64_t begin = dataset.candidate_begin(request);
    for (std::size_t i = 0; i < static_cast<std::size_t>(batch.rows()); ++i) {
      const std::int64_t candidate = begin + static_cast<std::int64_t>(i);
      const auto c = static_cast<std::size_t>(candidate);
      rows.push_back(candidate);
      lists.click.push_back(dataset.clicks()[c]);
      lists.conversion.push_back(dataset.conversions()[c]);
      lists.labelled.push_back(dataset.labelled()[c]);
      for (std::size_t k = i * kinds; k < (i + 1) * kinds; ++k) {
        lists.value.push_back(static_cast<double>(batch.value[k]));
        lists.conversions.push_back(static_cast<std::uint8_t>(batch.conversion[k]));
      }
      popularity.push_back(training.popularity(candidate));
      recency.push_back(static_cast<double>(batch.recency[i]));
    }
    lists.offsets.push_back(static_cast<std::int64_t>(rows.size()));
  }
  lists.request_id = [&dataset, of_list = std::vector<std::int64_t>(requests.begin(), requests.end())](std::int64_t list) {
    return dataset.id(of_list[static_cast<std::size_t>(list)]);
  };
  lists.item_id = [&dataset, rows = std::move(rows)](std::int64_t row) { return dataset.item(rows[static_cast<std::size_t>(row)]); };

  EvaluationSet set;
  set.heuristics.push_back(initial_order(lists));
  set.heuristics.push_back({"popularity", break_ties_by_rank(lists, popularity), {}, {}, {}, {}});
  set.heuristics.push_back({"last-interacted-first", break_ties_by_rank(lists, recency), {}, {}, {}, {}});
  set.lists = std::move(lists);
  return set;
}

}  // namespace piano
