// Match features against a slow definition, one candidate, one action, one event at a time.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "data/hash.h"
#include "data/match_features.h"
#include "tests/data/log_maker.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

std::vector<std::string> values_of(const std::vector<OwnedField>& fields, const std::string& name) {
  for (const OwnedField& f : fields)
    if (f.name == name) return f.values;
  return {};
}

bool share(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return std::any_of(a.begin(), a.end(), [&](const std::string& x) { return std::find(b.begin(), b.end(), x) != b.end(); });
}

using Had = std::map<std::string, std::set<std::string>>;  // item -> users

// Who had what in the training part.
Had interactions_of(const std::vector<OwnedRequest>& log, const Dataset& dataset) {
  Had had;
  for (const std::int64_t r : dataset.requests(Split::train)) {
    const OwnedRequest& owned = log[static_cast<std::size_t>(r)];
    if (owned.user.empty()) continue;
    for (const OwnedEvent& e : owned.history)
      if (!e.item.empty()) had[e.item].insert(owned.user);
    for (std::int64_t c = dataset.candidate_begin(r); c < dataset.candidate_end(r); ++c)
      if (dataset.clicks()[static_cast<std::size_t>(c)]) had[std::string(dataset.item(c))].insert(owned.user);
  }
  return had;
}

double cosine_by_definition(const Had& had, const OwnedRequest& r, const std::string& item) {
  const auto users = [&](const std::string& which) {
    std::set<std::string> result = had.contains(which) ? had.at(which) : std::set<std::string>();
    result.erase(r.user);
    return result;
  };
  std::set<std::string> past;
  for (const OwnedEvent& e : r.history)
    if (!e.item.empty()) past.insert(e.item);
  double sum = 0;
  for (const std::string& other : past) {
    const std::set<std::string> a = users(item), b = users(other);
    const auto both = std::count_if(a.begin(), a.end(), [&](const std::string& u) { return b.contains(u); });
    if (both > 0) sum += static_cast<double>(both) / std::sqrt(static_cast<double>(a.size() * b.size()));
  }
  return sum;
}

// The columns of set 2.
std::vector<float> second_set(const Had& had, const OwnedRequest& r, const OwnedCandidate& c) {
  double mean = 0, square = 0;
  const auto n = static_cast<double>(r.candidates.size());
  for (const OwnedCandidate& x : r.candidates) mean += cosine_by_definition(had, r, x.id) / n;
  for (const OwnedCandidate& x : r.candidates) square += std::pow(cosine_by_definition(had, r, x.id) - mean, 2) / n;
  const double own = cosine_by_definition(had, r, c.id);
  return {static_cast<float>(own), static_cast<float>(square < 1e-12 ? 0 : (own - mean) / std::sqrt(square))};
}

std::uint64_t quarter(const std::string& user) { return hash64(user) >> 16 & 3; }

// The columns of set 3.
std::vector<float> third_set(const Schema& schema, const Had& had, const OwnedRequest& r, std::size_t i) {
  const OwnedCandidate& c = r.candidates[i];
  const auto last_event = [&](const std::string& item) {  // -1: never
    int at = -1;
    for (std::size_t e = 0; e < r.history.size(); ++e)
      if (r.history[e].item == item) at = static_cast<int>(e);
    return at;
  };
  int last = -1, touch = -1;  // the candidate touched last, and its event
  std::vector<std::size_t> touched;
  for (std::size_t k = 0; k < r.candidates.size(); ++k) {
    const int e = last_event(r.candidates[k].id);
    if (e >= 0) touched.push_back(k);
    if (e > touch) touch = e, last = static_cast<int>(k);
  }
  const int own = last_event(c.id);
  std::vector<float> row(schema.match_actions.size() + 1, 0.0f);
  double time = 0, events = 0;
  if (own >= 0) {
    const OwnedEvent& e = r.history[static_cast<std::size_t>(own)];
    row[static_cast<std::size_t>(match_action_slot(schema.match_actions, e.action))] = 1;
    if (e.time && r.time) time = 1 / (1 + std::log(1 + static_cast<double>(*r.time - *e.time)));
    events = 1.0 / (static_cast<double>(r.history.size()) - own);
  }
  std::set<std::string> known;  // users of the training part
  for (const auto& [item, who] : had) known.insert(who.begin(), who.end());
  double users = 0;
  if (had.contains(c.id))
    for (const std::string& user : had.at(c.id)) users += known.contains(r.user) ? quarter(user) != quarter(r.user) : 0.75;
  for (const double x : {time, events, std::log(1 + users)})
    row.push_back(static_cast<float>(x));
  for (std::size_t k = 0; k < static_cast<std::size_t>(schema.item_dense); ++k) {
    const auto number = [&](std::size_t j) { return double{r.candidates[j].dense[k]}; };
    const auto has = [&](std::size_t j) { return !r.candidates[j].dense.empty(); };
    double sum = 0, count = 0;
    for (const std::size_t j : touched)
      if (has(j)) sum += number(j), ++count;
    row.push_back(has(i) && last >= 0 && has(static_cast<std::size_t>(last)) ? static_cast<float>(number(i) - number(static_cast<std::size_t>(last))) : 0.0f);
    row.push_back(has(i) && count > 0 ? static_cast<float>(number(i) - sum / count) : 0.0f);
  }
  return row;
}

std::vector<float> by_definition(const Schema& schema, const OwnedRequest& r, const OwnedCandidate& c) {
  std::vector<const OwnedEvent*> acts;  // events with an item
  for (const OwnedEvent& e : r.history)
    if (!e.item.empty()) acts.push_back(&e);
  std::vector<float> row;
  const auto add = [&](const auto& matches, bool item) {
    for (std::size_t a = 0; a <= schema.match_actions.size(); ++a) {
      int count = 0;
      for (const OwnedEvent* e : acts) {
        const auto known = std::find(schema.match_actions.begin(), schema.match_actions.end(), e->action);
        count += matches(*e) && static_cast<std::size_t>(known - schema.match_actions.begin()) == a;
      }
      row.push_back(static_cast<float>(std::log1p(static_cast<double>(count))));
    }
    int last = -1;
    bool same_query = false;
    for (std::size_t k = 0; k < acts.size(); ++k) {
      if (!matches(*acts[k])) continue;
      last = static_cast<int>(k);
      same_query = same_query || (!r.query.empty() && acts[k]->query == r.query);
    }
    const int since = static_cast<int>(acts.size()) - 1 - last;
    row.push_back(last < 0 ? 0.0f : static_cast<float>(1.0 / (1.0 + since)));
    if (!item) return;
    row.push_back(last >= 0 && since == 0 ? 1.0f : 0.0f);
    row.push_back(same_query ? 1.0f : 0.0f);
  };
  add([&](const OwnedEvent& e) { return e.item == c.id; }, true);
  int here = -1, latest = -1;  // places of this candidate, and of the one touched last
  for (std::size_t i = 0; i < r.candidates.size(); ++i)
    if (r.candidates[i].id == c.id) here = static_cast<int>(i);
  for (const OwnedEvent* e : acts)
    for (std::size_t i = 0; i < r.candidates.size(); ++i)
      if (r.candidates[i].id == e->item) latest = static_cast<int>(i);
  row.push_back(latest >= 0 && here > latest ? static_cast<float>(1.0 / (here - latest)) : 0.0f);
  row.push_back(latest >= 0 && here < latest ? static_cast<float>(1.0 / (latest - here)) : 0.0f);
  for (const std::string& field : schema.match_fields)
    add([&](const OwnedEvent& e) { return share(values_of(e.fields, field), values_of(c.fields, field)); }, false);
  return row;
}

std::vector<OwnedRequest> log_with_histories() {
  RandomStream random(11, "match");
  LogShape shape;
  shape.requests = 150;
  shape.explicit_history = true;
  shape.items = 12;
  shape.queries = 2;
  return random_log(random, shape);
}

void write(const std::vector<OwnedRequest>& log, const std::string& path) {
  DatasetWriter writer(path, {});
  for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), false);
  writer.commit();
}

}  // namespace

TEST_CASE("match features are what their definition says, over the whole history") {
  const std::vector<OwnedRequest> log = log_with_histories();
  const TemporaryPath file("match.safetensors");
  write(log, file.path());
  const Dataset dataset(file.path());
  const Schema& schema = dataset.features().schema;
  CHECK(schema.match_actions.size() == 8);
  CHECK(schema.match_fields == std::vector<std::string>{"artist", "genre"});
  const std::vector<std::string> names = match_feature_names(schema);
  CHECK(names[0] == "item." + schema.match_actions[0]);
  CHECK(schema.match_set == 3);
  REQUIRE(schema.item_dense > 0);
  CHECK(names.back() == "dense." + std::to_string(schema.item_dense) + ".from_touched");
  const Had had = interactions_of(log, dataset);

  BatchBuilder builder(dataset.features(), {2, 16, true}), ablated(dataset.features(), {2, 16, false}),
      first_only(dataset.features(), {2, 16, true, false});
  builder.attach(dataset);
  ablated.share_maps_with(builder);
  first_only.share_maps_with(builder);
  Batch batch, without;
  int touched = 0, same_query = 0, alike = 0;
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    const OwnedRequest& owned = log[static_cast<std::size_t>(r)];
    builder.build(std::vector<std::int64_t>{r}, batch);
    REQUIRE(batch.match.size() == owned.candidates.size() * names.size());
    for (std::size_t i = 0; i < owned.candidates.size(); ++i) {
      std::vector<float> expected = by_definition(schema, owned, owned.candidates[i]);
      const std::size_t first_set = expected.size();
      for (const float x : second_set(had, owned, owned.candidates[i])) expected.push_back(x);
      for (const float x : third_set(schema, had, owned, i)) expected.push_back(x);
      REQUIRE(expected.size() == names.size());
      const auto row = batch.match.begin() + static_cast<std::ptrdiff_t>(i * names.size());
      const Scaling& scale = dataset.features().match;  // fitted on the training part
      for (std::size_t k = 0; k < names.size(); ++k) {
        CAPTURE(names[k]);
        const float wanted = (expected[k] - scale.mean[k]) / scale.deviation[k], got = row[static_cast<std::ptrdiff_t>(k)];
        if (k >= first_set) CHECK(got == doctest::Approx(wanted).epsilon(1e-4));  // sums in another order
        else CHECK(got == wanted);
      }
      alike += expected[first_set] > 0;
      CHECK(batch.recency[i] == expected[9]);
      touched += expected[9] > 0;
      same_query += expected[11] > 0;
    }
    ablated.build(std::vector<std::int64_t>{r}, without);
    CHECK(std::all_of(without.match.begin(), without.match.end(), [](float v) { return v == 0; }));
    CHECK(without.match.size() == batch.match.size());
    CHECK(without.recency == batch.recency);
    first_only.build(std::vector<std::int64_t>{r}, without);
    for (std::size_t at = 0; at < batch.match.size(); ++at)
      CHECK(without.match[at] == (names[at % names.size()].starts_with("item.cosine") ? 0 : batch.match[at]));
  }
  CHECK(touched > 20);  // the comparison saw something
  CHECK(same_query > 5);
  CHECK(alike > 100);
}

TEST_CASE("numbers as far apart as floats can be still have a finite difference") {
  const TemporaryPath file("match.safetensors");
  OwnedRequest r;
  r.user = "u", r.has_history = true, r.history = {{{}, "", "a", "click", {}}, {{}, "", "b", "click", {}}};
  for (const auto& [id, number] : {std::pair{"a", 3.4e38f}, {"b", -3.4e38f}, {"c", 3.4e38f}}) {
    OwnedCandidate c;
    c.id = id, c.dense = {number}, c.click = c.id == "c";
    r.candidates.push_back(c);
  }
  write({r, r}, file.path());
  const Dataset dataset(file.path());
  BatchBuilder builder(dataset.features(), {50, 16, true});
  builder.attach(dataset);
  Batch batch;
  builder.build(std::vector<std::int64_t>{0}, batch);
  CHECK(std::all_of(batch.match.begin(), batch.match.end(), [](float v) { return std::isfinite(v); }));
}

TEST_CASE("a batch says what each candidate shares with which of the recent events of its own list") {
  const std::vector<OwnedRequest> log = log_with_histories();
  const TemporaryPath file("match.safetensors");
  write(log, file.path());
  const Dataset dataset(file.path());
  const std::vector<std::string>& fields = dataset.features().schema.match_fields;
  for (const std::int32_t max_history : {50, 3}) {
    CAPTURE(max_history);
    BatchBuilder builder(dataset.features(), {max_history, 16, true});
    builder.attach(dataset);
    Batch batch;
    const std::vector<std::int64_t> requests{40, 7, 100, 101, 3};
    builder.build(requests, batch);
    const MatchColumns& m = batch.history_match;
    REQUIRE(m.offsets.size() == requests.size() + 1);
    std::size_t all = 0;
    for (std::size_t l = 0; l < requests.size(); ++l) {
      std::set<std::array<std::int32_t, 3>> got, expected;
      for (auto x = static_cast<std::size_t>(m.offsets[l]); x < static_cast<std::size_t>(m.offsets[l + 1]); ++x)
        CHECK(got.insert({m.candidate[x], m.event[x], m.column[x]}).second);  // each once
      const OwnedRequest& r = log[static_cast<std::size_t>(requests[l])];
      const auto kept = static_cast<std::size_t>(batch.history_offsets[l + 1] - batch.history_offsets[l]);
      for (std::size_t i = 0; i < r.candidates.size(); ++i) {
        for (std::size_t k = 0; k < kept; ++k) {
          const OwnedEvent& event = r.history[r.history.size() - kept + k];
          if (event.item.empty()) continue;
          const std::int32_t candidate = batch.offsets[l] + static_cast<std::int32_t>(i);
          const std::int32_t row = batch.history_offsets[l] + static_cast<std::int32_t>(k);
          if (event.item == r.candidates[i].id) expected.insert({candidate, row, 0});
          for (std::size_t f = 0; f < fields.size(); ++f) {
            if (share(values_of(event.fields, fields[f]), values_of(r.candidates[i].fields, fields[f])))
              expected.insert({candidate, row, static_cast<std::int32_t>(1 + f)});
          }
        }
      }
      CHECK(got == expected);
      all += got.size();
    }
    CHECK(all > 20);
    CHECK(all == m.event.size());
  }
}
