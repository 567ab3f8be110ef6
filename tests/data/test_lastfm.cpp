// Last.fm: the lists as data/readers.h describes them, and that nothing of an answer is known beforehand.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/dataset.h"
#include "data/dataset_columns.h"
#include "data/lastfm.h"
#include "data/readers.h"
#include "engine/base/error.h"
#include "engine/base/random.h"
#include "tests/base/temporary_folder.h"

using namespace piano;
using namespace piano::data;

namespace {

using Plays = std::map<std::pair<int, int>, int>;  // (user, artist) -> count

constexpr int kUsers = 60, kArtists = 90, kTags = 4;
const std::string kTagLines = "tagID\ttagValue\n7\tcaf\xe9 music\n8\tSka\n9\tindie rock\n10\tt\xc3\xa9knho\n";

Plays make_plays() {
  RandomStream random(1, "lastfm plays");
  Plays plays;
  for (int user = 1; user <= kUsers; ++user)
    for (int artist = 1; artist <= kArtists; ++artist)
      if (random.uniform() < 0.4) plays[{user, artist}] = 1 + static_cast<int>(random.below(500));
  return plays;
}

std::string make_taggings() {
  RandomStream random(2, "lastfm tags");
  std::string text = "userID\tartistID\ttagID\tday\tmonth\tyear\n";
  for (int user = 1; user <= kUsers; ++user)
    for (int i = 0; i < 40; ++i)
      text += std::to_string(user) + "\t" + std::to_string(1 + random.below(kArtists)) + "\t" + std::to_string(7 + random.below(kTags)) + "\t1\t" +
              std::to_string(1 + random.below(12)) + "\t200" + std::to_string(5 + random.below(2)) + "\n";
  return text;
}

std::string text_of(const Plays& plays) {
  std::string text = "//userID\tartistID\tweight\n";
  for (const auto& [who, count] : plays) text += std::to_string(who.first) + "\t" + std::to_string(who.second) + "\t" + std::to_string(count) + "\n";
  return text;
}

WriterOptions given_parts() {
  WriterOptions options;
  options.split = SplitKind::given;
  return options;
}

struct Outcome {
  std::string error;
  ReadReport report;
};

Outcome read(const TemporaryFolder& folder, const std::string& plays, const std::string& taggings, OnError on_error = OnError::stop,
             std::uint64_t seed = 1, const std::string& tags = kTagLines) {
  write_all(folder / "plays", plays);
  write_all(folder / "taggings", taggings);
  write_all(folder / "tags", tags);
  DatasetWriter writer(folder / "out.safetensors", given_parts());
  ReadOptions options;
  options.on_error = on_error;
  options.seed = seed;
  Outcome outcome;
  try {
    outcome.report = read_lastfm({folder / "taggings", folder / "plays", folder / "tags"}, options, writer);
    if (outcome.report.requests > 0) writer.commit();
  } catch (const Error& error) {
    outcome.error = error.what();
  }
  return outcome;
}

// What training sees of (user, artist): clicked or not in its lists, or an event of any history. Everything else is unknown: 0.
class Memory {
 public:
  explicit Memory(const Dataset& dataset) : log_(dataset.columns()) {
    std::vector<std::int64_t> seen(static_cast<std::size_t>(log_.strings.users.size()));  // a history begins with the one before it
    for (std::int64_t r = 0; r < dataset.size(); ++r) {
      const auto at = static_cast<std::size_t>(r);
      auto& from = seen[static_cast<std::size_t>(log_.user[at])];
      for (std::int64_t e = std::max(from, log_.events[2 * at]); e < log_.events[2 * at + 1]; ++e)
        if (log_.event_item[static_cast<std::size_t>(e)] >= 0) pairs_[key(r, log_.event_item[static_cast<std::size_t>(e)])] = 1;
      from = std::max(from, log_.events[2 * at + 1]);
      if (dataset.split(r) == Split::test) continue;
      for (auto c = static_cast<std::size_t>(log_.candidates[at]); c < static_cast<std::size_t>(log_.candidates[at + 1]); ++c)
        pairs_[key(r, log_.item[c])] = log_.click[c] != 0 ? 1 : -1;
    }
  }
  std::size_t size() const { return pairs_.size(); }
  double operator()(std::int64_t request, std::int64_t candidate) const {
    const auto known = pairs_.find(key(request, log_.item[static_cast<std::size_t>(candidate)]));
    return known == pairs_.end() ? 0 : known->second;
  }

 private:
  std::uint64_t key(std::int64_t request, std::int32_t item) const {
    return static_cast<std::uint64_t>(log_.user[static_cast<std::size_t>(request)]) << 32 | static_cast<std::uint32_t>(item);
  }
  const Dataset::Columns& log_;
  std::unordered_map<std::uint64_t, double> pairs_;
};

// Over the lists of a part with clicks and without: the mean share of (clicked, not clicked) pairs that a score puts right, ties one half.
template <class Score>
double mean_auc(const Dataset& dataset, Split part, const Score& score) {
  double sum = 0;
  std::int64_t lists = 0;
  std::vector<double> clicked, not_clicked;
  for (const std::int64_t r : dataset.requests(part)) {
    clicked.clear(), not_clicked.clear();
    for (std::int64_t c = dataset.candidate_begin(r); c < dataset.candidate_end(r); ++c)
      (dataset.clicks()[static_cast<std::size_t>(c)] != 0 ? clicked : not_clicked).push_back(score(r, c));
    if (clicked.empty() || not_clicked.empty()) continue;
    double right = 0;
    for (const double a : clicked)
      for (const double b : not_clicked) right += a > b ? 1 : a == b ? 0.5 : 0;
    sum += right / static_cast<double>(clicked.size() * not_clicked.size());
    ++lists;
  }
  return sum / static_cast<double>(lists);
}

double memorised_auc(const Dataset& dataset) {
  const Memory memory(dataset);
  CHECK(memory.size() > 100);
  CHECK(mean_auc(dataset, Split::train, memory) == 1.0);  // it does remember
  return mean_auc(dataset, Split::test, memory);
}

std::vector<std::string> parts_of(const std::string& id) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(id.find('/', begin), id.size());
    parts.push_back(id.substr(begin, end - begin));
    if (end == id.size()) return parts;
    begin = end + 1;
  }
}

}  // namespace

TEST_CASE("lists, labels, parts and histories are what the construction says") {
  TemporaryFolder folder;
  const Plays plays = make_plays();
  const Outcome outcome = read(folder, text_of(plays), make_taggings());
  CHECK(outcome.error == "");
  const Dataset dataset(folder / "out.safetensors");
  const Dataset::Columns& log = dataset.columns();
  REQUIRE(dataset.size() > 500);

  std::map<std::string, std::vector<int>> counts;  // user -> plays of each artist
  for (const auto& [who, count] : plays) counts[std::to_string(who.first)].push_back(count);
  std::map<std::string, std::set<Split>> parts_of_user;
  std::map<std::pair<std::string, std::string>, Split> part_of_pair;
  std::set<std::pair<std::string, std::string>> in_history;
  std::set<std::string> queries;
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    const std::string user(dataset.user(r));
    const std::vector<std::string> id = parts_of(std::string(dataset.id(r)));
    REQUIRE(id.size() == 4);
    CHECK(id[0] == user);
    CHECK(id[3] == (dataset.split(r) == Split::train ? "train" : dataset.split(r) == Split::valid ? "valid" : "test"));
    parts_of_user[user].insert(dataset.split(r));
    queries.insert(std::string(dataset.query(r)));
    auto& own = counts[user];
    std::sort(own.begin(), own.end());
    const int twice_median = own[(own.size() - 1) / 2] + own[own.size() / 2];
    CHECK(dataset.candidate_end(r) - dataset.candidate_begin(r) >= 2);
    CHECK(dataset.candidate_end(r) - dataset.candidate_begin(r) <= 50);
    float last_score = 1e9f;
    for (std::int64_t c = dataset.candidate_begin(r); c < dataset.candidate_end(r); ++c) {
      const auto at = static_cast<std::size_t>(c);
      const std::string item(dataset.item(c));
      const auto played = plays.find({std::stoi(user), std::stoi(item)});
      CHECK((dataset.clicks()[at] != 0) == (played != plays.end()));
      CHECK((dataset.conversions()[at] != 0) == (played != plays.end() && 2 * played->second >= twice_median));
      const auto known = part_of_pair.emplace(std::pair(user, item), dataset.split(r));
      CHECK(known.first->second == dataset.split(r));  // a pair is asked for in one part only
      CHECK(log.score[c][0] <= last_score);            // the first ranker's order
      last_score = log.score[c][0];
    }
    for (std::int64_t e = log.events[static_cast<std::size_t>(2 * r)]; e < log.events[static_cast<std::size_t>(2 * r + 1)]; ++e) {
      const auto at = static_cast<std::size_t>(e);
      CHECK((log.event_time[at] == kNoTime || log.event_time[at] < dataset.time(r)));
      if (log.event_item[at] < 0) continue;
      const std::string item(log.strings.items[log.event_item[at]]);
      CHECK(plays.contains({std::stoi(user), std::stoi(item)}));
      in_history.insert({user, item});
    }
  }
  CHECK(queries == std::set<std::string>{"caf\xc3\xa9 music", "Ska", "indie rock", "t\xc3\xa9knho"});
  for (const auto& pair : in_history) CHECK(!part_of_pair.contains(pair));  // visible artists are never asked for
  CHECK(in_history.size() > plays.size() / 3);

  std::size_t unseen = 0, known = 0;
  for (const auto& [user, parts] : parts_of_user) {
    unseen += parts == std::set<Split>{Split::test} ? 1 : 0;
    known += parts.contains(Split::train) && parts.contains(Split::test) ? 1 : 0;
  }
  CHECK(unseen + known == parts_of_user.size());
  CHECK(unseen >= 1);
  CHECK(unseen <= 15);
  CHECK(dataset.time(0) % 86400 == 0);
}

TEST_CASE("memorised (user, artist) pairs score exactly like random order on the test lists") {
  TemporaryFolder folder;
  REQUIRE(read(folder, text_of(make_plays()), make_taggings()).error == "");
  CHECK(memorised_auc(Dataset(folder / "out.safetensors")) == 0.5);
}

TEST_CASE("no hidden play moves anything but labels, and what is fitted on training labels") {
  const Plays plays = make_plays();
  LastfmLog log;  // its numbers, for the draws
  for (int user = 1; user <= kUsers; ++user) log.users.intern(std::to_string(user));
  for (int artist = 1; artist <= kArtists; ++artist) log.artists.intern(std::to_string(artist));
  const LastfmDraws draws(log, 1);
  Plays flipped, tests_flipped;  // all hidden plays; those that are not for training
  for (int user = 1; user <= kUsers; ++user)
    for (int artist = 1; artist <= kArtists; ++artist) {
      const auto play = plays.find({user, artist});
      if (draws.visible_if_played(user - 1, artist - 1)) {
        if (play != plays.end()) flipped.insert(*play), tests_flipped.insert(*play);
      } else {
        if (play == plays.end()) flipped[{user, artist}] = 3;
        const bool training = draws.fold(user - 1, artist - 1) == LastfmFold::train;
        if (training && play != plays.end()) tests_flipped.insert(*play);
        if (!training && play == plays.end()) tests_flipped[{user, artist}] = 3;
      }
    }
  TemporaryFolder one, other, third;
  REQUIRE(read(one, text_of(plays), make_taggings()).error == "");
  REQUIRE(read(other, text_of(flipped), make_taggings()).error == "");
  REQUIRE(read(third, text_of(tests_flipped), make_taggings()).error == "");
  const SafetensorsFile a(one / "out.safetensors"), b(other / "out.safetensors"), c(third / "out.safetensors");
  REQUIRE(a.tensors().size() == b.tensors().size());
  const auto equal = [](const TensorInfo& x, const TensorInfo& y) {
    return x.bytes.size() == y.bytes.size() && std::memcmp(x.bytes.data(), y.bytes.data(), y.bytes.size()) == 0;
  };
  for (const TensorInfo& tensor : a.tensors()) {
    CAPTURE(tensor.name);
    const bool label = tensor.name == "candidate.click" || tensor.name == "candidate.conversion";
    const bool fitted = tensor.name == "item_popularity" || tensor.name == "interactions.users" || tensor.name == "interactions.offsets" ||
                        tensor.name.starts_with("scale.match.");
    CHECK(equal(tensor, b.at(tensor.name)) == !(label || fitted));
    // A user's median play count, and with it conversions of training lists, is of all plays.
    CHECK(equal(tensor, c.at(tensor.name)) == !(label || tensor.name == "item_popularity"));
  }
}

TEST_CASE("the seed draws another world, and the same one again") {
  TemporaryFolder one, again, other;
  REQUIRE(read(one, text_of(make_plays()), make_taggings()).error == "");
  REQUIRE(read(again, text_of(make_plays()), make_taggings()).error == "");
  REQUIRE(read(other, text_of(make_plays()), make_taggings(), OnError::stop, 2).error == "");
  const auto checksum = [](const TemporaryFolder& folder) { return SafetensorsFile(folder / "out.safetensors").metadata().at("checksum"); };
  CHECK(checksum(one) == checksum(again));
  CHECK(checksum(one) != checksum(other));
}

TEST_CASE("bad rows say where and why, and can be skipped; wrong files are refused") {
  TemporaryFolder folder;
  const std::string plays = text_of(make_plays()), taggings = make_taggings();
  struct Bad {
    std::string plays, taggings, tags, place, reason;
  };
  const std::string plays_line = std::to_string(make_plays().size() + 2), taggings_line = std::to_string(kUsers * 40 + 2);
  const Bad bad[] = {
      {"1\t2\n", "", "", "plays:" + plays_line + ":1", "expected 3 cells, got 2"},
      {"1\tx\t3\n", "", "", "plays:" + plays_line + ":3", "expected an id, got \"x\""},
      {"1\t1000\t0\n", "", "", "plays:" + plays_line + ":8", "expected a number of plays, got \"0\""},
      {"70\t2\t5\n70\t2\t6\n", "", "", "plays:" + std::to_string(make_plays().size() + 3) + ":4", "the plays of artist 2 by user 70 were given before"},
      {"", "1\t2\t99\t1\t1\t2005\n", "", "taggings:" + taggings_line + ":5", "the tag id 99 is not in tags.dat"},
      {"", "1\t2\t7\t1\t13\t2005\n", "", "taggings:" + taggings_line + ":9", "expected a month of 1 to 12, got \"13\""},
      {"", "1\t2\t7\t1\t1\t0\n", "", "taggings:" + taggings_line + ":11", "expected a year, got \"0\""},
      {"", "", "8\tx\n", "tags:6:1", "the tag id 8 was given before"},
      {"", "", "11\t \n", "tags:6:4", "expected a tag, got \" \""},
  };
  for (const Bad& b : bad) {
    CAPTURE(b.reason);
    const Outcome stopped = read(folder, plays + b.plays, taggings + b.taggings, OnError::stop, 1, kTagLines + b.tags);
    CHECK(stopped.error.find(folder / b.place + ": " + b.reason) == 0);
    const Outcome skipped = read(folder, plays + b.plays, taggings + b.taggings, OnError::skip, 1, kTagLines + b.tags);
    CHECK(skipped.error == "");
    CHECK(skipped.report.rejected == 1);
    CHECK(skipped.report.first_rejection == stopped.error);
  }
  CHECK(read(folder, "1\tMALICE MIZER\tx\ty\n", taggings).error.find(":1:1: expected the first line of tags.dat") != std::string::npos);

  DatasetWriter writer(folder / "out.safetensors", given_parts());
  CHECK_THROWS_WITH_AS(read_lastfm({folder / "tags", folder / "taggings"}, {}, writer), doctest::Contains("user_artists.dat is missing"), Error);
  write_all(folder / "plays", plays);
  DatasetWriter by_time(folder / "out.safetensors", {});
  CHECK_THROWS_WITH_AS(read_lastfm({folder / "tags", folder / "taggings", folder / "plays"}, {}, by_time), doctest::Contains("leave --split out"), Error);
}

TEST_CASE("the real log: nothing leaks, and what is known orders the lists") {
  const char* folder_name = std::getenv("PIANO_DATA");
  const std::string path = std::string(folder_name ? folder_name : "../shared/data") + "/lastfm-2k/";
  if (!std::filesystem::exists(path)) {
    MESSAGE("not run: " << path << " is not there (set PIANO_DATA)");
    return;
  }
  TemporaryFolder folder;
  DatasetWriter writer(folder / "lastfm.safetensors", given_parts());
  const ReadReport report = read_lastfm({path + "user_artists.dat.gz", path + "user_taggedartists.dat.gz", path + "tags.dat.gz"}, {}, writer);
  writer.commit();
  CHECK(report.rows == 232019);
  CHECK(report.rejected == 0);
  const Dataset dataset(folder / "lastfm.safetensors");
  CHECK(memorised_auc(dataset) == 0.5);
  const Dataset::Columns& log = dataset.columns();
  const auto column = [&](std::size_t k) {
    return mean_auc(dataset, Split::test, [&, k](std::int64_t, std::int64_t c) { return static_cast<double>(log.dense[c][k]); });
  };
  const double tag_count = mean_auc(dataset, Split::test, [&](std::int64_t, std::int64_t c) { return static_cast<double>(log.score[c][0]); });
  const double popularity = column(0), cosine = column(1);
  MESSAGE("AUC within the test lists: tag count " << tag_count << ", popularity " << popularity << ", cosine " << cosine);
  CHECK(tag_count > 0.55);
  CHECK(popularity > 0.55);
  CHECK(cosine > popularity);
}
