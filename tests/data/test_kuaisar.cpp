#include <doctest/doctest.h>

#include "tests/data/reading.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

const std::string kSearchHeader = "user_id,search_session_id,search_session_time,search_session_timestamp,keyword,search_source,item_id,click_cnt,item_type\n";
const std::string kRecHeader = "user_id,item_id,playing_time,duration_ms,time,timestamp,click,forward,like,follow,search,search_item_related\n";
const std::string kItems = "item_id,caption,author_id,item_type,upload_time,first_level_category_id,second_level_category_id,third_level_category_id,"
                           "fourth_level_category_id\n100,\"[1, 2]\",9,NORMAL,2023-04-22,5,50,0,0\n101,[],0,AD,2023-04-22,6,60,600,0\n";
const std::string kUsers = "user_id,search_active_level,rec_active_level,onehot_feat1,onehot_feat2\n1,3,2,0,7\n";

std::string search(const std::string& session, const std::string& seconds, const std::string& keyword, const std::string& item, int clicks) {
  return "1," + session + ",2023-05-22 21:58:52," + seconds + "000,\"" + keyword + "\",USER_INPUT," + item + "," + std::to_string(clicks) + ",VIDEO\n";
}
std::string recommended(const std::string& item, const std::string& seconds, int click, int like) {
  return "1," + item + ",60792.0,45400.0,2023-05-22 15:53:20," + seconds + "000.0," + std::to_string(click) + ",0," + std::to_string(like) + ",0,0,0\n";
}

Reading read(const TemporaryFolder& folder, const std::string& searches, const std::string& recommendations, const ReadOptions& options = {}) {
  write_all(folder / "src_inter.csv", kSearchHeader + searches);
  write_all(folder / "rec_inter.csv", kRecHeader + recommendations);
  write_all(folder / "item_features.csv", kItems);
  write_all(folder / "user_features.csv", kUsers);
  return run(read_kuaisar, folder,
             {folder / "src_inter.csv", folder / "rec_inter.csv", folder / "item_features.csv", folder / "user_features.csv"}, SplitKind::none, options);
}

}  // namespace

TEST_CASE("KuaiSAR: sessions, later likes as conversions, both histories, fields") {
  TemporaryFolder folder;
  // Session 1: 100 clicked and liked later, 101 clicked and liked before only, 102 liked later but not clicked. Session 2 in between its rows.
  const Reading reading = read(folder,
                               search("1", "1000", "[20, 34, 3]", "100", 1) + search("1", "1000", "[20, 34, 3]", "101", 2) +
                                   search("2", "2000", "[]", "103", 0) + search("1", "1000", "[20, 34, 3]", "102", 0) +
                                   search("2", "2000", "[]", "100", 0) + search("1", "1000", "[20, 34, 3]", "100", 0),
                               recommended("100", "500", 1, 0) + recommended("101", "600", 0, 1) + recommended("102", "1500", 0, 1) +
                                   recommended("100", "1600", 1, 1) + recommended("103", "700", 0, 0));
  CHECK(reading.error == "");
  CHECK(reading.report.rows == 6 + 5 + 2 + 1);
  CHECK(reading.report.requests == 2);
  const Dataset d(folder / "out.safetensors");
  CHECK(d.id(0) == "1/1");
  CHECK(d.time(0) == 1000);
  CHECK(d.query(0) == "20 34 3");
  CHECK(d.query(1) == "");
  CHECK(labels_by_item(d, 0) == std::vector<std::string>{"100++", "101+", "102"});
  CHECK(labels_by_item(d, 1) == std::vector<std::string>{"100", "103"});  // a list without clicks
  CHECK(history_of(d, 0) == std::vector<std::string>{"-|100|play|500", "-|101|like|600"});
  std::vector<std::string> later = history_of(d, 1);
  std::sort(later.begin(), later.end());
  CHECK(later == std::vector<std::string>{"-|100|like|1600", "-|100|play|500", "-|101|like|600", "-|102|like|1500", "20 34 3|100|click|1000",
                                          "20 34 3|101|click|1000"});  // that 100 converts is known later only
  CHECK(field_of(d, 0, "100", "author") == "9");
  CHECK(field_of(d, 0, "101", "author") == "");
  CHECK(field_of(d, 0, "101", "category_3") == "600");
  CHECK(field_of(d, 0, "101", "type") == "AD");
  CHECK(field_of(d, 0, "102", "type") == "VIDEO");
  CHECK(d.columns().strings.context_fields.names == std::vector<std::string>{"source"});
  CHECK(d.columns().strings.user_fields.names.size() == 4);
}

TEST_CASE("KuaiSAR: bad rows say where and why, and can be skipped") {
  TemporaryFolder folder;
  const std::string good = search("1", "1000", "[20]", "100", 1), recommendation = recommended("100", "500", 1, 0);
  struct Bad {
    std::string searches, recommendations, place, reason;
  };
  const Bad bad[] = {
      {"1,2,x\n", "", "src_inter.csv:3:1", "expected 9 cells as in the header, got 3"},
      {search("2", "x", "[20]", "100", 1), "", "src_inter.csv:3:25", "expected a time in milliseconds, got \"x000\""},
      {search("2", "1000", "20", "100", 1), "", "src_inter.csv:3:33", "expected a list of words like [20, 34, 3], got \"20\""},
      {search("2", "1000", "[20]", "", 1), "", "src_inter.csv:3:51", "expected an id, got nothing"},
      {search("2", "1000", "[20]", "100", -1), "", "src_inter.csv:3:55", "expected a count, got \"-1\""},
      {"", "1,100,1,1,t,5,x,0,0,0,0,0\n", "rec_inter.csv:3:15", "expected a count, got \"x\""},
      {"", "1,\"100,1,1,t,5,1,0,0,0,0,0\n", "rec_inter.csv:3:3", "a quoted cell does not end on its line"},
  };
  for (const Bad& b : bad) {
    CAPTURE(b.reason);
    const Reading stopped = read(folder, good + b.searches, recommendation + b.recommendations);
    CHECK(stopped.error == folder / b.place + ": " + b.reason);
    const Reading skipped = read(folder, good + b.searches, recommendation + b.recommendations, skipping());
    CHECK(skipped.error == "");
    CHECK(skipped.report.requests == 1);
    CHECK(skipped.report.rejected == 1);
    CHECK(skipped.report.first_rejection == stopped.error);
  }
  CHECK(run(read_kuaisar, folder, {folder / "src_inter.csv"}).error.find("rec_inter.csv is missing") != std::string::npos);
  write_all(folder / "social_network.csv", "user_id,user_follow_id\n");
  CHECK(run(read_kuaisar, folder, {folder / "social_network.csv"}).error.find(":1:1: expected the header of KuaiSAR's") != std::string::npos);
}
