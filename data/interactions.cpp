#include "data/interactions.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "data/dataset.h"
#include "data/hash.h"
#include "engine/base/error.h"

namespace piano::data {

namespace {

struct Owned {
  std::vector<std::int64_t> user_hashes, item_hashes, offsets;
  std::vector<std::int32_t> users;
};

std::int64_t hash_of(std::string_view id) { return static_cast<std::int64_t>(hash64(id)); }

// Calls visit(user, item) for every interaction of the training part, repetitions included. Histories that begin at the same event are
// prefixes of each other: what they share is visited once.
template <class Visit>
void each_interaction(const RawColumns& log, std::size_t users, Visit visit) {
  std::vector<std::pair<std::int64_t, std::int64_t>> seen(users, {-1, -1});  // of each user's last history: begin, and how far it was visited
  for (std::size_t r = 0; r < log.split.size(); ++r) {
    if (log.split[r] != static_cast<std::uint8_t>(Split::train) || log.user[r] < 0) continue;
    const std::int32_t user = log.user[r];
    auto& [begin, end] = seen[static_cast<std::size_t>(user)];
    if (log.events[2 * r] != begin) begin = end = log.events[2 * r];
    for (; end < log.events[2 * r + 1]; ++end)
      if (const std::int32_t item = log.event_item[static_cast<std::size_t>(end)]; item >= 0) visit(user, item);
    for (auto c = static_cast<std::size_t>(log.candidates[r]); c < static_cast<std::size_t>(log.candidates[r + 1]); ++c)
      if (log.click[c] || log.conversion[c]) visit(user, log.item[c]);
  }
}

// Users whose pairs are kept, by hash: as many as have at most `most` interactions together.
std::vector<std::pair<std::int64_t, std::int32_t>> kept_users(const RawColumns& log, const StringTable& users, std::int64_t most) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(users.size()), 0);
  each_interaction(log, counts.size(), [&](std::int32_t user, std::int32_t) { ++counts[static_cast<std::size_t>(user)]; });
  std::vector<std::pair<std::int64_t, std::int32_t>> kept;  // hash, raw user
  for (std::size_t u = 0; u < counts.size(); ++u)
    if (counts[u] > 0) kept.emplace_back(hash_of(users[static_cast<std::int64_t>(u)]), static_cast<std::int32_t>(u));
  std::sort(kept.begin(), kept.end());
  std::size_t n = 0;
  for (std::int64_t sum = 0; n < kept.size(); ++n)
    if ((sum += counts[static_cast<std::size_t>(kept[n].second)]) > most) break;
  kept.resize(n);
  return kept;
}

}  // namespace

Interactions Interactions::build(const RawColumns& log, const RawStrings& strings, std::int64_t most) {
  auto owned = std::make_shared<Owned>();
  std::vector<std::int32_t> row(static_cast<std::size_t>(strings.users.size()), -1);  // raw user -> row
  for (const auto& [hash, user] : kept_users(log, strings.users, most)) {
    row[static_cast<std::size_t>(user)] = static_cast<std::int32_t>(owned->user_hashes.size());
    owned->user_hashes.push_back(hash);
  }
  std::vector<std::pair<std::int32_t, std::int32_t>> pairs;  // raw item, user's row
  each_interaction(log, row.size(), [&](std::int32_t user, std::int32_t item) {
    if (const std::int32_t u = row[static_cast<std::size_t>(user)]; u >= 0) pairs.emplace_back(item, u);
  });
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());

  struct Item {
    std::int64_t hash;
    std::size_t begin, end;
  };
  std::vector<Item> items;
  for (std::size_t at = 0; at < pairs.size();) {
    std::size_t end = at;
    while (end < pairs.size() && pairs[end].first == pairs[at].first) ++end;
    items.push_back({hash_of(strings.items[pairs[at].first]), at, end});
    at = end;
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.hash < b.hash; });
  owned->offsets.push_back(0);
  owned->users.reserve(pairs.size());
  for (const Item& item : items) {
    owned->item_hashes.push_back(item.hash);
    for (std::size_t at = item.begin; at < item.end; ++at) owned->users.push_back(pairs[at].second);
    owned->offsets.push_back(static_cast<std::int64_t>(owned->users.size()));
  }
  Interactions result;
  result.user_hashes_ = owned->user_hashes;
  result.item_hashes_ = owned->item_hashes;
  result.offsets_ = owned->offsets;
  result.users_ = owned->users;
  result.owner_ = std::move(owned);
  result.count_quarters();
  return result;
}

Interactions Interactions::load(std::shared_ptr<const SafetensorsFile> file) {
  Interactions x;
  if (file->find("interactions.user") == nullptr) return x;
  x.user_hashes_ = file->values<std::int64_t>("interactions.user");
  x.item_hashes_ = file->values<std::int64_t>("interactions.item");
  x.offsets_ = file->values<std::int64_t>("interactions.offsets");
  x.users_ = file->values<std::int32_t>("interactions.users");
  const auto users = static_cast<std::int32_t>(x.user_hashes_.size());
  const auto ascending = [](const auto& column) { return std::is_sorted(column.begin(), column.end()); };
  const bool good = ascending(x.user_hashes_) && ascending(x.item_hashes_) && x.user_hashes_.size() <= 0x7fffffff && x.offsets_.size() == x.item_hashes_.size() + 1 && x.offsets_.front() == 0 &&
                    x.item_hashes_.size() <= 0x7fffffff && x.offsets_.back() == static_cast<std::int64_t>(x.users_.size()) &&
                    std::adjacent_find(x.offsets_.begin(), x.offsets_.end(), std::greater_equal<>()) == x.offsets_.end() &&  // an item has users
                    std::all_of(x.users_.begin(), x.users_.end(), [&](std::int32_t u) { return u >= 0 && u < users; });
  if (!good) throw Error(ErrorCode::model, file->path() + ": interactions.* point outside or are not in order; the file is damaged");
  x.owner_ = std::move(file);
  x.count_quarters();
  return x;
}

void Interactions::save(SafetensorsWriter& writer) const {
  if (offsets_.empty()) return;
  writer.add("interactions.user", user_hashes_);
  writer.add("interactions.item", item_hashes_);
  writer.add("interactions.offsets", offsets_);
  writer.add("interactions.users", users_);
}

std::uint64_t Interactions::fingerprint(std::uint64_t seed) const {
  const auto add = [&](const auto& column) {
    seed = hash64({reinterpret_cast<const char*>(column.data()), column.size() * sizeof(column[0])}, seed);
  };
  add(user_hashes_), add(item_hashes_), add(offsets_), add(users_);
  return seed;
}

std::int32_t Interactions::find(std::span<const std::int64_t> hashes, std::string_view id) {
  if (id.empty() || hashes.empty()) return -1;
  const std::int64_t wanted = hash_of(id);
  const auto at = std::lower_bound(hashes.begin(), hashes.end(), wanted);
  return at != hashes.end() && *at == wanted ? static_cast<std::int32_t>(at - hashes.begin()) : -1;
}

std::span<const std::int32_t> Interactions::users_of(std::int32_t item) const {
  const auto k = static_cast<std::size_t>(item);
  return users_.subspan(static_cast<std::size_t>(offsets_[k]), static_cast<std::size_t>(offsets_[k + 1] - offsets_[k]));
}

double Interactions::others(std::int32_t item, std::int32_t asker) const {
  const auto users = users_of(item);
  return static_cast<double>(users.size()) - (std::binary_search(users.begin(), users.end(), asker) ? 1.0 : 0.0);
}

// Bits of the hash that neither the split nor the choice of kept users goes by.
std::size_t Interactions::quarter_of(std::int32_t user) const {
  return static_cast<std::size_t>(static_cast<std::uint64_t>(user_hashes_[static_cast<std::size_t>(user)]) >> 16) % kQuarters;
}

void Interactions::count_quarters() {
  quarters_.assign(item_hashes_.size() * kQuarters, 0);
  for (std::size_t k = 0; k < item_hashes_.size(); ++k)
    for (const std::int32_t user : users_of(static_cast<std::int32_t>(k))) ++quarters_[k * kQuarters + quarter_of(user)];
}

double Interactions::users_apart(std::int32_t item, std::int32_t asker) const {
  if (item < 0) return 0;
  const auto all = static_cast<double>(users_of(item).size());
  if (asker < 0) return all * (kQuarters - 1) / kQuarters;
  return all - quarters_[static_cast<std::size_t>(item) * kQuarters + quarter_of(asker)];
}

CosineToPast::CosineToPast(const Interactions& interactions)
    : interactions_(interactions) {}

void CosineToPast::start(std::int32_t asker) {
  if (weight_.size() != interactions_.user_hashes_.size()) {  // the first time: who never asks has no tables
    weight_.assign(interactions_.user_hashes_.size(), 0.0), added_.assign(interactions_.item_hashes_.size(), 0);
    touched_.reserve(weight_.size());
  }
  asker_ = asker;
  if (++call_ == 0x7fffffff) std::fill(added_.begin(), added_.end(), 0), call_ = 1;
  for (const std::int32_t user : touched_) weight_[static_cast<std::size_t>(user)] = 0;
  touched_.clear();
}

// The sum factorises over users v: 1 / sqrt(|U_i|) * sum over v in U_i of w_v, w_v = sum over v's items j of the past of 1 / sqrt(|U_j|).
void CosineToPast::add(std::int32_t item) {
  if (item < 0 || std::exchange(added_[static_cast<std::size_t>(item)], call_) == call_) return;
  const double w = 1 / std::sqrt(interactions_.others(item, asker_));  // infinite where nobody else had it: then it is added to nobody
  for (const std::int32_t user : interactions_.users_of(item)) {
    if (user == asker_) continue;
    double& sum = weight_[static_cast<std::size_t>(user)];
    if (sum == 0) touched_.push_back(user);
    sum += w;
  }
}

double CosineToPast::operator()(std::int32_t candidate) const {
  if (candidate < 0) return 0;
  double sum = 0;
  for (const std::int32_t user : interactions_.users_of(candidate)) sum += weight_[static_cast<std::size_t>(user)];
  return sum > 0 ? sum / std::sqrt(interactions_.others(candidate, asker_)) : 0;
}

}  // namespace piano::data
