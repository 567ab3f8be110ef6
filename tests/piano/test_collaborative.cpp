// Item-item cosine and memorised pairs: by hand, against their definition on a simulated log, and deaf to test labels.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "piano/collaborative.h"
#include "piano/evaluation_set.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/tiny_data.h"

using namespace piano;

namespace {

data::Dataset pack(const std::string& path, const std::vector<std::string>& lines, data::WriterOptions options) {
  data::DatasetWriter writer(path, options);
  data::RequestParser parser;
  for (std::size_t i = 0; i < lines.size(); ++i) writer.add_request(parser.parse(lines[i]), static_cast<std::int64_t>(i), true);
  writer.commit();
  return data::Dataset(path);
}

// A request of `user` at `time` that shows `shown`, of which `clicked` is clicked.
std::string line(int time, const std::string& user, const std::string& shown, char clicked) {
  std::string text = R"({"time":)" + std::to_string(time) + R"(,"user":")" + user + R"(","candidates":[)";
  for (const char item : shown) {
    text += std::string(item == shown[0] ? "" : ",") + R"({"id":")" + item + R"(","click":)" + (item == clicked ? "1" : "0") + "}";
  }
  return text + "]}";
}

// Training: u1 clicks a, b; u2 clicks a, b, c; u3 clicks c; then the tests, of u1 and of a new user who clicked b just before.
std::vector<std::string> small_log(char test_click) {
  return {line(1, "u1", "abc", 'a'), line(2, "u1", "abc", 'b'), line(3, "u2", "abc", 'a'), line(4, "u2", "abc", 'b'), line(5, "u2", "abc", 'c'),
          line(6, "u3", "abc", 'c'), line(7, "new", "bx", 'b'), line(8, "u1", "abcx", test_click), line(9, "new", "xcab", test_click)};
}

data::WriterOptions thirds() {
  data::WriterOptions options;
  options.valid_fraction = 0, options.test_fraction = 0.3;
  return options;
}

}  // namespace

TEST_CASE("cosine and memorised pairs of a log made by hand") {
  const TemporaryFolder folder;
  const data::Dataset data = pack(folder / "data", small_log('x'), thirds());
  REQUIRE(data.split(7) == data::Split::test);
  REQUIRE(data.split(5) != data::Split::test);
  REQUIRE(data.requests(data::Split::train).size() == 6);
  TrainingInteractions training(data);
  std::vector<double> scores;
  training.cosine(7, scores);  // u1's history is a, b. Without u1: a {u2}, b {u2}, c {u2, u3}
  CHECK(scores[0] == doctest::Approx(2.0));
  CHECK(scores[1] == doctest::Approx(2.0));
  CHECK(scores[2] == doctest::Approx(2 / std::sqrt(2.0)));
  CHECK(scores[3] == 0);
  scores.clear();
  training.cosine(8, scores);  // x c a b for one whose history is b: a {u1, u2}, b {u1, u2}, c {u2, u3}
  CHECK(scores[0] == 0);
  CHECK(scores[1] == doctest::Approx(0.5));
  CHECK(scores[2] == doctest::Approx(1.0));
  CHECK(scores[3] == doctest::Approx(1.0));
  scores.clear();
  training.memorised(7, scores);
  training.memorised(8, scores);  // the click on b at time 7 was no training label
  CHECK(scores == std::vector<double>{1, 1, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("cosine and memorised pairs are deaf to the labels they are tested on") {
  const TemporaryFolder folder;
  const data::Dataset data = pack(folder / "data", small_log('x'), thirds()), other = pack(folder / "other", small_log('a'), thirds());
  TrainingInteractions training(data), elsewhere(other);
  for (const std::int64_t request : {7, 8}) {
    std::vector<double> a, b;
    training.cosine(request, a), elsewhere.cosine(request, b);
    training.memorised(request, a), elsewhere.memorised(request, b);
    CHECK(a == b);
  }
}

TEST_CASE("cosine on a simulated log is its definition") {
  const TemporaryFolder folder;
  write_tiny_data(folder / "data", 500);
  const data::Dataset data(folder / "data");
  std::map<std::string_view, std::set<std::string_view>> users;  // of an item; the log is in the order of time, histories are derived
  for (const std::int64_t r : data.requests(data::Split::train)) {
    for (std::int64_t c = data.candidate_begin(r); c < data.candidate_end(r); ++c) {
      if (data.clicks()[static_cast<std::size_t>(c)] != 0) users[data.item(c)].insert(data.user(r));
    }
  }
  const std::vector<std::int64_t> tests = data.requests(data::Split::test);
  TrainingInteractions training(data);
  double positive = 0, wrong = 0;
  for (const std::int64_t r : tests) {
    std::set<std::string_view> past;
    for (std::int64_t q = 0; q < r; ++q) {
      for (std::int64_t c = data.candidate_begin(q); data.user(q) == data.user(r) && c < data.candidate_end(q); ++c) {
        if (data.clicks()[static_cast<std::size_t>(c)] != 0) past.insert(data.item(c));
      }
    }
    const auto others = [&](std::string_view item) {
      std::set<std::string_view> set = users[item];
      set.erase(data.user(r));
      return set;
    };
    std::vector<double> scores;
    training.cosine(r, scores);
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const auto of_i = others(data.item(data.candidate_begin(r) + static_cast<std::int64_t>(i)));
      double expected = 0;
      for (const std::string_view j : past) {
        const auto of_j = others(j);
        double both = 0;
        for (const std::string_view u : of_i) both += of_j.contains(u);
        if (both > 0) expected += both / std::sqrt(static_cast<double>(of_i.size()) * static_cast<double>(of_j.size()));
      }
      positive += expected > 0;
      wrong += std::abs(scores[i] - expected) > 1e-9 * (1 + expected);
    }
  }
  CHECK(positive > 100);
  CHECK(wrong == 0);
}
