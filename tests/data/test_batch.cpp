// One request, two ways: packed into a file and read back, or given at once. The batches must have the same bits.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "tests/data/batch_equal.h"
#include "tests/data/log_maker.h"
#include "tests/support/allocation_counter.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

void write_log(const std::string& path, const std::vector<OwnedRequest>& log, const WriterOptions& options, bool derive = true) {
  DatasetWriter writer(path, options);
  for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), derive);
  writer.commit();
}

}  // namespace

TEST_CASE("the same request through a file and from outside is the same batch") {
  RandomStream random(3, "batch");
  for (const bool explicit_history : {true, false}) {
    LogShape shape;
    shape.requests = 120;
    shape.explicit_history = explicit_history;
    std::vector<OwnedRequest> log = random_log(random, shape);
    if (!explicit_history)
      for (OwnedRequest& r : log) r.has_history = true;  // empty
    const TemporaryPath file("batch.safetensors");
    write_log(file.path(), log, {}, false);
    const Dataset dataset(file.path());
    BatchBuilder from_file(dataset.features(), {6, 3, true}), from_outside(dataset.features(), {6, 3, true});
    from_file.attach(dataset);
    Batch a, b;
    for (std::int64_t r = 0; r < dataset.size(); ++r) {
      from_file.build(std::vector<std::int64_t>{r}, a);
      const OwnedRequest& owned = log[static_cast<std::size_t>(r)];
      if (!owned.has_history) continue;
      from_outside.build(*View(owned), b);
      CHECK(difference(a, b) == "");
      CHECK(a.request.front() == r);
      CHECK(b.request.front() == -1);
      CHECK(from_file.tokens(r) == a.rows() + a.history_rows() + 1);
    }
  }
}

TEST_CASE("a derived history is the batch of the same history given") {
  RandomStream random(4, "derived");
  LogShape shape;
  shape.requests = 150;
  shape.users = 5;
  const std::vector<OwnedRequest> log = random_log(random, shape);
  const TemporaryPath file("derived.safetensors");
  write_log(file.path(), log, {}, true);
  const Dataset dataset(file.path());
  BatchBuilder from_file(dataset.features(), {}), from_outside(dataset.features(), {});
  from_file.attach(dataset);
  Batch a, b;
  int rows = 0;
  for (std::size_t r = 0; r < log.size(); ++r) {
    OwnedRequest given = log[r];
    for (std::size_t q = 0; q < r && given.time && !given.user.empty(); ++q) {  // the log is in order of time
      if (!log[q].time || log[q].user != given.user) continue;
      const std::string text = log[q].query_terms.empty() ? log[q].query : log[q].query_terms[0] + " " + log[q].query_terms[1];
      const std::size_t before = given.history.size();
      for (const OwnedCandidate& c : log[q].candidates)
        if (c.click.value_or(false) && c.position.value_or(1) != 0)
          given.history.push_back({log[q].time, text, c.id, c.conversion.value_or(false) ? "conversion" : "click", c.fields});
      if (given.history.size() == before && !text.empty()) given.history.push_back({log[q].time, text, "", "search", {}});
    }
    from_file.build(std::vector<std::int64_t>{static_cast<std::int64_t>(r)}, a);
    from_outside.build(*View(given), b);
    CHECK(difference(a, b) == "");
    rows += a.history_rows();
  }
  CHECK(rows > 1000);
}

TEST_CASE("a batch is its lists back to back, and another model's feature space reads a file it never saw") {
  RandomStream random(6, "another");
  LogShape shape;
  shape.explicit_history = true;
  const std::vector<OwnedRequest> log = random_log(random, shape);
  shape.prefix = "x";
  const std::vector<OwnedRequest> strange = random_log(random, shape);
  const TemporaryPath file("model.safetensors"), other("strange.safetensors");
  write_log(file.path(), log, {});
  WriterOptions none;
  none.split = SplitKind::none;
  write_log(other.path(), strange, none);
  const Dataset fitted(file.path()), dataset(other.path());
  BatchBuilder builder(fitted.features(), {});
  builder.attach(dataset);
  std::vector<std::int64_t> all(static_cast<std::size_t>(dataset.size()));
  std::iota(all.begin(), all.end(), 0);
  Batch batch, one;
  builder.build(all, batch);
  REQUIRE(batch.lists == dataset.size());
  for (std::size_t r = 0; r < all.size(); ++r) {
    builder.build(std::span(all).subspan(r, 1), one);
    CHECK(batch.offsets[r + 1] - batch.offsets[r] == one.rows());
    CHECK(batch.history_offsets[r + 1] - batch.history_offsets[r] == one.history_rows());
    CHECK(std::equal(one.recency.begin(), one.recency.end(), batch.recency.begin() + batch.offsets[r]));
  }
  CHECK(std::all_of(batch.item.id.begin(), batch.item.id.end(), [](std::int32_t id) { return id == kOutOfVocabulary; }));
  for (std::size_t r = 0; r < strange.size(); ++r) CHECK(batch.user[r] == (strange[r].user.empty() ? kMissing : kOutOfVocabulary));
}

TEST_CASE("a live request is checked, what the model does not know is passed over") {
  RandomStream random(8, "live");
  const std::vector<OwnedRequest> log = random_log(random, {});
  const TemporaryPath file("live.safetensors");
  write_log(file.path(), log, {});
  const Dataset dataset(file.path());
  BatchBuilder builder(dataset.features(), {});
  Batch plain, batch;
  OwnedRequest r = log[0];
  r.time = 1000;
  builder.build(*View(r), plain);
  OwnedRequest more = r;
  more.context.push_back({"unheard of", {"x"}});
  more.candidates[0].fields.push_back({"unheard of", {"x"}});
  builder.build(*View(more), batch);
  CHECK(difference(plain, batch) == "");

  more.candidates[0].dense = {1, 2, 3};
  CHECK_THROWS_WITH_AS(builder.build(*View(more), batch), "candidates[0].dense: expected 2 numbers, got 3", Error);
  more.candidates.clear();
  CHECK_THROWS_WITH_AS(builder.build(*View(more), batch), "candidates: expected at least one", Error);

  r.history = {{1000 - 3600, "q", "", "", {}}, {std::nullopt, "q", "", "", {}}, {999, "q", "", "", {}}, {1000, "q", "", "", {}}};
  builder.build(*View(r), batch);
  CHECK(batch.history_age == std::vector<std::int32_t>{7, kAgeUnknown, 1, 1});
}

TEST_CASE("what a log may not say, a request to answer may not say either, in the same words") {
  RandomStream random(9, "rules");
  const TemporaryPath file("rules.safetensors"), other("refused.safetensors");
  write_log(file.path(), random_log(random, {}), {});
  const Dataset dataset(file.path());
  BatchBuilder builder(dataset.features(), {});
  Batch batch;
  DatasetWriter writer(other.path(), {});
  OwnedRequest good;
  good.time = 1000;
  good.has_history = true;
  good.history = {{std::nullopt, "q", "", "", {}}, {900, "q", "", "", {}}, {std::nullopt, "q", "", "", {}}, {900, "q", "", "", {}}};
  good.candidates.resize(4);
  for (std::size_t i = 0; i < 4; ++i) good.candidates[i].id = std::string(1, static_cast<char>('a' + i));
  good.candidates[0].position = good.candidates[2].position = 0;  // not shown, as often as one likes
  good.target = "c";
  builder.build(*View(good), batch);
  writer.add_request(*View(good), 0, false);

  const auto both_refuse = [&](const OwnedRequest& bad, const char* reason) {
    CHECK_THROWS_WITH_AS(builder.build(*View(bad), batch), reason, Error);
    CHECK_THROWS_WITH_AS(writer.add_request(*View(bad), 1, false), reason, Error);
  };
  OwnedRequest bad = good;
  bad.history[3].time = 1001;
  both_refuse(bad, "history[3].time: 1001 is after the request's time 1000; a history holds the past only");
  bad.history[3].time = 899;
  both_refuse(bad, "history[3].time: 899 is before history[1].time 900; give the oldest event first");
  bad.time.reset();
  both_refuse(bad, "history[3].time: 899 is before history[1].time 900; give the oldest event first");
  bad = good;
  bad.target = "e";
  both_refuse(bad, "target: \"e\" is not among the candidates");
  bad = good;
  bad.candidates[0].position = bad.candidates[2].position = 7;
  both_refuse(bad, "candidates[2].position: 7 is already the position of candidates[0]");
  bad.candidates[2].position = 2;
  both_refuse(bad, "candidates[2].position: 2 is already the position of candidates[1] (the order given)");
}

TEST_CASE("ages fall into buckets of a factor of two") {
  CHECK(age_bucket(-5) == 1);
  CHECK(age_bucket(59) == 1);
  CHECK(age_bucket(60) == 2);
  CHECK(age_bucket(119) == 2);
  CHECK(age_bucket(120) == 3);
  CHECK(age_bucket(std::numeric_limits<std::int64_t>::max()) == kAgeBuckets - 1);
}

TEST_CASE("a warmed-up builder does not allocate, also when the largest list comes last") {
  RandomStream random(12, "allocations");
  LogShape shape;
  shape.requests = 80;
  shape.explicit_history = true;
  std::vector<OwnedRequest> log = random_log(random, shape);
  const TemporaryPath file("allocations.safetensors");
  write_log(file.path(), log, {});
  const Dataset dataset(file.path());
  BatchBuilder builder(dataset.features(), {6, 8, true});
  builder.attach(dataset);
  std::vector<std::int64_t> order(static_cast<std::size_t>(dataset.size()));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return builder.tokens(a) < builder.tokens(b); });
  Batch batch;
  builder.reserve(builder.largest(order), batch);
  std::int64_t before = allocation_count();
  for (const std::int64_t& r : order) builder.build({&r, 1}, batch);
  CHECK(allocation_count() - before == 0);

  std::vector<std::unique_ptr<View>> views;
  for (const OwnedRequest& r : log) views.push_back(std::make_unique<View>(r));
  for (const auto& view : views) builder.build(**view, batch);
  before = allocation_count();
  for (const auto& view : views) builder.build(**view, batch);
  CHECK(allocation_count() - before == 0);
}
