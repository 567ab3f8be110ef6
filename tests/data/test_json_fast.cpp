// The quick reader of requests against its specification, the strict one: whatever it takes, that one takes too, with the same request, to
// the bit.
#include <doctest/doctest.h>

#include <bit>
#include <charconv>
#include <fstream>
#include <string>
#include <vector>

#include "data/request_json.h"
#include "data/request_json_fast.h"
#include "data/request_json_strict.h"
#include "engine/base/error.h"
#include "engine/base/random.h"
#include "tests/support/allocation_counter.h"

using namespace piano;
using namespace piano::data;

namespace {

template <class T, class Same>
bool same_list(std::span<const T> a, std::span<const T> b, Same same) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same);
}
bool same_bits(float a, float b) { return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b); }
bool same_bits(std::optional<float> a, std::optional<float> b) { return a.has_value() == b.has_value() && (!a || same_bits(*a, *b)); }
bool same(std::span<const float> a, std::span<const float> b) {
  return same_list(a, b, [](float x, float y) { return same_bits(x, y); });
}
bool same(std::span<const Field> a, std::span<const Field> b) {
  return same_list(a, b, [](const Field& x, const Field& y) { return x.name == y.name && same_list(x.values, y.values,
      std::equal_to<>()); });
}
bool same(const Query& a, const Query& b) { return a.text == b.text && same_list(a.terms, b.terms, std::equal_to<>()); }
bool same(const Event& a, const Event& b) {
  return a.time == b.time && same(a.query, b.query) && a.item == b.item && a.action == b.action && same(a.fields, b.fields);
}
bool same(const Candidate& a, const Candidate& b) {
  return a.id == b.id && same_bits(a.score, b.score) && same_bits(a.value, b.value) && same(a.fields, b.fields) && same(a.dense, b.dense) &&
         same(a.vector, b.vector) && a.click == b.click && a.conversion == b.conversion && a.position == b.position &&
         same_list(a.conversions, b.conversions, [](const KindLabel& x, const KindLabel& y) { return x.kind == y.kind && x.happened == y.happened; }) &&
         same_list(a.values, b.values, [](const KindValue& x, const KindValue& y) { return x.kind == y.kind && same_bits(x.value, y.value); });
}
bool same(const Request& a, const Request& b) {
  return a.id == b.id && a.time == b.time && a.user == b.user && same(a.user_fields, b.user_fields) && same(a.user_dense, b.user_dense) &&
         same(a.query, b.query) && same(a.context, b.context) && a.has_history == b.has_history && a.target == b.target &&
         same_list(a.history, b.history, [](const Event& x, const Event& y) { return same(x, y); }) &&
         same_list(a.candidates, b.candidates, [](const Candidate& x, const Candidate& y) { return same(x, y); });
}

// Both readers, kept from line to line as in use.
class Readers {
 public:
  bool fast = false, strict = false;  // who took the last line

  void read(const std::string& line) {
    std::string text = line;
    text.append(JsonScanner::kPadding, '\0');
    fast = fast_.read(std::string_view(text).substr(0, line.size()), quick_);
    strict = true;
    try {
      strict_.parse(line);
      strict_.read(exact_);
    } catch (const Error&) {
      strict = false;
    }
    CAPTURE(line);
    if (!fast) return;
    REQUIRE(strict);
    REQUIRE(same(quick_.request, exact_.request));
  }

 private:
  FastRequestReader fast_;
  StrictRequestReader strict_;
  RequestArrays quick_, exact_;
};

std::vector<std::string> seeds() {
  std::vector<std::string> lines;
  for (const char* path : {"tests/data/example_requests.jsonl", "tests/fuzz/seeds/jsonl/full.json", "tests/fuzz/seeds/jsonl/terms.json", "tests/fuzz/seeds/jsonl/kinds.json"}) {
    std::ifstream in(path);
    REQUIRE(in.good());
    for (std::string line; std::getline(in, line);)
      if (!line.empty()) lines.push_back(line);
  }
  lines.push_back("{\"query\":\"\\u00e4\\ud83d\\ude00 \\\"q\\\"\",\"candidates\":[{\"id\":\"\xc3\xa9\",\"score\":-1.5e-7},{\"id\":\"b\"}]}");
  return lines;
}
std::string dense(const std::string& number) { return R"({"candidates":[{"id":"a","dense":[)" + number + "]}]}"; }
std::string named(const std::string& json_string) { return R"({"candidates":[{"id":)" + json_string + "}]}"; }

}  // namespace

TEST_CASE("lines that are fine take the quick way") {
  Readers readers;
  const auto taken = [&](const std::string& line) {
    CAPTURE(line);
    readers.read(line);
    CHECK(readers.fast);
  };
  for (const std::string& line : seeds()) taken(line);
  for (const char* number : {"0", "-0", "-0.0", "7", "-12", "0.1", "1.5e3", "1E+2", "3e-40", "123456789012345678.9", "9007199254740993",
                             "0.30000000000000004", "9223372036854775807", "3.4028235e38", "1.17549435e-38", "2.2250738585072014e-308"})
    taken(dense(number));
  for (const char* text : {R"("plain")", R"("\"\\\/\b\f\n\r\t")", R"("\u0000\u00e9\u20ac\ud83d\ude00\uFFFF")", R"("0123456\n01234567\u0041")",
                           "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\"\x7f\""})
    taken(named(text));
  taken(" { \"candidates\" :\t[ {\r\n\"id\" : \"a\" , \"dense\" : [ 1 , 2 ] , \"position\" : null } ] , \"query\" : [ 7 , -0 , \"x\" ] } \n");
  taken(R"({"candidates":[{"id":"a","conversion":{"save":1,"share":0},"value":{"save":-1.5e2}},{"id":"b","conversion": { "save" : 0 } ,"value":2}]})");
  taken(R"({"candidates":[{"id":"a","fields":{}},{"fields":{"x":[],"y":"z"},"id":"b"}],"history":[{}],"user":{},"time":-5,"query":[]})");
}

TEST_CASE("what is rare or wrong is left to the strict reader, which judges as ever") {
  Readers readers;
  const auto judged = [&](const std::string& line, bool request) {
    CAPTURE(line);
    readers.read(line);
    CHECK_FALSE(readers.fast);
    CHECK(readers.strict == request);
  };
  for (const char* number : {"01", "-01", "+1", "-", ".5", "1.", "1.e3", "1e", "1e+", "0x1", "1e400", "1e39", "-1e39", "3.4028236e38", "NaN",
                             "null", "1 2", "1,", "\"1\""})
    judged(dense(number), false);
  for (const char* number : {"9223372036854775808", "18446744073709551616", "-9223372036854775808", "1e-400"}) judged(dense(number), true);
  for (const char* text : {"\"\"", R"("\ud83d")", R"("\ude00\ud83d")", R"("\ud83d\u0041")", R"("\u12g4")", R"("\u+123")", R"("\x")", "\"a\nb\"",
                           "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xe2\x82\"", "\"\xf5\x80\x80\x80\"", "'a'", "\"a", "\"a\\",
                           "\"a\\u00", "7"})
    judged(named(text), false);
  for (const char* members : {R"("id":"x","id":"y")", R"("\u0069d":"x","id":"y")", R"("id":"x",)", R"("time":1.0)", R"("time":"1")", R"("user":3)",
                              R"("user":{"name":"x"})", R"("querry":"x")", R"("context":{"a":"x","a":"y"})", R"("context":{"":"x"})",
                              R"("context":{"a":""})", R"("context":{"a":[""]})", R"("query":[1.5])", R"("query":[""])", R"("query":null)",
                              R"("history":{})", R"("target":1)"})
    judged("{" + std::string(members) + R"(,"candidates":[{"id":"a"}]})", false);
  for (const char* members : {R"("click":2)", R"("click":1.0)", R"("click":true)", R"("click":-1)", R"("click":1,"click":1)", R"("position":0)",
                              R"("conversion":{})", R"("conversion":{"a":2})", R"("conversion":{"a":1,"a":1})", R"("conversion":{"a":1,})",
                              R"("conversion":[1])", R"("value":{})", R"("value":{"a":null})", R"("value":{"a":1e39})",
                              R"("position":4294967297)", R"("position":nul)", R"("position":1.0)", R"("score":null)", R"("id":"b")"})
    judged(R"({"candidates":[{"id":"a",)" + std::string(members) + "}]}", false);

  for (const char* members : {R"("conversion":{"":1})", R"("value":{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0})"})  // for RequestChecker
    judged(R"({"candidates":[{"id":"a",)" + std::string(members) + "}]}", true);

  const std::string good = named("\"a\"");
  judged("\xef\xbb\xbf" + good, true);
  judged(good + "x", false);
  judged(good + "{}", false);
  judged(good.substr(0, good.size() - 1), false);
  for (const char* line : {"", "3", "{}", "[]", R"({"candidates":7})", R"({"candidates":[7]})"}) judged(line, false);
  readers.read(good + std::string(" \0x\xff", 4));  // nlohmann's parser ends at a zero byte
  CHECK_FALSE(readers.fast);
  std::string many = R"({"context":{)";
  for (int i = 0; i < 40; ++i) many += "\"f" + std::to_string(i) + "\":\"x\",";
  judged(many + R"("last":"x"},"candidates":[{"id":"a"}]})", true);
}

TEST_CASE("numbers of every length and size are the same bits") {
  RandomStream random(5, "numbers");
  Readers readers;
  int taken = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string number = random.below(2) != 0 ? "-" : "";
    const auto digits = [&](std::uint64_t most) {
      for (std::uint64_t n = 1 + random.below(most); n > 0; --n) number += static_cast<char>('0' + random.below(10));
    };
    digits(random.below(4) == 0 ? 21 : 3);
    if (random.below(3) != 0) number += '.', digits(random.below(4) == 0 ? 25 : 6);
    if (random.below(4) == 0) number += random.below(2) != 0 ? "e-" : "E", digits(2);
    readers.read(dense(number));
    taken += readers.fast;

    const std::string text = number + std::string(JsonScanner::kPadding, '\0');
    JsonScanner scanner;
    scanner.start(std::string_view(text).substr(0, number.size()));
    JsonScanner::Number read;
    if (!scanner.number(read)) continue;
    double value = 0;
    std::from_chars(number.data(), number.data() + number.size(), value);
    CHECK(read.value == value);  // as double: a float would hide the last bits
  }
  CHECK(taken > 1000);
}

TEST_CASE("lines with changed bytes are judged alike") {
  RandomStream random(6, "mutations");
  Readers readers;
  const std::vector<std::string> lines = seeds();
  const std::string_view letters = "\"\\{}[]:,.-+eE0123456789 \tnultrfasid\x80\xc3\xa9\xed\xff\x1f\n";
  int taken = 0, refused = 0, rare = 0;
  for (int i = 0; i < 8000; ++i) {
    std::string line = lines[random.below(lines.size())];
    for (std::uint64_t n = 1 + random.below(2); n > 0; --n) {
      const std::size_t at = random.below(line.size()), length = 1 + random.below(6);
      const char letter = letters[random.below(letters.size())];
      switch (random.below(5)) {
        case 0: line[at] = letter; break;
        case 1: line.insert(at, 1, letter); break;
        case 2: line.erase(at, length); break;
        case 3: line.insert(at, line.substr(random.below(line.size()), length)); break;
        default: line[at] = static_cast<char>(line[at] ^ (1 << random.below(8)));
      }
      if (line.empty()) line = "{";
    }
    readers.read(line);
    taken += readers.fast, refused += !readers.strict, rare += readers.strict && !readers.fast;
  }
  CHECK(taken > 500);
  CHECK(refused > 3000);
  CHECK(rare < taken / 20);  // the quick way is no narrow one
}

TEST_CASE("places are known, and memory is kept, whichever way a line went") {
  RequestParser parser;
  const std::string good = R"({"id":"r","candidates":[{"id":"a"},{"id":"b","dense":[1, 2]}]})";
  const std::string bad = R"({"id":"s","candidates":[{"id":"a","click":2}]})";
  parser.parse(good);
  CHECK(parser.last_id() == "r");
  CHECK(parser.error_column() == 0);
  CHECK_THROWS_WITH(parser.parse(bad), "candidates[0].click: expected 0 or 1, got 2");
  CHECK(parser.last_id() == "s");
  CHECK(parser.error_column() == static_cast<std::int64_t>(bad.find('2')) + 1);
  const Request& request = parser.parse(good);
  CHECK(parser.error_column() == 0);
  CHECK(parser.column_of("candidates[1].dense: expected 1 numbers, got 2") == static_cast<std::int64_t>(good.find("[1, 2]")) + 1);
  CHECK(parser.last_id() == "r");
  CHECK(request.candidates[1].dense[1] == 2);  // still there

  const std::vector<std::string> lines = seeds();
  for (const std::string& line : lines) parser.parse(line);
  const auto before = allocation_count();
  for (const std::string& line : lines) parser.parse(line);
  CHECK(allocation_count() - before == 0);
}
