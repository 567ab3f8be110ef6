#include <doctest/doctest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "evaluation_fixture.h"
#include "piano/trec.h"

using namespace piano;

namespace {

std::string temporary(const std::string& name) {
  return (std::filesystem::temp_directory_path() / (name + "." + std::to_string(::getpid()))).string();
}

// The file's content; the file is removed.
std::string take(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  file.close();
  std::filesystem::remove(path);
  return text.str();
}

}  // namespace

TEST_CASE("ids become one field each") {
  CHECK(trec_field("user/3/1") == "user/3/1");
  CHECK(trec_field("love story\t50%\n") == "love%20story%0950%25%0A");
  CHECK(trec_field("müsli") == "müsli");
}

TEST_CASE("run and qrels files") {
  test::Lists made;
  made.add(0, {0, 1, 1}, {0, 0, 1}, 1);
  made.add(0, {1, 0}, {0, 0});
  made.lists.labelled[0] = 0;
  made.requests[0] = "a b";
  made.requests[1] = "";
  const Predictions system{"my model", {3, 1, 2, 0.5, 0.7}, {}, {}, {}, {}};
  const std::string path = temporary("piano-trec");

  write_trec_run(path, made.lists, system, TrecGrades::click_plus_conversion, {});
  CHECK(take(path) == "a%20b Q0 i2 1 2 my%20model\na%20b Q0 i1 2 1 my%20model\n#1 Q0 i1 1 2 my%20model\n#1 Q0 i0 2 1 my%20model\n");
  write_trec_qrels(path, made.lists, TrecGrades::click_plus_conversion);
  CHECK(take(path) == "a%20b 0 i1 1\na%20b 0 i2 2\n#1 0 i0 1\n#1 0 i1 0\n");
  write_trec_run(path, made.lists, system, TrecGrades::target, {});
  CHECK(take(path) == "a%20b Q0 i0 1 3 my%20model\na%20b Q0 i2 2 2 my%20model\na%20b Q0 i1 3 1 my%20model\n");
  write_trec_qrels(path, made.lists, TrecGrades::target);
  CHECK(take(path) == "a%20b 0 i0 0\na%20b 0 i1 1\na%20b 0 i2 0\n");
}
