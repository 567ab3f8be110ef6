// Match features against a slow definition, one candidate, one action, one event at a time.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "data/dataset.h"
#include "data/dataset_writer.h"
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
  CHECK(names.back() == "genre.recency");

  BatchBuilder builder(dataset.features(), {2, 16, true}), ablated(dataset.features(), {2, 16, false});
  builder.attach(dataset);
  ablated.share_maps_with(builder);
  Batch batch, without;
  int touched = 0, same_query = 0;
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    const OwnedRequest& owned = log[static_cast<std::size_t>(r)];
    builder.build(std::vector<std::int64_t>{r}, batch);
    REQUIRE(batch.match.size() == owned.candidates.size() * names.size());
    for (std::size_t i = 0; i < owned.candidates.size(); ++i) {
      const std::vector<float> expected = by_definition(schema, owned, owned.candidates[i]);
      const auto row = batch.match.begin() + static_cast<std::ptrdiff_t>(i * names.size());
      const Scaling& scale = dataset.features().match;  // fitted on the training part
      for (std::size_t k = 0; k < names.size(); ++k) CHECK(row[static_cast<std::ptrdiff_t>(k)] == (expected[k] - scale.mean[k]) / scale.deviation[k]);
      CHECK(batch.recency[i] == expected[9]);
      touched += expected[9] > 0;
      same_query += expected[11] > 0;
    }
    ablated.build(std::vector<std::int64_t>{r}, without);
    CHECK(std::all_of(without.match.begin(), without.match.end(), [](float v) { return v == 0; }));
    CHECK(without.match.size() == batch.match.size());
    CHECK(without.recency == batch.recency);
  }
  CHECK(touched > 20);  // the comparison saw something
  CHECK(same_query > 5);
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
