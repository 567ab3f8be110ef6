// Item-item cosine from the training part: without the asker's own row, bounded, the same from a file, deaf to tests.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <span>

#include "data/dataset.h"
#include "data/dataset_columns.h"
#include "data/dataset_writer.h"
#include "data/interactions.h"
#include "tests/data/log_maker.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

OwnedRequest request(int time, const std::string& user, const std::string& shown, const std::string& clicked) {
  OwnedRequest r;
  r.id = "r" + std::to_string(time), r.time = time, r.user = user;
  for (const char item : shown) {
    OwnedCandidate c;
    c.id = std::string(1, item), c.click = clicked.find(item) != std::string::npos;
    r.candidates.push_back(c);
  }
  return r;
}

// u1 had a, b; u2 a, b, c; u3 c; nobody with a name had d. The last two requests are a test's.
std::vector<OwnedRequest> small_log() {
  return {request(1, "u1", "abd", "ab"), request(2, "u2", "abc", "abc"), request(3, "u3", "abc", "c"), request(4, "", "acd", "d"),
          request(5, "u1", "abcd", "c"), request(6, "new", "abcd", "d")};
}

void write(const std::vector<OwnedRequest>& log, const std::string& path) {
  WriterOptions options;
  options.valid_fraction = 0, options.test_fraction = 0.34;
  DatasetWriter writer(path, options);
  for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), true);
  writer.commit();
}

std::vector<double> cosine(const Interactions& x, const std::string& user, const std::string& past, const std::string& candidates) {
  CosineToPast cosine(x);
  std::vector<double> scores;
  for (int twice = 0; twice < 2; ++twice) {  // nothing stays of what was asked before
    scores.clear();
    cosine.start(x.user(user));
    for (const char c : past + past) cosine.add(x.item(std::string(1, c)));
    for (const char c : candidates) scores.push_back(cosine(x.item(std::string(1, c))));
  }
  return scores;
}

}  // namespace

TEST_CASE("cosine of a log made by hand, without the asker's own row") {
  const TemporaryPath file("interactions.safetensors");
  write(small_log(), file.path());
  const Dataset dataset(file.path());
  REQUIRE(dataset.requests(Split::train).size() == 4);
  const Interactions& x = dataset.features().interactions;
  CHECK(x.user("new") == -1);
  CHECK(x.item("d") == -1);  // requests without a user have no interactions
  const std::vector<double> known = cosine(x, "u1", "ab", "abcd");  // without u1: a {u2}, b {u2}, c {u2, u3}
  CHECK(known[0] == doctest::Approx(2));
  CHECK(known[1] == doctest::Approx(2));
  CHECK(known[2] == doctest::Approx(2 / std::sqrt(2.0)));
  CHECK(known[3] == 0);
  const std::vector<double> unseen = cosine(x, "new", "bd", "abcd");  // a {u1, u2}, b {u1, u2}, c {u2, u3}
  CHECK(unseen[0] == doctest::Approx(1));
  CHECK(unseen[1] == doctest::Approx(1));
  CHECK(unseen[2] == doctest::Approx(0.5));
  CHECK(unseen[3] == 0);
  CHECK(cosine(x, "u3", "c", "c")[0] == doctest::Approx(1));
  CHECK(cosine(Interactions(), "u1", "ab", "ab") == std::vector<double>{0, 0});
}

TEST_CASE("what a training user clicks does not change that user's own figures") {
  const TemporaryPath file("interactions.safetensors"), other_file("interactions.other.safetensors");
  std::vector<OwnedRequest> log = small_log();
  write(log, file.path());
  log[0] = request(1, "u1", "abd", "d");
  write(log, other_file.path());
  const Dataset dataset(file.path()), other(other_file.path());
  for (const std::string past : {"a", "bc"}) {
    CHECK(cosine(dataset.features().interactions, "u1", past, "abc") == cosine(other.features().interactions, "u1", past, "abc"));
    CHECK(cosine(dataset.features().interactions, "u2", past, "abc") != cosine(other.features().interactions, "u2", past, "abc"));
  }
}

TEST_CASE("users of an item are counted without the asker's quarter, so no label of the asker moves the asker's own count") {
  std::vector<OwnedRequest> log;
  for (int u = 0; u < 40; ++u) log.push_back(request(u + 1, "user" + std::to_string(u), "abc", u % 2 ? "a" : "ab"));
  for (int u = 0; u < 40; ++u) log.push_back(request(100 + u, "test" + std::to_string(u), "abc", "c"));
  const auto counts = [&](const std::vector<OwnedRequest>& requests) {
    const TemporaryPath file("interactions.safetensors");
    WriterOptions options;
    options.valid_fraction = 0, options.test_fraction = 0.5;
    DatasetWriter writer(file.path(), options);
    for (std::size_t i = 0; i < requests.size(); ++i) writer.add_request(*View(requests[i]), static_cast<std::int64_t>(i), true);
    writer.commit();
    const Dataset dataset(file.path());
    const Interactions& x = dataset.features().interactions;
    std::vector<double> result{x.users_apart(x.item("a"), -1), x.users_apart(x.item("c"), -1)};
    for (int u = 0; u < 40; ++u) result.push_back(x.users_apart(x.item("b"), x.user("user" + std::to_string(u))));
    return result;
  };
  const std::vector<double> before = counts(log);
  CHECK(before[0] == 30);  // three quarters of 40
  CHECK(before[1] == 0);   // only tests had it
  double sum = 0;
  for (std::size_t u = 2; u < before.size(); ++u) sum += before[u] / 40;
  CHECK(sum > 10);  // of 20, some 15
  CHECK(sum < 20);
  log[7] = request(8, "user7", "abc", "ab");  // now had b too
  const std::vector<double> after = counts(log);
  int raised = 0;
  for (std::size_t u = 2; u < before.size(); ++u) {
    CHECK((after[u] == before[u] || after[u] == before[u] + 1));
    raised += after[u] > before[u];
  }
  CHECK(after[2 + 7] == before[2 + 7]);
  CHECK(raised > 20);
}

TEST_CASE("where cosines would cost too much, some lists give their scale for all") {
  RandomStream random(9, "cosine scale");
  LogShape shape;
  shape.requests = 400;
  const std::vector<OwnedRequest> log = random_log(random, shape);
  const auto packed = [&](std::int64_t work) {
    const TemporaryPath file("scale.safetensors");
    WriterOptions options;
    options.cosine_work = work;
    DatasetWriter writer(file.path(), options);
    for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), true);
    writer.commit();
    return Dataset(file.path());
  };
  const Dataset all = packed(std::int64_t{1} << 40), some = packed(2000), none = packed(1);
  const std::vector<std::string> names = match_feature_names(all.features().schema);
  int cosines = 0;
  for (std::size_t k = 0; k < names.size(); ++k) {
    CAPTURE(names[k]);
    const float deviation = all.features().match.deviation[k];
    if (names[k].find("cosine") == std::string::npos) {
      CHECK(some.features().match.mean[k] == all.features().match.mean[k]);
      CHECK(none.features().match.deviation[k] == deviation);
      continue;
    }
    ++cosines;
    CHECK(some.features().match.deviation[k] != deviation);
    CHECK(std::abs(some.features().match.deviation[k] - deviation) < 0.3 * deviation);
    CHECK(std::abs(some.features().match.mean[k] - all.features().match.mean[k]) < 0.3 * deviation);
  }
  CHECK(cosines == 2);
}

TEST_CASE("interactions of a damaged file are refused") {
  const TemporaryPath file("interactions.safetensors");
  const auto refused = [&](const std::vector<std::int64_t>& users, const std::vector<std::int64_t>& items, const std::vector<std::int64_t>& offsets,
                           const std::vector<std::int32_t>& of_items) {
    SafetensorsWriter writer(file.path());
    writer.add("interactions.user", std::span(users)), writer.add("interactions.item", std::span(items)), writer.add("interactions.offsets", std::span(offsets));
    writer.add("interactions.users", std::span(of_items));
    writer.commit();
    try {
      Interactions::load(std::make_shared<SafetensorsFile>(file.path()));
    } catch (const Error& e) {
      return e.code() == ErrorCode::model;
    }
    return false;
  };
  CHECK_FALSE(refused({1, 2}, {5, 6}, {0, 1, 3}, {0, 0, 1}));
  CHECK_FALSE(refused({}, {}, {0}, {}));
  CHECK(refused({}, {5}, {0, 0}, {}));                   // an item that nobody had
  CHECK(refused({1, 2}, {5, 6}, {0, 3, 3}, {0, 0, 1}));
  CHECK(refused({2, 1}, {5, 6}, {0, 1, 3}, {0, 0, 1}));  // not in order
  CHECK(refused({1, 2}, {6, 5}, {0, 1, 3}, {0, 0, 1}));
  CHECK(refused({1, 2}, {5, 6}, {0, 1, 2}, {0, 0, 1}));  // not all of the users
  CHECK(refused({1, 2}, {5, 6}, {0, 3}, {0, 0, 1}));
  CHECK(refused({1, 2}, {5, 6}, {0, 1, 3}, {0, 2, 1}));  // a user that is not there
  CHECK(refused({1, 2}, {5, 6}, {0, 1, 3}, {0, -1, 1}));
}

TEST_CASE("of a large log whole users are left out") {
  const TemporaryPath file("interactions.safetensors");
  write(small_log(), file.path());
  const Dataset dataset(file.path());
  const auto kept = [&](std::int64_t most) {
    const Interactions x = Interactions::build(dataset.columns(), dataset.columns().strings, most);
    std::vector<std::string> users;
    for (const std::string user : {"u1", "u2", "u3"})
      if (x.user(user) >= 0) users.push_back(user);
    return users;
  };
  CHECK(kept(1000).size() == 3);
  CHECK(kept(0).empty());
  const std::vector<std::string> some = kept(4);
  CHECK(!some.empty());
  CHECK(some.size() < 3);
}
