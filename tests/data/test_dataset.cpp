#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "data/dataset.h"
#include "data/dataset_columns.h"
#include "data/dataset_writer.h"
#include "data/dataset_writer_split.h"
#include "tests/data/log_maker.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

void pack(const std::string& path, const std::vector<OwnedRequest>& log, const WriterOptions& options = {}) {
  DatasetWriter writer(path, options);
  for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), true);
  writer.commit();
}

std::vector<OwnedRequest> some_log(int requests = 80) {
  RandomStream random(23, "dataset");
  LogShape shape;
  shape.requests = requests;
  shape.explicit_history = true;
  return random_log(random, shape);
}

OwnedRequest minimal(const std::string& item = "t") {
  OwnedRequest r;
  r.candidates.resize(1);
  r.candidates[0].id = item;
  return r;
}

std::string error_of(const OwnedRequest& r) {
  const TemporaryPath file("error.safetensors");
  DatasetWriter writer(file.path(), {});
  OwnedRequest first = minimal();
  first.candidates[0].dense = {1, 2};
  first.user_dense = {1};
  writer.add_request(*View(first), 0, false);
  try {
    writer.add_request(*View(r), 1, false);
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::data);
    CHECK(writer.requests() == 1);
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("what was written is what is read") {
  const std::vector<OwnedRequest> log = some_log();
  const TemporaryPath file("facts.safetensors");
  pack(file.path(), log);
  const Dataset d(file.path());
  d.file()->verify();
  REQUIRE(d.size() == static_cast<std::int64_t>(log.size()));
  const Dataset::Columns& c = d.columns();
  for (std::int64_t r = 0; r < d.size(); ++r) {
    const OwnedRequest& owned = log[static_cast<std::size_t>(r)];
    CHECK(d.id(r) == owned.id);
    CHECK(d.user(r) == owned.user);
    CHECK(d.query(r) == (owned.query_terms.empty() ? owned.query : owned.query_terms[0] + " " + owned.query_terms[1]));
    CHECK(d.time(r) == owned.time.value_or(std::numeric_limits<std::int64_t>::min()));
    if (owned.has_history) CHECK(d.history_size(r) == static_cast<std::int64_t>(owned.history.size()));
    REQUIRE(d.candidate_end(r) - d.candidate_begin(r) == static_cast<std::int64_t>(owned.candidates.size()));
    CHECK((d.target(r) < 0 ? std::string() : owned.candidates[static_cast<std::size_t>(d.target(r))].id) == owned.target);
    for (std::size_t i = 0; i < owned.candidates.size(); ++i) {
      const OwnedCandidate& k = owned.candidates[i];
      const std::int64_t row = d.candidate_begin(r) + static_cast<std::int64_t>(i);
      const auto at = static_cast<std::size_t>(row);
      CHECK(d.item(row) == k.id);
      const bool labelled = k.click.has_value() && k.position.value_or(1) != 0;
      CHECK(d.labelled()[at] == labelled);
      CHECK(d.clicks()[at] == (labelled && *k.click));
      CHECK(d.conversions()[at] == (labelled && k.conversion.value_or(false)));
      CHECK(c.position[at] == k.position.value_or(static_cast<std::int32_t>(i) + 1));
      CHECK(c.dense.has(row) == !k.dense.empty());
      CHECK(c.score.has(row) == k.score.has_value());
      if (k.score) CHECK(c.score[row][0] == *k.score);
    }
  }
}

TEST_CASE("the same log gives the same bytes") {
  const TemporaryPath a("a.safetensors"), b("b.safetensors");
  pack(a.path(), some_log());
  pack(b.path(), some_log());
  CHECK(a.bytes() == b.bytes());
  CHECK(Dataset(a.path()).fingerprint() == Dataset(b.path()).fingerprint());
}

TEST_CASE("the barest request is fine") {
  const TemporaryPath file("bare.safetensors");
  WriterOptions options;
  options.split = SplitKind::none;
  pack(file.path(), {minimal()}, options);
  const Dataset d(file.path());
  CHECK(d.id(0) == "request-1");
  CHECK(d.user(0) == "");
  CHECK(d.query(0) == "");
  CHECK(d.history_size(0) == 0);
  CHECK(d.labelled()[0] == 0);
  BatchBuilder builder(d.features(), {});
  builder.attach(d);
  Batch batch;
  builder.build(std::vector<std::int64_t>{0}, batch);
  CHECK(batch.user == std::vector<std::int32_t>{kMissing});
  CHECK(batch.query.id == std::vector<std::int32_t>{kMissing});
  CHECK(batch.query.terms.ids == std::vector<std::int32_t>{kMissing});
  CHECK(batch.item.id == std::vector<std::int32_t>{kOutOfVocabulary});
  CHECK(batch.value == std::vector<float>{1.0f});
}

TEST_CASE("a bad request is named and leaves nothing behind") {
  CHECK(error_of(minimal()) == "");
  CHECK(error_of({}) == "candidates: expected at least one");
  OwnedRequest r = minimal();
  r.candidates.resize(3, r.candidates[0]);
  r.candidates[1].id = "other";
  CHECK(error_of(r) == "candidates[2].id: \"t\" is already candidates[0]");
  r.candidates[2].id = "";
  CHECK(error_of(r) == "candidates[2].id: expected a non-empty string");
  r = minimal();
  r.candidates[0].dense = {1, 2, 3};
  CHECK(error_of(r) == "candidates[0].dense: expected 2 numbers, got 3");
  r.candidates[0].dense = {1, std::nanf("")};
  CHECK(error_of(r) == "candidates[0].dense[1]: expected a finite number");
  r = minimal();
  r.user_dense = {1, 2};
  CHECK(error_of(r) == "user.dense: expected 1 numbers, got 2");
  r = minimal();
  r.candidates[0].score = std::numeric_limits<float>::infinity();
  CHECK(error_of(r) == "candidates[0].score: expected a finite number");
  r = minimal();
  r.candidates[0].click = false;
  r.candidates[0].conversion = true;
  CHECK(error_of(r) == "candidates[0].conversion: expected at most click = 0, got 1");
  r = minimal();
  r.target = "x";
  CHECK(error_of(r) == "target: \"x\" is not among the candidates");
  r = minimal();
  r.candidates[0].fields = {{"artist", {"a"}}, {"artist", {"b"}}};
  CHECK(error_of(r) == "candidates[0].fields.artist: given twice");
  r = minimal();
  r.candidates[0].position = -2;
  CHECK(error_of(r) == "candidates[0].position: expected 1 or more, got -2");
}

TEST_CASE("labels: what absent ones mean") {
  OwnedRequest r;
  r.candidates.resize(6);
  for (std::size_t i = 0; i < 6; ++i) r.candidates[i].id = std::to_string(i);
  r.candidates[1].click = true;        // alone: no conversion
  r.candidates[2].conversion = true;   // alone: a click
  r.candidates[3].conversion = false;  // alone: says nothing
  r.candidates[4].click = true;
  r.candidates[4].position = 0;        // not shown
  r.candidates[5].click = false;
  const TemporaryPath file("labels.safetensors");
  WriterOptions options;
  options.split = SplitKind::none;
  pack(file.path(), {r}, options);
  const Dataset d(file.path());
  const auto list = [](std::span<const std::uint8_t> s) { return std::vector<int>(s.begin(), s.end()); };
  CHECK(list(d.labelled()) == std::vector<int>{0, 1, 1, 0, 0, 1});
  CHECK(list(d.clicks()) == std::vector<int>{0, 1, 1, 0, 0, 0});
  CHECK(list(d.conversions()) == std::vector<int>{0, 0, 1, 0, 0, 0});
}

TEST_CASE("a vocabulary holds what is frequent in training, the most frequent first") {
  std::vector<OwnedRequest> log;
  for (const char* item : {"c", "b", "b", "a", "a", "d", "d", "d"}) log.push_back(minimal(item));
  log.back().candidates[0].click = true;
  const TemporaryPath file("count.safetensors");
  pack(file.path(), log);  // no times: all training
  const Dataset d(file.path());
  const Vocabulary& items = d.features().item;
  REQUIRE(items.rows() == 5);
  CHECK(items.text(2) == "d");
  CHECK(items.text(3) == "a");
  CHECK(items.text(4) == "b");
  CHECK(items.find("c") == kOutOfVocabulary);
  CHECK(d.features().item_popularity == std::vector<float>{0, 0, 1, 0, 0});
}

TEST_CASE("an event counts once, however many histories share it") {
  const TemporaryPath file("once.safetensors");
  WriterOptions options;
  options.split = SplitKind::user;
  std::string user = "u";
  while (split_of_user(user, options) != Split::train) user += "u";
  DatasetWriter writer(file.path(), options);
  const auto event = [&](std::int64_t time, const char* what) { writer.add_event(user, {time, {what, {}}, what, "play", {}}, time); };
  event(30, "twice");
  event(20, "twice");
  event(10, "once");
  event(98, "later");  // in no history
  event(99, "later");
  OwnedRequest r = minimal();
  r.user = user;
  for (const std::int64_t time : {40, 35, 50}) {
    r.time = time;
    writer.add_request(*View(r), 0, false);
  }
  writer.commit();
  const Dataset d(file.path());
  for (std::int64_t i = 0; i < 3; ++i) CHECK(d.history_size(i) == 3);
  for (const Vocabulary* v : {&d.features().item, &d.features().query, &d.features().term}) {
    CHECK(v->find("twice") >= kFirstId);
    CHECK(v->find("once") == kOutOfVocabulary);
    CHECK(v->find("later") == kOutOfVocabulary);
  }
}

TEST_CASE("scaling is mean and deviation of the rows that have a value; a constant column keeps its unit") {
  std::vector<OwnedRequest> log(4, minimal());
  log[0].candidates[0].dense = {1, 7};
  log[1].candidates[0].dense = {3, 7};
  log[2].candidates[0].dense = {8, 7};
  const TemporaryPath file("scale.safetensors");
  pack(file.path(), log);
  const Dataset d(file.path());
  CHECK(d.features().item_dense.mean == std::vector<float>{4, 7});
  CHECK(d.features().item_dense.deviation[0] == doctest::Approx(std::sqrt(26.0 / 3)));
  CHECK(d.features().item_dense.deviation[1] == 1.0f);
  BatchBuilder builder(d.features(), {});
  builder.attach(d);
  Batch batch;
  builder.build(std::vector<std::int64_t>{0, 3}, batch);
  CHECK(batch.dense[1] == 0.0f);
  CHECK(batch.dense[2] == 1.0f);
  CHECK(std::vector<float>(batch.dense.begin() + 3, batch.dense.end()) == std::vector<float>{0, 0, 0});  // missing
}

TEST_CASE("a damaged file is an error and never a crash") {
  const TemporaryPath file("intact.safetensors"), damaged("damaged.safetensors");
  pack(file.path(), some_log(30));
  const std::string intact = file.bytes();
  std::uint64_t header = 0;
  std::memcpy(&header, intact.data(), 8);
  RandomStream random(31, "damage");
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string bytes = intact;
    const std::size_t at = 8 + header + random.below(bytes.size() - 8 - header);
    const std::size_t width = std::min<std::size_t>(1 + random.below(8), bytes.size() - at);
    for (std::size_t k = 0; k < width; ++k) bytes[at + k] = static_cast<char>(random.bits());
    std::ofstream(damaged.path(), std::ios::binary) << bytes;
    try {
      const Dataset d(damaged.path());
      BatchBuilder builder(d.features(), {});
      builder.attach(d);
      Batch batch;
      for (std::int64_t r = 0; r < d.size(); ++r) builder.build(std::vector<std::int64_t>{r}, batch);
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::model);
      ++refused;
    }
  }
  CHECK(refused > 50);
}
