#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/readers.h"
#include "engine/base/error.h"
#include "tests/base/temporary_folder.h"

using namespace piano;
using namespace piano::data;

namespace {

const std::string kHeader = "user_id,session_id,timestamp,step,action_type,reference,platform,city,device,current_filters,impressions,prices\n";

WriterOptions everything_is_test() {
  WriterOptions options;
  options.split = SplitKind::none;
  return options;
}

struct Outcome {
  std::string error;
  ReadReport report;
};

Outcome read(const TemporaryFolder& folder, const std::string& rows, OnError on_error = OnError::stop) {
  write_all(folder / "in.csv", rows);
  DatasetWriter writer(folder / "out.safetensors", everything_is_test());
  ReadOptions options;
  options.on_error = on_error;
  Outcome outcome;
  try {
    outcome.report = read_trivago({folder / "in.csv"}, options, writer);
    if (outcome.report.requests > 0) writer.commit();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::data);
    outcome.error = error.what();
  }
  return outcome;
}

}  // namespace

TEST_CASE("requests, labels, target and history from the published columns") {
  TemporaryFolder folder;
  const Outcome outcome = read(folder, kHeader +
                                           "u,s1,100,1,search for poi,Main Square,DE,\"Bonn, Germany\",mobile,,,\n"
                                           "u,s1,110,2,interaction item image,7,DE,\"Bonn, Germany\",mobile,5 Star,,\n"
                                           "u,s1,120,3,clickout item,8,DE,\"Bonn, Germany\",mobile,5 Star|Pool,7|8|9,10|20|40\n"
                                           "u,s1,130,4,interaction item info,9,DE,\"Bonn, Germany\",mobile,,,\n"
                                           "u,s1,140,5,clickout item,9,DE,\"Bonn, Germany\",mobile,,9|7,30\n"
                                           "u,s2,90,1,interaction item deals,7,DE,\"Bonn, Germany\",mobile,,,\n"
                                           "u,s2,150,2,clickout item,1,DE,\"Bonn, Germany\",mobile,,2|3,1|1\n");
  CHECK(outcome.error.empty());
  CHECK(outcome.report.rows == 7);
  CHECK(outcome.report.requests == 2);  // the last click-out is not in its own list: an event only

  const Dataset dataset(folder / "out.safetensors");
  REQUIRE(dataset.size() == 2);
  CHECK(dataset.id(0) == "u/s1/3");
  CHECK(dataset.query(0) == "city:Bonn, Germany ref:Main Square filter:5 Star filter:Pool");
  CHECK(dataset.query(1) == "city:Bonn, Germany ref:Main Square");
  CHECK(dataset.target(0) == 1);
  CHECK(dataset.target(1) == 0);
  const std::vector<std::uint8_t> clicks(dataset.clicks().begin(), dataset.clicks().end());
  const std::vector<std::uint8_t> conversions(dataset.conversions().begin(), dataset.conversions().end());
  CHECK(clicks == std::vector<std::uint8_t>{0, 1, 1, 1, 0});  // 7 was touched before step 3 only
  CHECK(conversions == std::vector<std::uint8_t>{0, 1, 1, 1, 0});
  CHECK(dataset.history_size(0) == 3);  // two rows of this session, and the earlier one of the session that comes later in the file
  CHECK(dataset.history_size(1) == 5);
}

TEST_CASE("bad rows say where and why, and can be skipped") {
  TemporaryFolder folder;
  const std::string good = "u,s,100,1,clickout item,7,DE,Bonn,mobile,,7|8,1|2\n";
  const std::string later = "u,s,100,3,clickout item,7,DE,Bonn,mobile,,7|8,1|2\n";
  struct Bad {
    std::string row, place, reason;
  };
  const Bad bad[] = {
      {"u,s,100,2,clickout item,7,DE,Bonn\n", "1", "expected 12 cells, got 8"},
      {"u,s,1e3,2,clickout item,7,DE,Bonn,mobile,,7|8,1|2\n", "5", "expected a timestamp in seconds, got \"1e3\""},
      {"u,s,100,x,clickout item,7,DE,Bonn,mobile,,7|8,1|2\n", "9", "expected a whole number as step"},
      {",s,100,2,clickout item,7,DE,Bonn,mobile,,7|8,1|2\n", "1", "expected a user_id, got nothing"},
      {"u,s,100,2,clickout item,7,DE,\"Bonn,mobile,,7|8,1|2\n", "30", "a quoted cell does not end"},
      {"u,s,100,2,clickout item,7,DE,B\xffnn,mobile,,7|8,1|2\n", "31", "broken UTF-8"},
      {"u,s,100,2,clickout item,7,DE,Bonn,mobile,,7|7,1|2\n", "43", "\"7\" is already candidates[0]"},
      {"u,s,100,2,clickout item,7,DE,Bonn,mobile,,7|8,1|nan\n", "43", "expected a price, got \"nan\""},
      {good, "43", "id: the request id \"u/s/1\" was seen before"},
  };
  for (const Bad& b : bad) {
    CAPTURE(b.row);
    const Outcome stopped = read(folder, kHeader + good + b.row + later);
    CHECK(stopped.error.find(folder / "in.csv" + ":3:" + b.place + ": ") == 0);
    CHECK(stopped.error.find(b.reason) != std::string::npos);
    const Outcome skipped = read(folder, kHeader + good + b.row + later, OnError::skip);
    CHECK(skipped.error.empty());
    CHECK(skipped.report.requests == 2);
    CHECK(skipped.report.rejected == 1);
    CHECK(skipped.report.first_rejection == stopped.error);
  }
}

TEST_CASE("a wrong header is never skipped") {
  TemporaryFolder folder;
  std::string header = kHeader;
  header.replace(header.find("step"), 4, "place");
  for (const OnError on_error : {OnError::stop, OnError::skip})
    CHECK(read(folder, header, on_error).error.find("as column 4 of the header, got \"place\"") != std::string::npos);
  CHECK(read(folder, "user_id\n").error.find("expected \"session_id\" as column 2 of the header, got nothing") != std::string::npos);
}

TEST_CASE("the real log: requests and both heuristics agree with the figures made by hand") {
  const char* folder_name = std::getenv("PIANO_DATA");
  const std::string path = std::string(folder_name ? folder_name : "../shared/data") + "/trivago/sessions.csv.gz";
  if (!std::filesystem::exists(path)) {
    MESSAGE("not run: " << path << " is not there (set PIANO_DATA)");
    return;
  }
  TemporaryFolder folder;
  DatasetWriter writer(folder / "trivago.safetensors", everything_is_test());
  const ReadReport report = read_trivago({path}, {}, writer);
  writer.commit();
  CHECK(report.rows == 82108);
  CHECK(report.requests == 10957);
  CHECK(report.rejected == 0);

  const Dataset dataset(folder / "trivago.safetensors");
  BatchBuilder builder(dataset.features(), {});
  builder.attach(dataset);
  Batch batch;
  double shown = 0, last_touched = 0;
  for (std::int64_t request = 0; request < dataset.size(); ++request) {
    builder.build({&request, 1}, batch);
    const auto target = static_cast<std::size_t>(dataset.target(request));
    std::size_t before = 0;  // candidates touched later than the target; among equals the shown order
    for (std::size_t i = 0; i < batch.recency.size(); ++i) {
      const bool later = batch.recency[i] > batch.recency[target], equal = batch.recency[i] == batch.recency[target];
      before += later || (equal && i < target) ? 1 : 0;
    }
    shown += 1.0 / static_cast<double>(target + 1);
    last_touched += 1.0 / static_cast<double>(before + 1);
  }
  const auto requests = static_cast<double>(dataset.size());
  CHECK(std::round(shown / requests * 1e4) == 4512);
  CHECK(std::round(last_touched / requests * 1e4) == 6072);
}
