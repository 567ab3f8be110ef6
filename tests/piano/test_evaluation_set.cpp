// What evaluation is given besides a model: the labelled lists, the slices, and the heuristics, on a log small enough to check by hand, on a
// simulated one against their definition, and on the real one against known figures.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <numeric>

#include "data/readers.h"
#include "piano/evaluation_set.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/tiny_data.h"

using namespace piano;

namespace {

data::Dataset pack(const std::string& path, const std::vector<std::string>& lines, data::SplitKind split = data::SplitKind::time, int min_count = 2) {
  data::WriterOptions options;
  options.split = split;
  options.min_count = min_count;
  data::DatasetWriter writer(path, options);
  data::RequestParser parser;
  for (std::size_t i = 0; i < lines.size(); ++i) writer.add_request(parser.parse(lines[i]), static_cast<std::int64_t>(i), true);
  writer.commit();
  return data::Dataset(path);
}

std::string line(int time, const std::string& user, const std::string& query, const std::string& candidates, const std::string& more = "") {
  return R"({"id":"r)" + std::to_string(time) + R"(","time":)" + std::to_string(time) + (user.empty() ? "" : R"(,"user":")" + user + '"') +
         (query.empty() ? "" : R"(,"query":")" + query + '"') + more + R"(,"candidates":[)" + candidates + "]}";
}

std::string candidate(const std::string& id, int click, int conversion) {
  return R"({"id":")" + id + R"(","click":)" + std::to_string(click) + R"(,"conversion":)" + std::to_string(conversion) + '}';
}

std::string unseen(const std::string& prefix, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i > 0 ? "," : "") + candidate(prefix + std::to_string(i), 0, 0);
  return text;
}

// 20 requests; 1 to 16 are for training, 17 and 18 for validation, 19 and 20 for the test.
std::vector<std::string> small_log() {
  std::vector<std::string> lines;
  for (int t = 1; t <= 16; ++t) {
    const std::string query = t <= 8 ? "q0" : t <= 13 ? "q1" : "q2";
    lines.push_back(line(t, "u" + std::to_string(t % 2), query,
                         candidate("a", 0, 0) + ',' + candidate("b", t % 4 == 0, 0) + ',' + candidate("c", 1, t % 2 == 0)));
  }
  lines.push_back(line(17, "", "", unseen("w", 31)));
  lines.push_back(line(18, "u0", "q1", candidate("a", 1, 0) + ',' + candidate("b", 0, 0)));
  lines.push_back(line(19, "new", "q0", R"({"id":"x"},{"id":"y","value":2.5,"click":1,"conversion":1},{"id":"a","position":null,"click":0})",
                       R"(,"target":"a")"));
  lines.push_back(line(20, "u0", "never heard",
                       candidate("b", 0, 0) + ',' + unseen("z", 9) + ',' + candidate("c", 0, 0) + ',' + candidate("a", 0, 0)));
  return lines;
}

// The item ids of a list by descending score.
std::string order(const EvaluationSet& set, std::size_t system, std::int64_t list) {
  const auto begin = set.lists.offsets[static_cast<std::size_t>(list)], end = set.lists.offsets[static_cast<std::size_t>(list) + 1];
  std::vector<std::int64_t> rows(static_cast<std::size_t>(end - begin));
  std::iota(rows.begin(), rows.end(), begin);
  const std::vector<double>& score = set.heuristics[system].score;
  std::sort(rows.begin(), rows.end(), [&](std::int64_t a, std::int64_t b) {
    return score[static_cast<std::size_t>(a)] > score[static_cast<std::size_t>(b)];
  });
  std::string text;
  for (const std::int64_t row : rows) text += (text.empty() ? "" : " ") + std::string(set.lists.item_id(row));
  return text;
}

std::vector<std::uint8_t> members(const EvaluationSet& set, const std::string& slice) {
  for (const Slice& s : set.lists.slices) {
    if (s.name == slice) return s.member;
  }
  FAIL("no slice " << slice);
  return {};
}

using Bits = std::vector<std::uint8_t>;

}  // namespace

TEST_CASE("evaluation set: lists, users, targets, slices and heuristics of a log made by hand") {
  const TemporaryFolder folder;
  const data::Dataset dataset = pack(folder / "data", small_log());
  CHECK(head_queries(dataset) == std::vector<std::string_view>{"q0"});  // 8 of the 16 training requests
  data::BatchBuilder builder(dataset.features(), {});
  builder.attach(dataset);
  const std::vector<std::int64_t> requests{16, 17, 18, 19};
  const EvaluationSet set = evaluation_set(dataset, requests, dataset.features(), builder);
  const LabelledLists& lists = set.lists;

  CHECK(lists.offsets == std::vector<std::int64_t>{0, 31, 33, 36, 48});
  CHECK(lists.user == std::vector<std::int32_t>{0, 1, 2, 1});  // a request without a user is a user of its own
  CHECK(lists.users == 3);
  CHECK(lists.target == std::vector<std::int32_t>{-1, -1, 2, -1});
  CHECK(lists.request_id(2) == "r19");
  CHECK(lists.item_id(34) == "y");
  CHECK(Bits(lists.labelled.begin() + 33, lists.labelled.begin() + 36) == Bits{0, 1, 0});  // without labels; shown; not shown
  CHECK(lists.click[34] == 1);
  CHECK(lists.conversion[34] == 1);
  CHECK(lists.value[34] == 2.5);
  CHECK(lists.value[35] == 1);

  CHECK(members(set, "history") == Bits{0, 1, 0, 1});
  CHECK(members(set, "no history") == Bits{1, 0, 1, 0});
  CHECK(members(set, "unseen user") == Bits{0, 0, 1, 0});  // no user at all is not an unseen one
  CHECK(members(set, "unseen query") == Bits{0, 0, 0, 1});
  CHECK(members(set, "mostly unseen items") == Bits{1, 0, 1, 1});
  CHECK(members(set, "1-10 candidates") == Bits{0, 1, 1, 0});
  CHECK(members(set, "11-30 candidates") == Bits{0, 0, 0, 1});
  CHECK(members(set, ">30 candidates") == Bits{1, 0, 0, 0});
  CHECK(members(set, "head query") == Bits{0, 0, 1, 0});
  CHECK(members(set, "tail query") == Bits{0, 1, 0, 1});

  REQUIRE(set.heuristics.size() == 3);
  CHECK(set.heuristics[0].name == "initial order");
  CHECK(order(set, 0, 3) == "b z0 z1 z2 z3 z4 z5 z6 z7 z8 c a");
  CHECK(set.heuristics[1].name == "popularity");  // c 24, b 4; the click on a was validation's
  CHECK(order(set, 1, 3) == "c b z0 z1 z2 z3 z4 z5 z6 z7 z8 a");
  CHECK(set.heuristics[2].name == "last-interacted-first");
  CHECK(order(set, 2, 3) == "a c b z0 z1 z2 z3 z4 z5 z6 z7 z8");
  CHECK(order(set, 2, 2) == "x y a");  // the others' events are not the user's
  for (const Predictions& system : set.heuristics) CHECK((system.pctr.empty() && system.list_ctr.empty()));
}

TEST_CASE("evaluation set: popularity and what is unseen are the data's own, whatever has an embedding and whatever the model was trained on") {
  const TemporaryFolder folder;
  const std::string past = R"(,"history":[{"time":1,"query":"past","item":"h"}])";
  std::vector<std::string> lines = small_log();
  lines[2] = line(3, "once", "q0", candidate("b", 0, 0) + ',' + candidate("c", 1, 0), past);
  lines[19] = line(20, "once", "past", candidate("h", 0, 0) + ',' + candidate("new", 0, 0) + ',' + candidate("c", 0, 0) + ',' + candidate("b", 0, 0));
  const data::Dataset all = pack(folder / "all", lines, data::SplitKind::time, 1), none = pack(folder / "none", lines, data::SplitKind::time, 1000000);
  const data::Dataset elsewhere = pack(folder / "elsewhere", {line(1, "new", "never heard", candidate("new", 1, 1))}, data::SplitKind::given, 1);
  CHECK(none.features().item.rows() == data::kFirstId);
  for (const data::Dataset* dataset : {&all, &none}) {
    for (const data::Dataset* model : {&all, &none, &elsewhere}) {
      data::BatchBuilder builder(model->features(), {});
      builder.attach(*dataset);
      const EvaluationSet set = evaluation_set(*dataset, std::vector<std::int64_t>{16, 17, 18, 19}, model->features(), builder);
      CHECK(members(set, "unseen user") == Bits{0, 0, 1, 0});
      CHECK(members(set, "unseen query") == Bits{0, 0, 0, 0});  // "past" stood in a history of the training part
      CHECK(members(set, "mostly unseen items") == Bits{1, 0, 1, 0});
      CHECK(order(set, 1, 3) == "c b h new");
    }
  }
}

TEST_CASE("evaluation set: without a training part nothing is seen and nobody is popular") {
  const TemporaryFolder folder;
  const data::Dataset learnt = pack(folder / "learnt", small_log());
  const std::string one_line = line(5, "u0", "q0", candidate("a", 0, 0) + ',' + candidate("c", 0, 0));
  const data::Dataset other = pack(folder / "other", {one_line}, data::SplitKind::none);
  const std::int64_t first = 0;
  data::BatchBuilder builder(learnt.features(), {});
  builder.attach(other);
  const EvaluationSet set = evaluation_set(other, {&first, 1}, learnt.features(), builder);
  for (const char* slice : {"unseen user", "unseen query", "mostly unseen items"}) CHECK(members(set, slice) == Bits{1});
  for (const char* slice : {"head query", "tail query"}) CHECK(members(set, slice) == Bits{0});
  CHECK(order(set, 1, 0) == "a c");
}

TEST_CASE("evaluation set: the heuristics on a simulated log are their definitions") {
  const TemporaryFolder folder;
  write_tiny_data(folder / "data", 600);
  const data::Dataset dataset(folder / "data");
  data::BatchBuilder builder(dataset.features(), {});
  builder.attach(dataset);
  const std::vector<std::int64_t> requests = dataset.requests(data::Split::test);
  const EvaluationSet set = evaluation_set(dataset, requests, dataset.features(), builder);

  std::map<std::string_view, int> clicks;  // and conversions, in the training part
  for (const std::int64_t r : dataset.requests(data::Split::train)) {
    for (std::int64_t c = dataset.candidate_begin(r); c < dataset.candidate_end(r); ++c) {
      clicks[dataset.item(c)] += dataset.clicks()[static_cast<std::size_t>(c)] + dataset.conversions()[static_cast<std::size_t>(c)];
    }
  }
  std::size_t row = 0, touched = 0, popular = 0, wrong = 0;
  for (const std::int64_t r : requests) {
    std::map<std::string_view, std::int64_t> last;  // the user's last touch of an item: the log is in the order of time
    for (std::int64_t q = 0; q < r; ++q) {
      if (dataset.user(q) != dataset.user(r)) continue;
      for (std::int64_t c = dataset.candidate_begin(q); c < dataset.candidate_end(q); ++c) {
        if (dataset.clicks()[static_cast<std::size_t>(c)] != 0) last[dataset.item(c)] = c + 1;
      }
    }
    const auto n = static_cast<std::size_t>(dataset.candidate_end(r) - dataset.candidate_begin(r));
    std::vector<std::int64_t> recency, popularity;
    for (std::size_t i = 0; i < n; ++i) {
      const std::string_view item = dataset.item(dataset.candidate_begin(r) + static_cast<std::int64_t>(i));
      recency.push_back(last.contains(item) ? last[item] : 0);
      popularity.push_back(clicks[item]);
      touched += last.contains(item);
      popular += popularity.back() > 0;
    }
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const auto above = [&](std::size_t system) { return set.heuristics[system].score[row + j] > set.heuristics[system].score[row + i]; };
        wrong += !above(0);
        wrong += above(1) != (popularity[j] >= popularity[i]);
        wrong += above(2) != (recency[j] >= recency[i]);
      }
    }
    row += n;
  }
  CHECK(wrong == 0);
  CHECK(touched > 20);
  CHECK(popular > 100);
}

TEST_CASE("evaluation set: the real log's shown order and last-interacted-first have their known MRR") {
  const char* root = std::getenv("PIANO_DATA");
  const std::string path = std::string(root ? root : "../shared/data") + "/trivago/sessions.csv.gz";
  if (!std::filesystem::exists(path)) {
    MESSAGE("not run: " << path << " is not there (set PIANO_DATA)");
    return;
  }
  const TemporaryFolder folder;
  data::WriterOptions options;
  options.split = data::SplitKind::none;
  data::DatasetWriter writer(folder / "data", options);
  data::read_trivago({path}, {}, writer);
  writer.commit();
  const data::Dataset dataset(folder / "data");
  data::BatchBuilder builder(dataset.features(), {});
  builder.attach(dataset);
  const EvaluationSet set = evaluation_set(dataset, dataset.requests(data::Split::test), dataset.features(), builder);
  const RankingMetric mrr{"MRR target", Gain::target, Measure::reciprocal_rank, 0, false};
  CHECK(set.lists.size() == 10957);
  CHECK(std::round(1e4 * mean_metric(set.lists, set.heuristics[0].score, mrr)) == 4512);
  CHECK(std::round(1e4 * mean_metric(set.lists, set.heuristics[2].score, mrr)) == 6072);
}
