#include "piano/evaluation_pool.h"

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "engine/base/error.h"
#include "piano/collaborative.h"

namespace piano {
namespace {

template <class T>
void append(std::vector<T>& all, const std::vector<T>& part) {
  all.insert(all.end(), part.begin(), part.end());
}

// Users are numbered anew, by name. A list without a user keeps one of its own.
class Users {
 public:
  std::int32_t number(std::string_view name) {
    if (name.empty()) return count_++;
    const auto [at, is_new] = numbers_.try_emplace(name, count_);
    if (is_new) ++count_;
    return at->second;
  }
  std::int32_t count() const { return count_; }

 private:
  std::map<std::string_view, std::int32_t> numbers_;
  std::int32_t count_ = 0;
};

}  // namespace

void append(Predictions& all, const Predictions& part) {
  for (const auto column : {&Predictions::score, &Predictions::pctr, &Predictions::pcvr, &Predictions::list_ctr, &Predictions::list_cvr}) {
    append(all.*column, part.*column);
  }
}

EvaluationSet pooled_evaluation_set(std::span<const EvaluationPart> parts) {
  EvaluationSet pool;
  LabelledLists& all = pool.lists;
  Users users;
  std::map<std::string_view, const data::Dataset*> known;
  struct Names {
    std::function<std::string_view(std::int64_t)> request, item;
  };
  std::vector<Names> names;                        // part by part
  std::vector<std::int64_t> first_list, first_row;
  for (const EvaluationPart& part : parts) {
    data::BatchBuilder builder(part.data->features(), {});
    builder.attach(*part.data);
    EvaluationSet set = evaluation_set(*part.data, part.requests, part.data->features(), builder);
    for (Predictions& p : collaborative_heuristics(*part.data, part.requests, set.lists)) set.heuristics.push_back(std::move(p));
    first_list.push_back(all.size());
    first_row.push_back(all.rows());
    for (const std::int64_t request : part.requests) {
      const auto [at, is_new] = known.try_emplace(part.data->id(request), part.data);
      if (!is_new) {
        throw Error(ErrorCode::data, "request '" + std::string(part.data->id(request)) + "' is to be judged in " + at->second->path() + " and in " +
                                         part.data->path() + "; expected the folds of one log (piano prepare --split user --folds K --fold k)");
      }
      all.user.push_back(users.number(part.data->user(request)));
    }
    for (std::size_t l = 1; l < set.lists.offsets.size(); ++l) all.offsets.push_back(first_row.back() + set.lists.offsets[l]);
    append(all.click, set.lists.click);
    append(all.conversion, set.lists.conversion);
    append(all.labelled, set.lists.labelled);
    append(all.value, set.lists.value);
    append(all.conversions, set.lists.conversions);
    if (first_list.size() == 1) all.kinds = set.lists.kinds;
    if (all.kinds != set.lists.kinds) {
      throw Error(ErrorCode::data, part.data->path() + ": its training part knows other kinds of conversion than that of " + parts[0].data->path() +
                                       "; expected the same in every fold (piano inspect shows them), as with more requests or fewer folds");
    }
    append(all.target, set.lists.target);
    if (all.slices.empty()) all.slices.resize(set.lists.slices.size());
    for (std::size_t s = 0; s < all.slices.size(); ++s) {
      all.slices[s].name = set.lists.slices[s].name;
      append(all.slices[s].member, set.lists.slices[s].member);
    }
    if (pool.heuristics.empty()) pool.heuristics.resize(set.heuristics.size());
    for (std::size_t h = 0; h < pool.heuristics.size(); ++h) {
      pool.heuristics[h].name = set.heuristics[h].name;
      append(pool.heuristics[h], set.heuristics[h]);
    }
    names.push_back({std::move(set.lists.request_id), std::move(set.lists.item_id)});
  }
  all.users = users.count();
  const auto part_of = [](const std::vector<std::int64_t>& first, std::int64_t at) {
    return static_cast<std::size_t>(std::upper_bound(first.begin(), first.end(), at) - first.begin()) - 1;
  };
  const auto shared = std::make_shared<const std::vector<Names>>(std::move(names));
  all.request_id = [=](std::int64_t list) {
    const std::size_t part = part_of(first_list, list);
    return (*shared)[part].request(list - first_list[part]);
  };
  all.item_id = [=](std::int64_t row) {
    const std::size_t part = part_of(first_row, row);
    return (*shared)[part].item(row - first_row[part]);
  };
  return pool;
}

}  // namespace piano
