#include <doctest/doctest.h>

#include "tests/data/reading.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

const std::string kSearches =
    "query\tcandidate_wid_list\tcandidate_label_list\thistory_qry_list\thistory_wid_list\thistory_type_list\thistory_time_list\n";
const std::string kProducts =
    "wid\tname\tbrand_id\tbrand_name\tcate_id_1\tcate_name_1\tcate_id_2\tcate_name_2\tcate_id_3\tcate_name_3\tcate_id_4\tcate_name_4\tshop_id\n"
    "7\t1\x18" "2\tb1\tx\t10\tx\t20\tx\t30\tx\t-1\tx\ts1\n"
    "8\t1\tb2\tx\t10\tx\t20\tx\t30\tx\t40\tx\ts2\n";
const std::string kGood = "5\x18" "6\t7_8_9\t3.0_1.0_0.0\t-1_4\t7_8\tCLICK_ORD\t0_60_3600\n";

Reading read(const TemporaryFolder& folder, const std::string& rows, const ReadOptions& options = {}) {
  write_all(folder / "searches", kSearches + rows);
  write_all(folder / "products", kProducts);
  return run(read_jdsearch, folder, {folder / "searches", folder / "products"}, SplitKind::none, options);
}

}  // namespace

TEST_CASE("JDsearch: labels, given histories with times from gaps, and fields of products") {
  TemporaryFolder folder;
  const Reading reading = read(folder, kGood + "-1\t8_7\t0.0_2.0\t\t\t\t0\n");
  CHECK(reading.error == "");
  CHECK(reading.report.rows == 4);
  const Dataset d(folder / "out.safetensors");
  REQUIRE(d.size() == 2);
  CHECK(d.query(0) == "5 6");
  CHECK(d.query(1) == "");
  CHECK(d.time(0) == 3660);
  CHECK(labels_by_item(d, 0) == std::vector<std::string>{"7++", "8+", "9"});
  CHECK(labels_by_item(d, 1) == std::vector<std::string>{"7+", "8"});
  CHECK(history_of(d, 0) == std::vector<std::string>{"-|7|CLICK|0", "4|8|ORD|60"});
  CHECK(d.history_size(1) == 0);
  CHECK(field_of(d, 0, "7", "brand") == "b1");
  CHECK(field_of(d, 0, "7", "category_4") == "");
  CHECK(field_of(d, 0, "8", "category_4") == "40");
  CHECK(field_of(d, 0, "8", "shop") == "s2");
  CHECK(field_of(d, 0, "9", "brand") == "");
}

TEST_CASE("JDsearch: the file's order, positives first, is not the list's") {
  TemporaryFolder folder;
  std::string rows;
  for (int r = 0; r < 60; ++r) rows += "5\t1_2_3_4_5_6\t1.0_0.0_0.0_0.0_0.0_0.0\t7\t7\tCLICK\t0_1\n";
  CHECK(read(folder, rows).error == "");
  const Dataset d(folder / "out.safetensors");
  int first = 0;
  for (std::int64_t r = 0; r < d.size(); ++r) first += d.clicks()[static_cast<std::size_t>(d.candidate_begin(r))];
  CHECK(first > 2);
  CHECK(first < 25);
}

TEST_CASE("JDsearch: bad rows say where and why, and can be skipped") {
  TemporaryFolder folder;
  struct Bad {
    std::string row, place, reason;
  };
  const Bad bad[] = {
      {"5\t7_8\t1.0_0.0\n", "1", "expected 7 cells, got 3"},
      {"5\t7_8\t1.0\t4\t7\tCLICK\t0_1\n", "7", "expected 2 labels, one a candidate, got 1"},
      {"5\t7_8\t1.0_4.0\t4\t7\tCLICK\t0_1\n", "11", "expected a label of 0 (none), 1 (click), 2 (cart) or 3 (purchase), got \"4.0\""},
      {"5\t7_8\t1.0_0.0\t4\t7\tCLICK\t0\n", "25", "expected 2 entries for 1 past items, got 1"},
      {"5\t7_8\t1.0_0.0\t4\t7\tCLICK\t0_x\n", "27", "expected a time gap in seconds, got \"x\""},
      {"5\t7_7\t1.0_0.0\t4\t7\tCLICK\t0_1\n", "3", "candidates[1].id: \"7\" is already candidates[0]"},
      {"5\xff\t7_8\t1.0_0.0\t4\t7\tCLICK\t0_1\n", "2", "broken UTF-8"},
  };
  for (const Bad& b : bad) {
    CAPTURE(b.reason);
    const Reading stopped = read(folder, kGood + b.row + kGood);
    CHECK(stopped.error == folder / "searches" + ":3:" + b.place + ": " + b.reason);
    const Reading skipped = read(folder, kGood + b.row + kGood, skipping());
    CHECK(skipped.report.requests == 2);
    CHECK(skipped.report.rejected == 1);
    CHECK(skipped.report.first_rejection == stopped.error);
  }
  write_all(folder / "products", "7\tx\n");
  CHECK(run(read_jdsearch, folder, {folder / "products"}).error.find(":1:1: expected the header of JDsearch's searches") != std::string::npos);
}

TEST_CASE("JDsearch: the published sample") {
  const std::string path = real_data("fixtures/jdsearch/");
  if (!std::filesystem::exists(path)) {
    MESSAGE("not run: " << path << " is not there (set PIANO_DATA)");
    return;
  }
  TemporaryFolder folder;
  const Reading reading = run(read_jdsearch, folder, {path + "user_behavior_data_sample.txt", path + "product_meta_data_sample.txt"});
  CHECK(reading.error == "");
  CHECK(reading.report.rejected == 0);
  CHECK(reading.report.rows == 3 + 409);
  const Dataset d(folder / "out.safetensors");
  REQUIRE(d.size() == 3);
  CHECK(d.candidate_end(0) - d.candidate_begin(0) == 90);
  CHECK(d.history_size(0) == 182);
  CHECK(d.history_size(2) == 2);
  CHECK(d.query(2) == "2437437 60677689 39206305");
  CHECK(d.time(2) == 27 + 49660);
  CHECK(d.columns().strings.item_fields.names.size() == 6);
}
