#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <map>

#include "data/dataset.h"
#include "data/dataset_columns.h"
#include "data/dataset_writer.h"
#include "tests/data/log_maker.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

Dataset packed(const TemporaryPath& file, const std::vector<OwnedRequest>& log, const WriterOptions& options) {
  DatasetWriter writer(file.path(), options);
  for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), true);
  writer.commit();
  return Dataset(file.path());
}

std::vector<OwnedRequest> some_log(int requests, int users) {
  RandomStream random(17, "split");
  LogShape shape;
  shape.requests = requests;
  shape.users = users;
  return random_log(random, shape);
}

}  // namespace

TEST_CASE("split by user: no user in two parts, every user tested in one fold") {
  const std::vector<OwnedRequest> log = some_log(400, 90);
  const TemporaryPath file("user.safetensors");
  std::map<std::string, int> tested;
  for (int fold = 1; fold <= 5; ++fold) {
    WriterOptions options;
    options.split = SplitKind::user;
    options.fold = fold;
    const Dataset dataset = packed(file, log, options);
    CHECK(dataset.metadata("split") == "user");
    CHECK(dataset.metadata("fold") == std::to_string(fold));
    std::map<std::string, Split> part;
    for (std::int64_t r = 0; r < dataset.size(); ++r) {
      const std::string who(dataset.user(r).empty() ? dataset.id(r) : dataset.user(r));
      CHECK(part.emplace(who, dataset.split(r)).first->second == dataset.split(r));
    }
    for (const auto& [who, split] : part) tested[who] += split == Split::test;
    for (const Split s : {Split::train, Split::valid, Split::test}) CHECK(!dataset.requests(s).empty());
  }
  for (const auto& [who, times] : tested) CHECK(times == 1);
}

TEST_CASE("split by time: no training request later than a test one, equal times on one side") {
  std::vector<OwnedRequest> log = some_log(200, 10);
  for (OwnedRequest& r : log)
    if (r.time) *r.time -= *r.time % 3000;  // many equal times
  std::reverse(log.begin(), log.end());     // a log need not be in order
  const TemporaryPath file("time.safetensors");
  const Dataset dataset = packed(file, log, {});
  std::int64_t first[3], last[3];
  std::fill(first, first + 3, std::numeric_limits<std::int64_t>::max());
  std::fill(last, last + 3, std::numeric_limits<std::int64_t>::min());
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    if (dataset.time(r) == kNoTime) {
      CHECK(dataset.split(r) == Split::train);
      continue;
    }
    const auto s = static_cast<std::size_t>(dataset.split(r));
    first[s] = std::min(first[s], dataset.time(r));
    last[s] = std::max(last[s], dataset.time(r));
  }
  CHECK(last[0] < first[1]);
  CHECK(last[1] < first[2]);
  CHECK(dataset.metadata("test_from") == std::to_string(first[2]));
  CHECK(dataset.metadata("valid_from") == std::to_string(first[1]));
  CHECK(dataset.requests(Split::test).size() >= 15);
  CHECK(dataset.requests(Split::test).size() <= 40);
}

TEST_CASE("split none: everything is test, the feature space is empty but works") {
  const TemporaryPath file("none.safetensors");
  WriterOptions options;
  options.split = SplitKind::none;
  const Dataset dataset = packed(file, some_log(30, 5), options);
  CHECK(dataset.requests(Split::test).size() == 30);
  CHECK(dataset.features().item.rows() == kFirstId);
  Schema empty;
  empty.match_set = 3;
  CHECK(dataset.features().schema == empty);
  BatchBuilder builder(dataset.features(), {});
  builder.attach(dataset);
  Batch batch;
  builder.build(dataset.requests(Split::test), batch);
  CHECK(batch.lists == 30);
}

TEST_CASE("a log without a request, or without one to train on, is an error") {
  const TemporaryPath file("empty.safetensors");
  CHECK_THROWS_AS(packed(file, {}, {}), Error);
  std::vector<OwnedRequest> log = some_log(1, 1);
  log[0].time = 5;
  WriterOptions only_test;
  only_test.test_fraction = 0.89;
  CHECK_THROWS_AS(packed(file, log, only_test), Error);
  CHECK_FALSE(std::filesystem::exists(file.path()));
}

TEST_CASE("derived histories hold the user's own past, strictly before the request") {
  std::vector<OwnedRequest> log = some_log(300, 6);
  for (OwnedRequest& r : log)
    if (r.time) *r.time -= *r.time % 2000;  // many equal times
  RandomStream random(19, "arrival");
  random.shuffle(log);                      // a log need not be in order
  const TemporaryPath file("history.safetensors");
  const Dataset dataset = packed(file, log, {});
  const Dataset::Columns& c = dataset.columns();
  std::int64_t seen = 0;
  for (std::size_t r = 0; r < log.size(); ++r) {
    // By definition: events of earlier requests of the user, by (time, place in the log).
    std::vector<std::pair<std::int64_t, std::size_t>> earlier;
    if (log[r].time && !log[r].user.empty())
      for (std::size_t q = 0; q < log.size(); ++q)
        if (log[q].time && log[q].user == log[r].user && std::pair(*log[q].time, q) < std::pair(*log[r].time, r)) earlier.emplace_back(*log[q].time, q);
    std::sort(earlier.begin(), earlier.end());
    std::vector<std::pair<std::string, std::string>> expected;
    for (const auto& [time, q] : earlier) {
      const std::size_t before = expected.size();
      for (const OwnedCandidate& k : log[q].candidates)
        if (k.click.value_or(false) && k.position.value_or(1) != 0)
          expected.emplace_back(k.id, k.conversion.value_or(false) ? "conversion" : "click");
      if (expected.size() == before && (!log[q].query.empty() || !log[q].query_terms.empty())) expected.emplace_back("", "search");
    }
    REQUIRE(dataset.history_size(static_cast<std::int64_t>(r)) == static_cast<std::int64_t>(expected.size()));
    for (std::size_t t = 0; t < expected.size(); ++t, ++seen) {
      const auto e = static_cast<std::size_t>(c.events[2 * r]) + t;
      CHECK((c.event_item[e] < 0 ? std::string_view() : c.strings.items[c.event_item[e]]) == expected[t].first);
      CHECK(c.strings.actions[c.event_action[e]] == expected[t].second);
      CHECK(c.event_time[e] <= c.time[r]);
    }
  }
  CHECK(seen > 500);
}

TEST_CASE("split, unless told: by time where a request has one, else by user") {
  std::vector<OwnedRequest> log = some_log(200, 60);
  WriterOptions options;
  options.split = SplitKind::automatic;
  const TemporaryPath timed("timed.safetensors"), timeless("timeless.safetensors");
  CHECK(packed(timed, log, options).metadata("split") == "time");
  for (OwnedRequest& r : log) r.time.reset();
  const Dataset dataset = packed(timeless, log, options);
  CHECK(dataset.metadata("split") == "user");
  CHECK(dataset.metadata("fold") == "1");
  for (const Split s : {Split::train, Split::valid, Split::test}) CHECK(!dataset.requests(s).empty());
}
