// One request on several cores, and histories kept from request to request: the same bits as without.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/ops/shared_forward.h"
#include "piano/history_cache.h"
#include "tests/piano/network_bench.h"
#include "tests/piano/served_world.h"
#include "tests/support/allocation_counter.h"

using namespace piano;

namespace {

// The configurations whose forward differs.
const std::vector<std::string> kVariants{"", "ian.pool=mean", "ian.pool=attention", "qdir.mode=mean", "qdir.mode=item_only", "qdir.mode=off", "qdir.null_slot=false\nqdir.query=query+user"};

// A request with `candidates` candidates and `events` past events, some of them shared with others of the same `seed`.
std::string long_request(int candidates, int events, int seed) {
  std::string text = R"({"user":"u-)" + std::to_string(seed) + R"(","time":2000000,"query":"rock","history":[)";
  for (int e = 0; e < events; ++e) {
    text += (e > 0 ? "," : "") + (R"({"time":)" + std::to_string(1000 * e) + R"(,"query":"rock )" + std::to_string((e * 7 + seed) % 11) +
                                  R"(","item":"t-)" + std::to_string(e % 9 + seed) + R"(","action":"click"})");
  }
  text += R"(],"candidates":[)";
  for (int i = 0; i < candidates; ++i) text += (i > 0 ? "," : "") + (R"({"id":"t-)" + std::to_string(i) + "\"}");
  return text + "]}";
}

std::vector<std::string> long_requests() {
  std::vector<std::string> lines;
  for (const int n : {1, 47, 48, 100, 173}) {
    for (const int h : {0, 3, 60}) lines.push_back(long_request(n, h, (n + h) % 3));
  }
  for (int again = 0; again < 4; ++again) lines.push_back(long_request(20, 30, again % 2));
  return lines;
}

World long_world() {
  Config config = tiny_config();
  config.model.max_history = 64;
  config.model.layers = 2;
  return World(config);
}

}  // namespace

TEST_CASE("latency: a forward on several threads has the bits of one, for every form of the model") {
  const data::FeatureSpace features = bench::feature_space({});
  for (const std::string& variant : kVariants) {
    INFO(variant);
    bench::Bench b(bench::small_config(variant), features, cpu_device());
    const data::Batch batch = bench::random_batch({}, {{130, 70}, {3, 0}, {60, 5}}, 3);
    const bench::Scores expected = b.scores(batch);
    for (const int threads : {1, 2, 4}) {
      SharedForward shared(threads);
      shared.begin();
      Context ctx = b.context();
      ctx.shared = &shared;
      const Logits logits = (*b.network)(ctx, batch);
      shared.run(ctx);
      CHECK(bench::read(logits) == expected);
      CHECK(shared.meetings() <= 12);
    }
  }
}

TEST_CASE("latency: what is remembered of a history stands for it bit by bit") {
  const data::FeatureSpace features = bench::feature_space({});
  for (const std::string& variant : kVariants) {
    INFO(variant);
    bench::Bench b(bench::small_config(variant), features, cpu_device());
    const data::Batch batch = bench::random_batch({}, {{13, 9}}, 4);
    const bench::Scores expected = b.scores(batch);
    const Context ctx = b.context();
    HistoryMemory memory;
    CHECK(bench::read((*b.network)(ctx, batch, memory)) == expected);
    if (variant == "qdir.mode=off") continue;
    data::Batch forgotten = batch;  // its history columns are not read again
    for (auto& id : forgotten.history_query.id) id = 0;
    CHECK(bench::read((*b.network)(ctx, forgotten, memory)) == expected);
    if (variant != "qdir.mode=item_only") CHECK(bench::read((*b.network)(ctx, forgotten)) != expected);
  }
}

TEST_CASE("latency: answers do not depend on the threads, nor on the histories kept") {
  const World world = long_world();
  const std::vector<std::string> lines = long_requests();
  data::RequestParser parser;
  Session plain(world.model, {.history_cache_bytes = 0});
  std::vector<std::vector<Ranked>> expected;
  std::vector<float> expected_list;
  for (const std::string& line : lines) {
    const Response& response = plain.rerank(parser.parse(line));
    expected.push_back(copy(response));
    expected_list.push_back(response.list_ctr);
  }
  CHECK(plain.history_use().requests == 0);
  for (const int threads : {1, 2, 3}) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{40'000}, std::size_t{8} << 20}) {  // none, room for two histories, for all
      Session session(world.model, {.threads = threads, .history_cache_bytes = bytes});
      for (int pass = 0; pass < 3; ++pass) {
        for (std::size_t i = 0; i < lines.size(); ++i) {
          INFO(threads, " threads, ", bytes, " bytes, request ", i);
          const Request& request = parser.parse(lines[i]);
          const auto before = allocation_count();
          const Response& response = session.rerank(request);
          if (pass > 1) CHECK(allocation_count() == before);
          CHECK(same(copy(response), expected[i]));
          CHECK(response.list_ctr == expected_list[i]);
        }
      }
      const HistoryUse use = session.history_use();
      if (bytes == 0) CHECK(use.known == 0);
      else CHECK(use.requests == 3 * 14);
      if (bytes > 1'000'000) CHECK(use.known >= 2 * 14);
      if (bytes > 0 && bytes < 1'000'000) CHECK(use.known < 2 * 14);
    }
  }
}

TEST_CASE("histories kept: found by their columns and not by a hash, the one used longest ago gives way") {
  using Key = std::vector<std::int32_t>;
  HistoryCache cache(2000, 4, 100, [](std::span<const std::int32_t> key) -> std::uint64_t { return key.size(); });  // collides
  REQUIRE(cache.slots() == 4);
  const auto put = [&](const Key& key) {
    CHECK(cache.find(key).empty());
    const auto room = cache.keep(key, 10);
    REQUIRE(room.size() == 10);
    std::fill(room.begin(), room.end(), static_cast<float>(key.back()));
  };
  const auto has = [&](const Key& key) {
    const auto values = cache.find(key);
    return values.size() == 10 && values.front() == static_cast<float>(key.back()) && values.back() == values.front();
  };
  for (std::int32_t i = 1; i <= 4; ++i) put({7, i});
  for (std::int32_t i = 1; i <= 4; ++i) CHECK(has({7, i}));
  CHECK(!has({7, 5}));
  CHECK(has({7, 1}));  // now 2 is the oldest
  put({7, 6, 6});
  CHECK(!has({7, 2}));
  for (const Key& key : {Key{7, 1}, {7, 3}, {7, 4}, {7, 6, 6}}) CHECK(has(key));
  for (std::int32_t i = 20; i < 60; ++i) put({i % 5, i});  // in and out of shared buckets
  for (std::int32_t i = 20; i < 60; ++i) CHECK(has({i % 5, i}) == (i >= 56));
  CHECK(cache.keep(Key{1, 2, 3, 4, 5}, 10).empty());  // too large for a slot
  CHECK(cache.keep(Key{1}, 101).empty());
  CHECK(HistoryCache(100, 4, 100).slots() == 0);
}

TEST_CASE("histories kept: every column counts") {
  const data::Batch batch = bench::random_batch({}, {{3, 6}}, 5);
  std::vector<std::int32_t> key, other;
  history_key(batch, key);
  const auto differs = [&](auto change) {
    data::Batch changed = batch;
    change(changed);
    history_key(changed, other);
    return other != key;
  };
  CHECK(!differs([](data::Batch& b) { b.query.id[0] += 1, b.item.id[0] += 1; }));
  CHECK(differs([](data::Batch& b) { b.history_query.id[2] += 1; }));
  CHECK(differs([](data::Batch& b) { b.history_query.terms.ids[0] += 1; }));
  CHECK(differs([](data::Batch& b) { b.history_item.id[5] += 1; }));
  for (const std::size_t field : {0u, 1u}) {
    CHECK(differs([&](data::Batch& b) { b.history_item.fields[field].ids.back() += 1; }));
    CHECK(differs([&](data::Batch& b) { b.history_item.fields[field].offsets[3] += 1; }));
  }
  CHECK(differs([](data::Batch& b) { b.history_action[1] += 1; }));
  CHECK(differs([](data::Batch& b) { b.history_age[0] += 1; }));
  CHECK(differs([](data::Batch& b) { b.history_vector_of.assign(b.history_age.size(), 4); }));
}
