#include <doctest/doctest.h>

#include <cmath>

#include "tests/data/reading.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

// Features of the document called `name`.
std::vector<float> dense_of(const Dataset& d, std::int64_t r, const std::string& name) {
  for (std::int64_t c = d.candidate_begin(r); c < d.candidate_end(r); ++c)
    if (d.item(c) == name) return {d.columns().dense[c].begin(), d.columns().dense[c].end()};
  return {};
}

}  // namespace

TEST_CASE("LETOR: qid, sparse features, comments, grades") {
  TemporaryFolder folder;
  write_all(folder / "in", "2 qid:10 1:0.5 3:-2e-1 # doc = A\n0 qid:10 1:1\n\n1 qid:10 2:7\n0 qid:11 1:1.79769313486231570E+308 2:3\n");
  const Reading reading = run(read_letor, folder, {folder / "in"});
  CHECK(reading.error == "");
  CHECK(reading.report.rows == 4);
  CHECK(reading.report.requests == 2);
  const Dataset d(folder / "out.safetensors");
  CHECK(d.id(0) == "10");
  CHECK(labels_by_item(d, 0) == std::vector<std::string>{"10.1++", "10.2", "10.3+"});
  CHECK(dense_of(d, 0, "10.1") == std::vector<float>{0.5f, 0, -0.2f});
  CHECK(dense_of(d, 0, "10.3") == std::vector<float>{0, 7, 0});
  CHECK(dense_of(d, 1, "11.1") == std::vector<float>{0, 3, 0});  // no float can hold it: absent
}

TEST_CASE("LETOR: LightGBM's list sizes beside the file, and parts by file") {
  TemporaryFolder folder;
  write_all(folder / "a", "1 1:1\n0 1:2\n0 2:3\n");
  write_all(folder / "a.query", "2\n1\n");
  write_all(folder / "b", "1 3:1\n0 1:2\n");
  write_all(folder / "b.query", "2\n");
  ReadOptions options;
  options.parts = {Split::train, Split::test};
  const Reading reading = run(read_letor, folder, {folder / "a", folder / "b"}, SplitKind::given, options);
  CHECK(reading.error == "");
  const Dataset d(folder / "out.safetensors");
  REQUIRE(d.size() == 3);
  CHECK(d.id(1) == "a/2");
  CHECK(labels_by_item(d, 2) == std::vector<std::string>{"b/1.1+", "b/1.2"});
  CHECK(d.requests(Split::train) == std::vector<std::int64_t>{0, 1});
  CHECK(d.requests(Split::test) == std::vector<std::int64_t>{2});
  CHECK(d.columns().dense.width == 3);

  write_all(folder / "a.query", "2\n");
  CHECK(run(read_letor, folder, {folder / "a"}).error.find("its rows are fewer than those of") != std::string::npos);
  write_all(folder / "a.query", "2\n2\n");
  CHECK(run(read_letor, folder, {folder / "a"}).error.find("its rows are more than those of") != std::string::npos);
  write_all(folder / "a.query", "2\nx\n");
  CHECK(run(read_letor, folder, {folder / "a"}).error == folder / "a.query:2:1: expected a number of rows, got \"x\"");
}

TEST_CASE("LETOR: bad rows say where and why, and can be skipped") {
  TemporaryFolder folder;
  struct Bad {
    std::string row, place, reason;
  };
  const Bad bad[] = {
      {"0 1:5\n", "3", "expected qid:<query>, or a file of list sizes"},
      {"x qid:1 1:5\n", "1", "expected a whole number as label, got \"x\""},
      {"1.5 qid:1 1:5\n", "1", "expected a whole number as label, got \"1.5\""},
      {"0 qid:1 1:5 0:3\n", "13", "expected <feature from 1 to 10000>:<number>, got \"0:3\""},
      {"0 qid:1 2:nan\n", "9", "expected <feature from 1 to 10000>:<number>, got \"2:nan\""},
      {"0 qid:1 7\n", "9", "expected <feature from 1 to 10000>:<number>, got \"7\""},
  };
  const std::string good = "1 qid:1 1:5\n0 qid:1 2:1\n";
  for (const Bad& b : bad) {
    CAPTURE(b.reason);
    write_all(folder / "in", good + b.row + "0 qid:1 1:3\n");
    const Reading stopped = run(read_letor, folder, {folder / "in"});
    CHECK(stopped.error.find(folder / "in:3:" + b.place + ": " + b.reason) == 0);
    const Reading skipped = run(read_letor, folder, {folder / "in"}, SplitKind::none, skipping());
    CHECK(skipped.error == "");
    CHECK(skipped.report.rejected == 1);
    CHECK(skipped.report.first_rejection == stopped.error);
  }
}

TEST_CASE("LETOR: LightGBM's example") {
  const std::string path = real_data("fixtures/lambdarank/");
  if (!std::filesystem::exists(path)) {
    MESSAGE("not run: " << path << " is not there (set PIANO_DATA)");
    return;
  }
  TemporaryFolder folder;
  ReadOptions options;
  options.parts = {Split::train, Split::test};
  const Reading reading = run(read_letor, folder, {path + "rank.train.gz", path + "rank.test.gz"}, SplitKind::given, options);
  CHECK(reading.error == "");
  const Dataset d(folder / "out.safetensors");
  CHECK(d.requests(Split::train).size() == 201);
  CHECK(d.requests(Split::test).size() == 50);
  CHECK(d.clicks().size() == 3005 + 768);
  CHECK(d.columns().dense.width == 300);
  CHECK(d.candidate_end(0) == 1);
  CHECK(dense_of(d, 0, "rank.train.gz/1.1")[9] == 0.89f);
}
