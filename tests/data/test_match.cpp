// Match features against a slow definition, one candidate, one action, one event at a time.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

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

}  // namespace

TEST_CASE("match features are what their definition says, over the whole history") {
  RandomStream random(11, "match");
  LogShape shape;
  shape.requests = 150;
  shape.explicit_history = true;
  shape.items = 12;
  shape.queries = 2;
  const std::vector<OwnedRequest> log = random_log(random, shape);
  const TemporaryPath file("match.safetensors");
  DatasetWriter writer(file.path(), {});
  for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), false);
  writer.commit();
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
