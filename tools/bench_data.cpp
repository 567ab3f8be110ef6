#include "tools/bench_data.h"

#include <cmath>
#include <unordered_set>

#include "data/dataset_writer.h"
#include "data/request_json.h"
#include "engine/base/random.h"

namespace piano::tools {
namespace {

constexpr std::int64_t kEpoch = 1'700'000'000;
constexpr const char* kActions[] = {"play", "skip", "like"};

// 0 .. n-1 by Zipf's law with exponent 1, cut at n: the logarithm of the rank is uniform.
std::int64_t zipf(RandomStream& random, std::int64_t n) {
  const double rank = std::exp(random.uniform() * std::log(static_cast<double>(n) + 1)) - 1;
  return std::min(static_cast<std::int64_t>(rank), n - 1);
}

// Draws that belong to a thing (an item's artist, a query's words) and not to the list in which it comes.
RandomStream facts(const char* kind, std::int64_t index) { return {static_cast<std::uint64_t>(index), kind}; }

std::string text(std::int64_t n) { return std::to_string(n); }

std::string query_text(const BenchLog& log, std::int64_t query) {
  RandomStream random = facts("bench.query", query);
  std::string out = "w" + text(query % log.terms);
  for (std::uint64_t more = random.below(3); more > 0; --more) out += " w" + text(zipf(random, log.terms));
  return out;
}

// "artist" comes with events too and so can match; "genre" may have two values.
std::string item_fields(const BenchLog& log, std::int64_t item, bool of_event) {
  RandomStream random = facts("bench.item", item);
  std::string out = R"("fields": {"artist": "a)" + text(zipf(random, log.artists)) + "\"";
  if (of_event) return out + "}";
  const std::uint64_t genre = random.below(30);
  out += R"(, "genre": ["g)" + text(static_cast<std::int64_t>(genre)) + "\"";
  if (random.below(4) == 0) out += R"(, "g)" + text(static_cast<std::int64_t>((genre + 1 + random.below(29)) % 30)) + "\"";
  return out + "]}";
}

std::string event(const BenchLog& log, std::int64_t time, std::int64_t query, std::int64_t item, std::uint64_t action) {
  return R"({"time": )" + text(time) + R"(, "query": ")" + query_text(log, query) + R"(", "item": "i)" + text(item) + "\", " +
         item_fields(log, item, true) + R"(, "action": ")" + kActions[action] + "\"}";
}

std::string number(RandomStream& random) { return std::to_string(random.normal()); }

std::string user(std::int64_t index) {
  RandomStream random = facts("bench.user", index);
  return R"("user": {"id": "u)" + text(index) + R"(", "fields": {"country": "c)" + text(zipf(random, 60)) + R"("}, "dense": [)" + number(random) + "]}";
}

std::string begin(const std::string& id, std::int64_t time, const std::string& user, const std::string& query) {
  return R"({"id": ")" + id + R"(", "time": )" + text(time) + ", " + user + R"(, "query": ")" + query + "\"";
}

// One short request of user `index` whose history has its share of all items.
std::string vocabulary_request(const BenchLog& log, std::int64_t index) {
  std::string out = begin("vocabulary-" + text(index), kEpoch, user(index), query_text(log, index % log.queries)) + R"(, "history": [)";
  bool first = true;
  for (std::int64_t item = index; item < log.items; item += log.users) {
    out += (first ? "" : ", ") + event(log, kEpoch - 1, item % log.queries, item, static_cast<std::uint64_t>(item) % 3);
    first = false;
  }
  return out + R"(], "candidates": [{"id": "i0"}]})";
}

}  // namespace

std::string bench_request(const BenchLog& log, std::int64_t index) {
  RandomStream random(static_cast<std::uint64_t>(index), "bench.list");
  const std::int64_t time = kEpoch + 60 * (index + 1);
  std::string out = begin("list-" + text(index), time, user(index % log.users), query_text(log, zipf(random, log.queries)));
  out += R"(, "context": {"device": "d)" + text(static_cast<std::int64_t>(random.below(4))) + R"("}, "history": [)";
  for (std::int64_t e = 0; e < log.history; ++e) {
    const std::int64_t query = zipf(random, log.queries), item = zipf(random, log.items);
    out += (e == 0 ? "" : ", ") + event(log, time - 4000 * (log.history - e), query, item, random.below(3));
  }
  out += R"(], "candidates": [)";
  const auto least = static_cast<std::int64_t>(std::ceil(log.full * static_cast<double>(log.candidates)));
  const std::int64_t n = least + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(log.candidates - least + 1)));
  const bool any_click = random.below(10) < 6, bought = random.below(2) == 0;  // so that no label is the same everywhere
  const auto clicked = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(n)));
  std::unordered_set<std::int64_t> taken;
  for (std::int64_t i = 0; i < n; ++i) {
    std::int64_t item = zipf(random, log.items);
    while (!taken.insert(item).second) item = zipf(random, log.items);
    const bool click = any_click && (i == clicked || random.below(20) == 0);
    out += std::string(i == 0 ? "" : ", ") + R"({"id": "i)" + text(item) + R"(", "score": )" + number(random) + ", " + item_fields(log, item, false) +
           R"(, "dense": [)" + number(random) + ", " + number(random) + ", " + number(random) + ", " + number(random) + R"(], "click": )" +
           (click ? "1" : "0") + R"(, "conversion": )" + (click && bought ? "1" : "0") + "}";
  }
  return out + "]}";
}

void write_bench_data(const BenchLog& log, const std::string& path) {
  data::WriterOptions options;
  options.valid_fraction = options.test_fraction = 0;
  options.min_count = 1;
  data::DatasetWriter writer(path, options);
  data::RequestParser parser;
  for (std::int64_t i = 0; i < log.users; ++i) writer.add_request(parser.parse(vocabulary_request(log, i)), 0, false);
  for (std::int64_t i = 0; i < log.lists; ++i) writer.add_request(parser.parse(bench_request(log, i)), 0, false);
  writer.commit();
}

std::vector<std::int64_t> bench_lists(const data::Dataset& dataset) {
  std::vector<std::int64_t> lists;
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    if (dataset.id(r).starts_with("list-")) lists.push_back(r);
  }
  return lists;
}

}  // namespace piano::tools
