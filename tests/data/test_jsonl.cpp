#include <doctest/doctest.h>
#include <zlib.h>

#include <string>

#include "data/dataset.h"
#include "data/line_reader.h"
#include "data/readers.h"
#include "engine/base/error.h"
#include "tests/base/temporary_folder.h"

using namespace piano;
using namespace piano::data;

namespace {

const std::string kGood = R"({"candidates":[{"id":"a","click":1,"conversion":0},{"id":"b","click":0,"conversion":0}]})";

const std::string kFirst = R"({"id":"first","candidates":[{"id":"a"}]})";

WriterOptions everything_is_test() {
  WriterOptions options;
  options.split = SplitKind::none;
  return options;
}

struct Outcome {
  std::string error;
  ReadReport report;
};

Outcome read(const TemporaryFolder& folder, const std::string& content, OnError on_error) {
  const std::string in = folder / "in.jsonl";
  write_all(in, content);
  DatasetWriter writer(folder / "out.safetensors", everything_is_test());
  ReadOptions options;
  options.on_error = on_error;
  options.rejects = folder / "rejects";
  Outcome outcome;
  try {
    outcome.report = read_jsonl({in}, options, writer);
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::data);
    outcome.error = error.what();
  }
  return outcome;
}

std::string gzip(const std::string& path, const std::string& content) {
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  return read_all(path);
}

std::string error_while_reading(const std::string& path, std::size_t max_line = kMaxLine) {
  try {
    LineReader reader(path, max_line);
    std::string_view line;
    while (reader.next(line)) {}
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("each bad line stops with file:line:column and a reason, or is skipped into the rejects") {
  TemporaryFolder folder;
  struct Bad {
    std::string line, column, reason;
  };
  const Bad bad[] = {
      {R"({"candidates":[]})", "15", "candidates: expected at least one"},
      {R"({"candidates":[{"id":"a"},{"id":"a"}]})", "33", R"(candidates[1].id: "a" is already candidates[0])"},
      {R"({"candidates":[{"id":"a","click":0,"conversion":1}]})", "49", "candidates[0].conversion: expected at most click = 0, got 1"},
      {R"({"candidates":[{"id":"a","score":1e999}]})", "34", "a number out of range"},
      {R"({"candidates":[{"id":"a","dense":[1,2]},{"id":"b","dense":[1]}]})", "59", "candidates[1].dense: expected 2 numbers, got 1"},
      {R"({"candidates":[{"id":"a"}],"target":"c"})", "37", R"(target: "c" is not among the candidates)"},
      {"{\"id\":\"\xff\",\"candidates\":[{\"id\":\"a\"}]}", "8", "ill-formed UTF-8"},
      {R"({"candidates":[{"id":"a"}])", "27", "syntax error"},
      {R"({"id":"first","candidates":[{"id":"a"}]})", "7", R"(id: the request id "first" was seen before)"},
  };
  for (const Bad& b : bad) {
    CAPTURE(b.line);
    const std::string content = kFirst + "\n\n" + b.line + "\r\n" + kGood + "\n";
    const std::string place = folder / "in.jsonl" + ":3:" + b.column;
    const Outcome stopped = read(folder, content, OnError::stop);
    CHECK(stopped.error.find(place + ": ") == 0);
    CHECK(stopped.error.find(b.reason) != std::string::npos);

    const Outcome skipped = read(folder, content, OnError::skip);
    CHECK(skipped.error.empty());
    CHECK(skipped.report.requests == 2);
    CHECK(skipped.report.rejected == 1);
    CHECK(skipped.report.first_rejection == stopped.error);
    const std::string rejects = read_all(folder / "rejects");
    CHECK(rejects.find(place + "\t") == 0);
    CHECK(rejects.substr(rejects.size() - b.line.size() - 2) == "\t" + b.line + "\n");
  }
}

TEST_CASE("the example lines, plain and gzipped, give the same data set") {
  TemporaryFolder folder;
  const std::string text = read_all("tests/data/example_requests.jsonl");
  gzip(folder / "in.jsonl.gz", text);
  write_all(folder / "in.jsonl", text);
  for (const std::string name : {"in.jsonl", "in.jsonl.gz"}) {
    DatasetWriter writer(folder / name + ".out", everything_is_test());
    std::int64_t last = -1, total = 0;
    ReadOptions options;
    options.progress = [&](std::int64_t done, std::int64_t all, std::int64_t) { last = done, total = all; };
    const ReadReport report = read_jsonl({folder / name}, options, writer);
    CHECK(report.requests == 4);
    CHECK(total > 0);
    CHECK(last == total);
    writer.commit();
  }
  CHECK(read_all(folder / "in.jsonl.out") == read_all(folder / "in.jsonl.gz.out"));
  const Dataset dataset(folder / "in.jsonl.out");
  CHECK(dataset.size() == 4);
}

TEST_CASE("truncated and corrupt gzip files are errors that name the file") {
  TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i * 7919) + kGood + "\n";
  const std::string path = folder / "log.gz", whole = gzip(path, text);
  CHECK(error_while_reading(path) == "no error");
  for (const std::size_t size : {whole.size() - 1, whole.size() - 8, whole.size() / 2, std::size_t{12}}) {
    write_all(path, whole.substr(0, size));
    CHECK(error_while_reading(path).find(path + ": the gzip file is truncated") == 0);
  }
  std::string damaged = whole;
  damaged[damaged.size() - 6] = static_cast<char>(damaged[damaged.size() - 6] ^ 1);  // the checksum
  write_all(path, damaged);
  CHECK(error_while_reading(path).find(path + ": the gzip file is corrupt") == 0);
}

TEST_CASE("a gzip file may have several members, and nothing else behind them") {
  TemporaryFolder folder;
  const std::string path = folder / "log.gz", member = gzip(path, "one\ntwo"), empty = gzip(path, "");
  write_all(path, member + empty + member + empty);
  LineReader reader(path);
  std::string_view line;
  std::string text;
  while (reader.next(line)) text += std::string(line) + "|";
  CHECK(text == "one|twoone|two|");
  CHECK(reader.bytes_done() == reader.bytes_total());
  for (const std::string& junk : {std::string("\n"), std::string(1, '\0'), std::string("{\"id\":1}"), std::string("\x1f")}) {
    write_all(path, member + junk);
    CHECK(error_while_reading(path).find(path + ": the gzip file is ") == 0);
  }
  for (const std::string plain : {"\x1f", "\x1f\n\x8b", "x", ""}) {  // no gzip: two bytes say so
    write_all(path, plain);
    CHECK(error_while_reading(path) == "no error");
  }
}

TEST_CASE("lines of any ending, across blocks, up to the limit") {
  TemporaryFolder folder;
  const std::string path = folder / "lines", big(700000, 'x');
  write_all(path, "a\r\n\n" + big + "\nlast");
  LineReader reader(path);
  std::string_view line;
  REQUIRE(reader.next(line));
  CHECK(line == "a");
  REQUIRE(reader.next(line));
  CHECK(line.empty());
  REQUIRE(reader.next(line));
  CHECK(line == big);
  REQUIRE(reader.next(line));
  CHECK(line == "last");
  CHECK(reader.line() == 4);
  CHECK_FALSE(reader.next(line));
  CHECK(reader.bytes_done() == reader.bytes_total());
  CHECK(error_while_reading(path, 1000) == path + ":3: the line is longer than 1000 bytes");
  CHECK(error_while_reading(folder / "absent").find("cannot open") != std::string::npos);
}
