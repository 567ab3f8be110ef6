// Several kinds of conversion: a line's words, the packed columns, the batch of a model that knows them.
#include <doctest/doctest.h>

#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "data/labels.h"
#include "data/request_json.h"
#include "tests/data/batch_equal.h"
#include "tests/data/reading.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

using Flags = std::vector<int>;

Flags list(std::span<const std::uint8_t> values) { return {values.begin(), values.end()}; }

// One request of user u a line; `candidates` is JSON.
std::string line(int time, const std::string& candidates) {
  return R"({"time":)" + std::to_string(time) + R"(,"user":"u","query":"q","candidates":[)" + candidates + "]}";
}

void pack(const std::string& path, const std::vector<std::string>& lines, SplitKind split = SplitKind::time) {
  WriterOptions options;
  options.split = split;
  options.min_count = 1;
  options.valid_fraction = 0;
  options.test_fraction = 0.3;
  DatasetWriter writer(path, options);
  RequestParser parser;
  for (std::size_t i = 0; i < lines.size(); ++i) writer.add_request(parser.parse(lines[i]), static_cast<std::int64_t>(i), true);
  writer.commit();
}

std::string refusal_of(const std::string& candidate) {
  const TemporaryFolder folder;
  try {
    pack(folder / "d", {R"({"candidates":[)" + candidate + "]}"}, SplitKind::none);
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::data);
    return e.what();
  }
  return "";
}

// What is said in each way that can be.
const std::vector<std::string> kLog{
    line(1, R"({"id":"a","click":1,"conversion":{"save":1,"purchase":0},"value":{"purchase":5}},{"id":"b","click":0})"),
    line(2, R"({"id":"a","click":1,"conversion":{"save":0}},{"id":"b","conversion":{"purchase":1,"save":1},"value":2})"),
    line(3, R"({"id":"a","click":1,"conversion":1,"value":{"save":3}},{"id":"b","click":1,"conversion":{"save":1},"position":null})"),
    line(4, R"({"id":"a","click":1},{"id":"b","conversion":{"save":0}})"),
    line(5, R"({"id":"a","conversion":{"rare":1}})")};

}  // namespace

TEST_CASE("kinds: a line says them and a request says the same line") {
  RequestParser parser;
  for (const std::string text : {R"({"id":"a","value":{"save":1.5,"share":-2},"click":1,"conversion":{"save":1,"share":0}})",
                                 R"({"id":"a","value":2,"conversion":{"a kind \"so\"":1}})", R"({"id":"a","value":{"x":1},"click":1,"conversion":0})"}) {
    const std::string whole = R"({"candidates":[)" + text + "]}";
    CHECK(to_json(parser.parse(whole)) == whole);
  }
  const Candidate& c = parser.parse(R"({"candidates":[{"id":"a","click":1,"conversion":{"save":1,"share":0}}]})").candidates[0];
  CHECK_FALSE(c.conversion.has_value());
  CHECK(conversion_of(c, "save") == 1);
  CHECK(conversion_of(c, "share") == 0);
  CHECK(conversion_of(c, "purchase") == kUnknownLabel);
}

TEST_CASE("kinds: what is wrong with them is said") {
  CHECK(refusal_of(R"({"id":"a","conversion":{}})") == "candidates[0].conversion: expected at least one kind of conversion");
  CHECK(refusal_of(R"({"id":"a","value":{}})") == "candidates[0].value: expected at least one kind of conversion");
  CHECK(refusal_of(R"({"id":"a","conversion":{"save":2}})") == "candidates[0].conversion.save: expected 0 or 1, got 2");
  CHECK(refusal_of(R"({"id":"a","value":{"save":"x"}})").starts_with("candidates[0].value.save: expected a number"));
  CHECK(refusal_of(R"({"id":"a","click":0,"conversion":{"save":1}})") == "candidates[0].conversion.save: expected at most click = 0, got 1");
  CHECK(refusal_of(R"({"id":"a","conversion":{"":1}})") == "candidates[0].conversion: a kind without a name");
  for (const std::string name : {"present", "save.present"}) {  // what the packed file calls the mask of a column of values
    CHECK(refusal_of(R"({"id":"a","conversion":{")" + name + R"(":1}})") ==
          "candidates[0].conversion." + name + ": expected another name: a kind may not be called \"present\", nor end in \".present\"");
  }
  CHECK(refusal_of(R"({"id":"a","conversion":{"x":1,"x":1}})").find("x") != std::string::npos);
  std::string many;
  for (int i = 0; i < 8; ++i) many += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":0";
  CHECK(refusal_of(R"({"id":"a","conversion":{)" + many + R"(,"k8":0}})") == "candidates[0].conversion: expected at most 8 kinds of conversion, got 9");
  CHECK(refusal_of(R"({"id":"a","conversion":{)" + many + "}}") == "");
  CHECK(refusal_of(R"({"id":"a","conversion":{)" + many + R"(}},{"id":"b","conversion":1})") ==
        "candidates: expected at most 8 kinds of conversion in a log, got conversion after k0, k1, k2, k3, k4, k5, k6, k7 (a number is the kind "
        "conversion); each kind has heads of its own, so give related ones one name");
}

TEST_CASE("kinds: a line that would be one too many leaves nothing behind") {
  const TemporaryFolder folder;
  WriterOptions options;
  options.split = SplitKind::none;
  DatasetWriter writer(folder / "d", options);
  RequestParser parser;
  const auto add = [&](const std::string& conversion) {
    writer.add_request(parser.parse(R"({"candidates":[{"id":"a","conversion":{)" + conversion + "}}]}"), 0, false);
  };
  add(R"("k0":0,"k1":0,"k2":0,"k3":0)");
  CHECK_THROWS_WITH_AS(add(R"("k4":0,"k5":0,"k6":0,"k7":0,"k8":0)"), doctest::Contains("got k8 after k0, k1, k2, k3, k4, k5, k6, k7 ("), Error);
  add(R"("k3":0,"k4":0,"k5":0,"k6":0)");
  writer.add_request(parser.parse(R"({"candidates":[{"id":"a","conversion":1}]})"), 0, false);
  CHECK_THROWS_WITH_AS(add(R"("k7":0)"), doctest::Contains("got k7 after conversion, k0, k1"), Error);
  writer.commit();
  CHECK(Dataset(folder / "d").columns().strings.kinds == std::vector<std::string>{"conversion", "k0", "k1", "k2", "k3", "k4", "k5", "k6"});
}

TEST_CASE("kinds: columns say what happened, what did not and what nobody knows") {
  const TemporaryFolder folder;
  pack(folder / "d", kLog);
  const Dataset d(folder / "d");
  const Dataset::Columns& log = d.columns();
  CHECK(d.file()->metadata().at("min_reader_version") == "5");
  CHECK(log.strings.kinds == std::vector<std::string>{"conversion", "purchase", "rare", "save"});
  //                                       1     2     3     4     5
  CHECK(list(d.clicks()) ==         Flags{1, 0, 1, 1, 1, 0, 1, 0, 1});
  CHECK(list(d.labelled()) ==       Flags{1, 1, 1, 1, 1, 0, 1, 0, 1});
  CHECK(list(d.conversions()) ==    Flags{1, 0, 0, 1, 1, 0, 0, 0, 1});  // of any kind
  CHECK(list(log.conversions[0]) == Flags{2, 0, 2, 2, 1, 0, 0, 0, 2});  // a number is the kind "conversion"
  CHECK(list(log.conversions[1]) == Flags{0, 0, 2, 1, 2, 0, 0, 0, 2});  // purchase
  CHECK(list(log.conversions[2]) == Flags{2, 0, 2, 2, 2, 0, 0, 0, 1});  // rare, which turned up last
  CHECK(list(log.conversions[3]) == Flags{1, 0, 0, 1, 2, 0, 0, 0, 2});  // save
  CHECK(log.values[1].has(0));
  CHECK_FALSE(log.values[1].has(1));
  CHECK(log.values[3][4][0] == 3);
  CHECK(log.value[3][0] == 2);

  // The last request is for testing: what happened there alone is no kind that a model could learn.
  CHECK(d.features().schema.conversions == std::vector<std::string>{"conversion", "purchase", "save"});
  // An event for each that happened, by its name.
  CHECK(history_of(d, 4) == std::vector<std::string>{"q|a|save|1", "q|a|click|2", "q|b|purchase|2", "q|b|save|2", "q|a|conversion|3", "q|a|click|4"});
}

TEST_CASE("kinds: a batch has the model's kinds, whatever the log's are") {
  const TemporaryFolder folder;
  pack(folder / "d", kLog);
  const Dataset d(folder / "d");
  BatchBuilder builder(d.features(), {});
  builder.attach(d);
  Batch batch;
  builder.build(std::vector<std::int64_t>{0, 1, 2}, batch);
  CHECK(batch.kinds == 3);
  CHECK(batch.conversion == std::vector<float>{2, 0, 1, 0, 0, 0, 2, 2, 0, 2, 1, 1, 1, 2, 2, 0, 0, 0});
  CHECK(batch.value == std::vector<float>{1, 5, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 3, 1, 1, 1});

  // Numbers are the kind "conversion", and say nothing of the others.
  pack(folder / "plain", {line(1, R"({"id":"a","click":1,"conversion":1},{"id":"b","click":0})")}, SplitKind::none);
  const Dataset plain(folder / "plain");
  CHECK(plain.features().schema.conversions.empty());
  CHECK(plain.features().schema.kind(0) == "conversion");
  builder.attach(plain);
  builder.build(std::vector<std::int64_t>{0}, batch);
  CHECK(batch.conversion == std::vector<float>{1, 2, 2, 0, 2, 2});

  pack(folder / "fewer", {line(1, R"({"id":"a","conversion":{"save":1}})")}, SplitKind::none);
  const Dataset fewer(folder / "fewer");
  builder.attach(fewer);
  builder.build(std::vector<std::int64_t>{0}, batch);
  CHECK(batch.conversion == std::vector<float>{2, 2, 1});

  // A model of conversions without a name knows nothing of those that have one, also where it was fitted on them and none happened.
  pack(folder / "never", {line(1, R"({"id":"a","click":1,"conversion":{"save":0}})"), line(2, R"({"id":"a","click":1,"conversion":{"save":1}})")});
  const Dataset never(folder / "never");
  CHECK(never.features().schema.conversions.empty());
  BatchBuilder without(never.features(), {});
  without.attach(never);
  without.build(std::vector<std::int64_t>{0, 1}, batch);
  CHECK(batch.conversion == std::vector<float>{2, 2});
  CHECK(never.conversions(never.features().schema)[0].empty());

  // Another name for one of them is no absence.
  pack(folder / "renamed", {line(1, R"({"id":"a","conversion":{"saved":1}})")}, SplitKind::none);
  const Dataset renamed(folder / "renamed");
  CHECK_THROWS_WITH(builder.attach(renamed), doctest::Contains("candidates.conversion: the model reads 'conversion', the data has 'saved' instead"));
}

TEST_CASE("kinds: the same request through a file and from outside is the same batch") {
  const TemporaryFolder folder;
  pack(folder / "d", kLog);
  const Dataset d(folder / "d");
  BatchBuilder from_file(d.features(), {}), from_outside(d.features(), {});
  from_file.attach(d);
  RequestParser parser;
  Batch a, b;
  from_file.build(std::vector<std::int64_t>{0}, a);  // the only one without a history
  from_outside.build(parser.parse(kLog[0]), b);
  CHECK(difference(a, b) == "");
  for (const std::string& text : kLog) {
    const Request& request = parser.parse(text);
    from_outside.build(request, b);
    CHECK(b.conversion.size() == 3 * request.candidates.size());
  }
}

TEST_CASE("kinds: from a file and from outside, whatever is said and whether or not the model's kinds have names") {
  const TemporaryFolder folder;
  std::vector<std::string> strangers{line(6, R"({"id":"a","conversion":{"save":1},"value":{"conversion":5,"save":2}},{"id":"b","click":1,"value":{"conversion":3}})")};
  strangers.insert(strangers.end(), kLog.begin(), kLog.end());
  for (std::string& text : strangers) text.erase(text.find(R"("user":"u",)"), 11);  // so that none has a history
  pack(folder / "log", strangers, SplitKind::none);
  pack(folder / "named", kLog);
  pack(folder / "plain", {line(1, R"({"id":"a","click":1,"conversion":1},{"id":"b","click":0})")}, SplitKind::none);
  const Dataset log(folder / "log"), named(folder / "named"), plain(folder / "plain");
  RequestParser parser;
  Batch a, b;
  for (const Dataset* fitted_on : {&named, &plain}) {
    BatchBuilder from_file(fitted_on->features(), {}), from_outside(fitted_on->features(), {});
    from_file.attach(log);
    for (std::size_t i = 0; i < strangers.size(); ++i) {
      CAPTURE(strangers[i]);
      from_file.build(std::vector<std::int64_t>{static_cast<std::int64_t>(i)}, a);
      from_outside.build(parser.parse(strangers[i]), b);
      CHECK(difference(a, b) == "");
      if (fitted_on == &plain && i == 0) CHECK(b.value == std::vector<float>{5, 3});
      if (fitted_on == &plain && i == 0) CHECK(b.conversion == std::vector<float>{2, 0});
    }
  }
}

TEST_CASE("kinds: a log whose conversions are numbers has the file that it had") {
  const TemporaryFolder folder;
  pack(folder / "d", {line(1, R"({"id":"a","click":1,"conversion":1,"value":2},{"id":"b","click":0})"), line(2, R"({"id":"a","click":1,"conversion":0})")},
       SplitKind::none);
  const SafetensorsFile file(folder / "d");
  CHECK(file.metadata().at("min_reader_version") == "5");
  for (const TensorInfo& t : file.tensors()) CHECK_FALSE(t.name.starts_with("candidate.conversion."));
  CHECK(file.metadata().at("dataset").find("conversions") == std::string::npos);
  CHECK(file.metadata().at("schema").find("conversions") == std::string::npos);
}

TEST_CASE("kinds: columns that contradict each other are damage") {
  const TemporaryFolder folder;
  pack(folder / "d", kLog);
  const SafetensorsFile file(folder / "d");
  for (const auto& [name, value] : {std::pair{"candidate.conversion.save", 3}, {"candidate.conversion.save", 0}, {"candidate.conversion", 0}}) {
    const std::string tensor = name;
    CAPTURE(tensor);
    std::string bytes = read_all(folder / "d");
    const std::byte* end = nullptr;  // of the last tensor, which is the file's
    for (const TensorInfo& t : file.tensors()) end = std::max(end, t.bytes.data() + t.bytes.size());
    bytes[bytes.size() - static_cast<std::size_t>(end - file.at(tensor).bytes.data())] = static_cast<char>(value);
    write_all(folder / "bad", bytes);
    CHECK_THROWS_AS(Dataset(folder / "bad"), Error);
  }
}
