// What n-grams are for: a typo of a known query is answered much as the query. What item vectors are for: an item that training never saw is
// known by its vector, as a candidate and in the past. All of it served from the model file alone.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "data/request_json.h"
#include "piano/model_file.h"
#include "piano/piano.h"
#include "piano/trainer.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/tiny_data.h"

using namespace piano;

namespace {

const std::array<std::string, 4> kNames{"beethoven", "metallica", "radiohead", "shakira"};

// Candidates a, b, c, d turned by `turn`; with `clicked`, the n-th of the four is clicked.
std::string line(const std::string& query, int turn, int clicked, const std::string& more = "") {
  std::string out = R"({"query":")" + query + "\"" + more + R"(,"candidates":[)";
  for (int i = 0; i < 4; ++i) {
    const int item = (i + turn) % 4;
    out += std::string(i == 0 ? "" : ",") + R"({"id":")" + static_cast<char>('a' + item) + "\"";
    if (clicked >= 0) out += item == clicked ? R"(,"click":1,"conversion":1)" : R"(,"click":0)";
    out += "}";
  }
  return out + "]}";
}

std::shared_ptr<const Model> trained(const TemporaryFolder& folder, const std::vector<std::string>& lines, data::WriterOptions options, int epochs) {
  options.test_fraction = options.valid_fraction = 0;
  {
    data::DatasetWriter writer(folder / "data", options);
    data::RequestParser parser;
    for (std::size_t i = 0; i < lines.size(); ++i) writer.add_request(parser.parse(lines[i]), static_cast<std::int64_t>(i), false);
    writer.commit();
  }
  const data::Dataset data(folder / "data");
  ThreadPool pool(1);
  Config config = tiny_config();
  config.train.learning_rate = 0.01;
  config.model.oov_dropout = 0.1;
  Trainer trainer(config, data, pool);
  const std::vector<std::int64_t> requests = data.requests(data::Split::train);
  for (int epoch = 0; epoch < epochs; ++epoch)
    for (std::size_t at = 0; at < requests.size(); at += 16) trainer.step(std::span(requests).subspan(at, std::min<std::size_t>(16, requests.size() - at)));
  save_model(folder / "model", trainer.config(), data.features(), trainer.parameters());
  return Model::load(folder / "model");
}

// Scores of the four candidates, in the order of their ids.
std::array<double, 4> scores(const std::shared_ptr<const Model>& model, const std::string& request) {
  Session session(model);
  data::RequestParser parser;
  std::array<double, 4> out{};
  for (const Ranked& r : session.rerank(parser.parse(request)).ranking) out[static_cast<std::size_t>(r.id[0] - 'a')] = r.score;
  return out;
}

double distance(const std::array<double, 4>& a, const std::array<double, 4>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < 4; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

std::vector<std::string> log_of_names() {
  std::vector<std::string> lines;
  for (int i = 0; i < 128; ++i) lines.push_back(line(kNames[static_cast<std::size_t>(i % 4)], i / 4 % 4, i % 4));
  return lines;
}

}  // namespace

TEST_CASE("n-grams: a typo is answered much as the query it is one of, an unrelated word is not") {
  const TemporaryFolder folder;
  const std::array<std::string, 4> typos{"bethoven", "metalica", "RADIOHAED", "shakirra"};
  const std::string unrelated = "xylophone";
  data::WriterOptions options;
  const auto plain = trained(folder, log_of_names(), options, 12);
  for (const std::string& typo : typos) CHECK(scores(plain, line(typo, 0, -1)) == scores(plain, line(unrelated, 0, -1)));  // unseen is unseen

  options.ngrams = {3, 5, 2000};
  const auto model = trained(folder, log_of_names(), options, 12);
  const auto other = scores(model, line(unrelated, 0, -1));
  double of_typos = 0, of_unrelated = 0;  // distances from what the known query gets: over all, since one name may lie near by chance
  for (std::size_t q = 0; q < 4; ++q) {
    const auto known = scores(model, line(kNames[q], 0, -1)), typo = scores(model, line(typos[q], 0, -1));
    CHECK(std::max_element(known.begin(), known.end()) - known.begin() == static_cast<std::ptrdiff_t>(q));
    CHECK(std::max_element(typo.begin(), typo.end()) - typo.begin() == static_cast<std::ptrdiff_t>(q));
    of_typos += distance(typo, known), of_unrelated += distance(other, known);
  }
  CHECK(of_typos < 0.7 * of_unrelated);
}

TEST_CASE("item vectors: an unseen item is known by its vector, from the model file") {
  const TemporaryFolder folder;
  // Items of the first kind are clicked; none is seen twice, so their vectors are all there is to know.
  std::vector<std::string> lines, ids{"a", "b", "c", "d"};
  std::vector<float> values{1, 0, 0, 1, 1, 0, 0, 1};
  for (int i = 0; i < 160; ++i) {
    const std::string n = std::to_string(i), good = R"({"id":"good)" + n + R"(","click":1})", bad = R"({"id":"bad)" + n + R"(","click":0})";
    lines.push_back(R"({"candidates":[)" + (i % 2 == 0 ? good + "," + bad : bad + "," + good) + "]}");
    ids.insert(ids.end(), {"good" + n, "bad" + n});
    values.insert(values.end(), {1, 0, 0, 1});
  }
  data::WriterOptions options;
  options.item_vectors = data::ItemVectors(ids, values, 2);
  const auto model = trained(folder, lines, options, 4);
  const auto s = scores(model, line("", 0, -1));  // a and c are like the first kind; no log has them
  CHECK(std::min(s[0], s[2]) > std::max(s[1], s[3]) + 0.5);

  // A request's own vector goes before the model's.
  std::string own = line("", 0, -1);
  own.insert(own.find(R"("id":"b")"), R"("vector":[1,0],)");
  CHECK(scores(model, own)[1] > scores(model, line("", 0, -1))[1] + 0.5);
}

TEST_CASE("item vectors: past items have them, and kept histories tell them apart") {
  const TemporaryFolder folder;
  data::WriterOptions options;
  options.min_count = 1000;  // no item has a row: past items differ by their vectors alone
  options.item_vectors = data::ItemVectors({"a", "b", "x", "y", "z"}, {1, 0, 0, 1, 3, 1, -1, 2, 3, 1}, 2);
  const auto past = [](const std::string& item) { return R"(,"history":[{"query":"metallica","item":")" + item + R"(","action":"play"}])"; };
  std::vector<std::string> lines;
  for (int i = 0; i < 64; ++i) lines.push_back(line(kNames[static_cast<std::size_t>(i % 4)], i % 3, i % 4, past(i % 2 == 0 ? "x" : "y")));
  const auto model = trained(folder, lines, options, 2);
  const auto x = scores(model, line("radiohead", 0, -1, past("x"))), y = scores(model, line("radiohead", 0, -1, past("y")));
  CHECK(x != y);
  CHECK(x == scores(model, line("radiohead", 0, -1, past("z"))));  // the same vector, and nothing else known
  CHECK(x != scores(model, line("radiohead", 0, -1, past("unknown"))));

  Session session(model);
  data::RequestParser parser;
  const auto ask = [&](const std::string& item) {
    std::vector<double> out;
    for (const Ranked& r : session.rerank(parser.parse(line("radiohead", 0, -1, past(item)))).ranking) out.push_back(r.score);
    return out;
  };
  const std::vector<double> first = ask("x"), second = ask("y");
  CHECK(first != second);
  CHECK(ask("x") == first);
  CHECK(session.history_use().known == 1);
}

TEST_CASE("n-grams, item vectors, match features: files say that they need a reader that knows them") {
  data::FeatureSpace features;
  CHECK(features.version() == 1);
  features.item_vectors = data::ItemVectors({"a"}, {1}, 1);
  CHECK(features.version() == 2);
  features.item_vectors = {};
  features.schema.ngrams = {3, 5, 100};
  CHECK(features.version() == 2);
  features.schema.match_set = 2;
  CHECK(features.version() == 3);
  features.schema.match_set = 3;
  CHECK(features.version() == 5);
  const TemporaryFolder folder;
  trained(folder, log_of_names(), data::WriterOptions(), 1);
  CHECK(SafetensorsFile(folder / "model").metadata().at("min_reader_version") == "6");
}
