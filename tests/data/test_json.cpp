#include <bit>
#include <doctest/doctest.h>

#include <fstream>
#include <string>
#include <vector>

#include "data/request_json.h"
#include "engine/base/error.h"

using namespace piano;
using namespace piano::data;

namespace {

std::string error_of(RequestParser& parser, const std::string& line) {
  try {
    parser.parse(line);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::data);
    return error.what();
  }
  return "no error";
}
std::string error_of(const std::string& line) {
  RequestParser parser;
  return error_of(parser, line);
}
std::string with_candidate(const std::string& members) { return R"({"candidates":[{"id":"a","dense":[1]},{"id":"b",)" + members + "}]}"; }

// The first ```json block of a page.
std::string json_block(const std::string& path) {
  std::ifstream in(path);
  std::string line, block;
  while (std::getline(in, line) && line != "```json") {}
  while (std::getline(in, line) && line != "```") block += line + "\n";
  return block;
}

}  // namespace

TEST_CASE("the documented example means what the page says") {
  RequestParser parser;
  const std::string text = json_block("docs/requests.md");
  const Request& request = parser.parse(text);
  CHECK(request.id == "r-17");
  CHECK(*request.time == 1690000000);
  CHECK(request.user == "u-42");
  REQUIRE(request.user_fields.size() == 1);
  CHECK(request.user_fields[0].name == "country");
  CHECK(request.user_fields[0].values[0] == "se");
  CHECK(request.user_dense[0] == 0.3f);
  CHECK(request.query.text == "love story");
  CHECK(request.context[0].values[0] == "phone");
  CHECK(request.has_history);
  REQUIRE(request.history.size() == 1);
  CHECK(*request.history[0].time == 1689990000);
  CHECK(request.history[0].query.text == "workout rock");
  CHECK(request.history[0].item == "t-9");
  CHECK(request.history[0].action == "play");
  CHECK(request.history[0].fields[0].values[0] == "a-3");
  REQUIRE(request.candidates.size() == 2);
  const Candidate& first = request.candidates[0];
  CHECK(first.id == "t-1");
  CHECK(*first.score == 0.31f);
  REQUIRE(first.fields.size() == 2);
  REQUIRE(first.fields[1].values.size() == 2);
  CHECK(first.fields[1].values[1] == "country");
  CHECK(first.dense[0] == 1.2f);
  CHECK(first.vector[1] == 0.2f);
  CHECK(*first.value == 1.0f);
  CHECK(*first.click);
  CHECK_FALSE(*first.conversion);
  CHECK_FALSE(first.position.has_value());
  CHECK(*request.candidates[1].position == 0);
  CHECK_FALSE(request.candidates[1].value.has_value());
  CHECK(request.target == "t-1");
}

TEST_CASE("the example lines come back to the byte") {
  std::ifstream in("tests/data/example_requests.jsonl");
  REQUIRE(in.good());
  RequestParser parser;  // one for all: nothing of a line may survive in the next
  std::string line;
  int lines = 0;
  for (; std::getline(in, line); ++lines) CHECK(to_json(parser.parse(line)) == line);
  CHECK(lines == 4);
}

TEST_CASE("floats round-trip") {
  RequestParser parser;
  for (const float value : {0.1f, 1.0f / 3.0f, 1e-38f, 3.4028235e38f, -16777217.0f, 1e-45f, -0.0f}) {
    const float dense[] = {value};
    Candidate candidate;
    candidate.id = "a";
    candidate.dense = dense;
    Request request;
    request.candidates = {&candidate, 1};
    const float read = parser.parse(to_json(request)).candidates[0].dense[0];
    CHECK(std::bit_cast<std::uint32_t>(read) == std::bit_cast<std::uint32_t>(value));
  }
}

TEST_CASE("what is missing is missing, and term ids may be integers") {
  RequestParser parser;
  const std::string line = R"({"query":[20,"x",-3],"candidates":[{"id":"a","fields":{"genre":[]}}]})";
  const Request& request = parser.parse(line);
  CHECK(request.id.empty());
  CHECK(request.user.empty());
  CHECK_FALSE(request.time.has_value());
  CHECK_FALSE(request.has_history);
  REQUIRE(request.query.terms.size() == 3);
  CHECK(request.query.terms[0] == "20");
  CHECK(request.query.terms[2] == "-3");
  CHECK(request.candidates[0].fields[0].values.empty());
  CHECK_FALSE(request.candidates[0].click.has_value());
  CHECK(parser.parse(R"({"history":[],"candidates":[{"id":"a"}]})").has_history);
}

TEST_CASE("what breaks the shape is named with its path") {
  CHECK(error_of("3") == "expected an object, got 3");
  CHECK(error_of("{}") == "expected \"candidates\"");
  CHECK(error_of(R"({"candidates":7})") == "candidates: expected a list of candidates, got 7");
  CHECK(error_of(R"({"candidates":[{}]})") == "candidates[0]: expected an \"id\"");
  CHECK(error_of(R"({"candidates":[{"id":""}]})") == "candidates[0].id: expected a string that is not empty, got \"\"");
  CHECK(error_of(R"({"candidates":[{"id":"a"}],"user":3})") == "user: expected a string or an object, got 3");
  CHECK(error_of(R"({"candidates":[{"id":"a"}],"time":1.5})") == "time: expected a whole number of seconds, got 1.5");
  CHECK(error_of(R"({"candidates":[{"id":"a"}],"query":[1.5]})") == "query[0]: expected a whole number or a string, got 1.5");
  CHECK(error_of(R"({"history":[{"time":1},{"query":4}],"candidates":[]})") == "history[1].query: expected text or a list of term ids, got 4");
  CHECK(error_of(R"({"context":{"device":[1]},"candidates":[]})") == "context.device[0]: expected a string, got 1");
  CHECK(error_of(with_candidate(R"("click":2)")) == "candidates[1].click: expected 0 or 1, got 2");
  CHECK(error_of(with_candidate(R"("click":true)")) == "candidates[1].click: expected 0 or 1, got true");
  CHECK(error_of(with_candidate(R"("score":null)")) == "candidates[1].score: expected a number, got null");
  CHECK(error_of(with_candidate(R"("position":0)")) == "candidates[1].position: expected a position from 1, or null, got 0");
  CHECK(error_of(with_candidate(R"("dense":{"x":1})")) == "candidates[1].dense: expected a list of numbers, got an object");
}

TEST_CASE("an unknown key names the nearest known one, a doubled key is no choice") {
  CHECK(error_of(R"({"querry":"x","candidates":[]})") == "querry: unknown key; the nearest known one is \"query\"");
  CHECK(error_of(with_candidate(R"("convertion":1)")) == "candidates[1].convertion: unknown key; the nearest known one is \"conversion\"");
  CHECK(error_of(R"({"id":"a","id":"b","candidates":[]})") == "column 11: the key \"id\" comes twice");
}

TEST_CASE("numbers that are not finite are refused") {
  CHECK(error_of(with_candidate(R"("score":1e999)")) == "column 57: a number out of range");
  CHECK(error_of(with_candidate(R"("score":1e39)")) == "candidates[1].score: expected a number of at most 3.4e38, got 1e+39");
  CHECK(error_of(with_candidate(R"("score":NaN)")).find("column 5") == 0);
  CHECK(error_of(with_candidate(R"("score":-Infinity)")).find("column 5") == 0);
}

TEST_CASE("broken UTF-8 is refused where it stands") {
  for (const char* bytes : {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xe2\x82", "\xf5\x80\x80\x80"}) {
    const std::string message = error_of(std::string(R"({"id":")") + bytes + R"(","candidates":[{"id":"a"}]})");
    CHECK(message.find("column ") == 0);
    CHECK(message.find("UTF-8") != std::string::npos);
  }
}

TEST_CASE("places in the line: of errors, of paths, and the id of a line that breaks off") {
  RequestParser parser;
  const std::string line = with_candidate(R"("click": 2)");
  error_of(parser, line);
  CHECK(parser.error_column() == static_cast<std::int64_t>(line.find('2')) + 1);

  const std::string good = with_candidate(R"("dense": [1, 2])");
  parser.parse(good);
  CHECK(parser.column_of("candidates[1].dense: expected 1 numbers, got 2") == static_cast<std::int64_t>(good.find("[1, 2]")) + 1);
  CHECK(parser.column_of("candidates[1].vector: no such thing") == static_cast<std::int64_t>(good.find(R"({"id":"b")")) + 1);

  CHECK(error_of(parser, R"({"id":"r-5","candidates":[{"id")").find("column ") == 0);
  CHECK(parser.last_id() == "r-5");
  CHECK(error_of(parser, "{").find("column ") == 0);
  CHECK(parser.last_id().empty());
  CHECK(error_of(parser, std::string(100000, '[')) == "column 17: nested more than 16 deep");
}
