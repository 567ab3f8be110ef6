// Nothing of the test part may reach what training sees.
#include <doctest/doctest.h>

#include <algorithm>

#include "data/dataset.h"
#include "data/dataset_columns.h"
#include "data/dataset_writer.h"
#include "data/dataset_writer_split.h"
#include "tests/data/batch_equal.h"
#include "tests/data/log_maker.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

std::vector<OwnedRequest> make_log(std::uint64_t seed, const std::string& prefix, bool explicit_history) {
  RandomStream random(seed, "leak");
  LogShape shape;
  shape.requests = 240;
  shape.users = 40;
  shape.prefix = prefix;
  shape.explicit_history = explicit_history;
  return random_log(random, shape);
}

struct Trained {
  std::string fingerprint;
  std::vector<float> popularity;
  std::vector<std::string> ids;
  Batch batch;
};

// Everything that training takes from a packed log.
Trained what_training_sees(const std::vector<OwnedRequest>& log, const WriterOptions& options) {
  const TemporaryPath file("leak.safetensors");
  DatasetWriter writer(file.path(), options);
  for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), true);
  writer.commit();
  const Dataset dataset(file.path());
  Trained t;
  t.fingerprint = dataset.features().fingerprint();
  t.popularity = dataset.features().item_popularity;
  BatchBuilder builder(dataset.features(), {});
  builder.attach(dataset);
  const std::vector<std::int64_t> train = dataset.requests(Split::train);
  for (const std::int64_t r : train) t.ids.emplace_back(dataset.id(r));
  builder.build(train, t.batch);
  return t;
}

// Replaces what is not for training by the same places of another log, whose strings are all new.
template <class IsTraining>
std::vector<OwnedRequest> with_other_tests(const std::vector<OwnedRequest>& log, IsTraining is_training, bool keep_user, bool keep_time) {
  const std::vector<OwnedRequest> other = make_log(99, "new-", true);
  std::vector<OwnedRequest> result = log;
  for (std::size_t i = 0; i < log.size(); ++i) {
    if (is_training(log[i])) continue;
    result[i] = other[i];
    if (keep_user) result[i].user = log[i].user, result[i].id = log[i].id;
    if (keep_time) result[i].time = log[i].time;
    result[i].has_history = false;
    result[i].history.clear();
    result[i].candidates[0].dense = {1e6f, -1e6f};
    result[i].candidates[0].score = 1e6f;
    result[i].candidates[0].fields.push_back({"only-in-test", {"x", "x", "x"}});
    result[i].context.push_back({"only-in-test", {"x"}});
  }
  return result;
}

void check_same(const Trained& a, const Trained& b) {
  CHECK(a.fingerprint == b.fingerprint);
  CHECK(a.popularity == b.popularity);
  CHECK(a.ids == b.ids);
  CHECK(difference(a.batch, b.batch) == "");
  CHECK(a.batch.lists > 100);
  CHECK(a.batch.history_rows() > 100);
  CHECK(std::any_of(a.batch.match.begin(), a.batch.match.end(), [](float v) { return v > 0; }));
}

}  // namespace

TEST_CASE("split by user: changing test and validation rows changes nothing of training, to the byte") {
  WriterOptions options;
  options.split = SplitKind::user;
  for (const bool explicit_history : {false, true}) {
    const std::vector<OwnedRequest> log = make_log(7, "", explicit_history);
    const auto is_training = [&](const OwnedRequest& r) { return split_of_user(r.user.empty() ? r.id : r.user, options) == Split::train; };
    const std::vector<OwnedRequest> changed = with_other_tests(log, is_training, true, false);
    check_same(what_training_sees(log, options), what_training_sees(changed, options));
  }
}

TEST_CASE("split by time: changing later rows changes nothing of training, to the byte") {
  for (const bool explicit_history : {false, true}) {
    const std::vector<OwnedRequest> log = make_log(8, "", explicit_history);
    std::vector<std::int64_t> times;
    for (const OwnedRequest& r : log)
      if (r.time) times.push_back(*r.time);
    std::sort(times.begin(), times.end());
    const std::int64_t cut = times[times.size() * 8 / 10];
    const auto is_training = [&](const OwnedRequest& r) { return !r.time || *r.time < cut; };
    for (const bool keep_user : {true, false})
      check_same(what_training_sees(log, {}), what_training_sees(with_other_tests(log, is_training, keep_user, true), {}));
  }
}

TEST_CASE("changing a training row does change what training sees") {
  std::vector<OwnedRequest> log = make_log(9, "", false);
  const Trained before = what_training_sees(log, {});
  log[3].candidates[0].dense = {50.0f, 2.0f};
  CHECK(what_training_sees(log, {}).fingerprint != before.fingerprint);
}

TEST_CASE("an explicit history that knows the future is refused") {
  std::vector<OwnedRequest> log = make_log(10, "", false);
  OwnedRequest& r = log[0];
  r.time = 100;
  r.has_history = true;
  r.history = {{100, "q", "t", "play", {}}, {101, "q", "t", "play", {}}};
  const TemporaryPath file("future.safetensors");
  DatasetWriter writer(file.path(), {});
  CHECK_THROWS_WITH_AS(writer.add_request(*View(r), 0, false),
                       "history[1].time: 101 is after the request's time 100; a history holds the past only", Error);
  CHECK(writer.requests() == 0);
}
