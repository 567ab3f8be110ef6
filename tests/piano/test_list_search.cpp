// list_search: a model's judgement of whole orders is that of its forward, and the search is the one that its header tells, step by step.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "piano/list_search.h"
#include "piano/predictor.h"
#include "tests/piano/network_bench.h"
#include "tests/piano/served_world.h"
#include "tests/support/allocation_counter.h"

using namespace piano;

namespace {

const bench::World kWorld;
using Order = std::vector<std::int32_t>;

Config searching(const std::string& options = "") {
  return bench::small_config("encoder.position=displayed\nrank.by=list_search\n" + options);
}

// The list heads' logits of list l of a batch shown in `order`, by a forward of the whole batch.
std::pair<float, float> shown_in(bench::Bench& model, data::Batch batch, std::int32_t l, const Order& order) {
  const std::int32_t begin = batch.offsets[static_cast<std::size_t>(l)];
  for (std::size_t place = 0; place < order.size(); ++place) batch.position[static_cast<std::size_t>(begin + order[place])] = static_cast<std::int32_t>(place + 1);
  const bench::Scores scores = model.scores(batch);
  return {static_cast<float>(scores.list_click[static_cast<std::size_t>(l)]), static_cast<float>(scores.list_conversion[static_cast<std::size_t>(l)])};
}

JudgedList list_of(bench::Bench& model, const data::Batch& batch, std::int32_t l) {
  JudgedList list;
  list.take((*model.network)(model.context(), batch), l, batch.offsets[static_cast<std::size_t>(l)], batch.offsets[static_cast<std::size_t>(l) + 1]);
  return list;
}

Order identity(std::int32_t n) {
  Order order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

}  // namespace

TEST_CASE("list_search: judge() has the bits of a forward with the candidates at those positions, for every pool, however many orders at once") {
  const data::Batch batch = bench::random_batch(kWorld, {{3, 1}, {9, 4}, {1, 0}, {40, 2}}, 3);
  for (const char* options : {"", "ian.pool=mean", "ian.pool=attention", "encoder.attention=induced\nencoder.points=3"}) {
    CAPTURE(options);
    bench::Bench model(searching(options), bench::feature_space(kWorld), cpu_device());
    for (std::int32_t l = 0; l < batch.lists; ++l) {
      JudgedList list = list_of(model, batch, l);
      RandomStream random(7, "orders");
      std::vector<Order> orders(60, identity(list.size()));  // of 40 candidates: several passes
      Order all;
      for (Order& order : orders) random.shuffle(order), all.insert(all.end(), order.begin(), order.end());
      std::vector<float> click, conversion;
      list.judge(model.context(), *model.network, all, click, conversion);
      REQUIRE(click.size() == orders.size());
      for (const std::size_t s : {std::size_t{0}, std::size_t{31}, orders.size() - 1}) {
        const auto [c, v] = shown_in(model, batch, l, orders[s]);
        CHECK(click[s] == c);
        CHECK(conversion[s] == v);
      }
    }
  }
}

TEST_CASE("list_search: the best swap of the first places, as often as allowed, is what comes out") {
  const data::Batch batch = bench::random_batch(kWorld, {{7, 3}, {2, 0}, {1, 1}}, 5);
  for (const std::int64_t swaps : {1, 3, 50}) {
    for (const std::int64_t places : {4, 100}) {
      CAPTURE(swaps);
      CAPTURE(places);
      const Config config = searching("rank.list_click=0.3\nrank.swaps=" + std::to_string(swaps) + "\nrank.places=" + std::to_string(places));
      bench::Bench model(config, bench::feature_space(kWorld), cpu_device());
      ListSearch search(config);
      for (std::int32_t l = 0; l < batch.lists; ++l) {
        JudgedList list = list_of(model, batch, l);
        Order start = identity(list.size()), order;
        std::reverse(start.begin(), start.end());
        order = start;
        const auto value_of = [&](const Order& o) {
          const auto [click, conversion] = shown_in(model, batch, l, o);
          return 0.3 * sigmoid(click) + sigmoid(click) * sigmoid(conversion);
        };
        // The same by hand: every swap tried by a forward of its own.
        Order expected = start;
        std::int64_t made = 0;
        for (; made < swaps; ++made) {
          Order best = expected;
          const auto m = std::min(expected.size(), static_cast<std::size_t>(places));
          for (std::size_t a = 0; a < m; ++a) {
            for (std::size_t b = a + 1; b < m; ++b) {
              Order tried = expected;
              std::swap(tried[a], tried[b]);
              if (value_of(tried) > value_of(best)) best = tried;
            }
          }
          if (best == expected) break;
          expected = best;
        }
        CHECK(search.improve(model.context(), *model.network, list, order) == made);
        CHECK(order == expected);
        CHECK(search.value() == value_of(order));
        CHECK(search.start_value() == value_of(start));
        CHECK(search.value() >= search.start_value());
        if (l == 0) CHECK(made > 0);
        for (std::size_t i = static_cast<std::size_t>(places); i < start.size(); ++i) CHECK(order[i] == start[i]);
      }
    }
  }
}

TEST_CASE("list_search: equal scores stand by initial rank") {
  Order order;
  order_by_score(std::vector<double>{1, 3, 1, 3, 2}, order);
  CHECK(order == Order{1, 3, 4, 0, 2});
}

TEST_CASE("list_search: what cannot be searched is refused, and says what is missing") {
  CHECK_THROWS_WITH_AS(bench::config_of("rank.by=list_search"), doctest::Contains("encoder.position = displayed"), Error);
  CHECK_THROWS_WITH_AS(searching("list.label=count"), doctest::Contains("any or fraction"), Error);
  CHECK_THROWS_WITH_AS(searching("rank.list_click=0\nrank.list_conversion=0"), doctest::Contains("both are 0"), Error);
  CHECK_THROWS_WITH_AS(searching("loss.list_click=0"), doctest::Contains("loss.list_click"), Error);
  CHECK_THROWS_WITH_AS(bench::config_of("model=pear\nencoder.position=displayed\nrank.by=list_search"), doctest::Contains("does not read it"), Error);
}

TEST_CASE("list_search: served as evaluated, whatever the threads; the logged position is not looked at; no allocation once warm") {
  Config config = tiny_config();
  config.encoder.position = PositionMode::displayed;
  config.rank.by = RankBy::list_search;
  const World world(config);
  const Model::Impl& model = world.model->impl();
  data::RequestParser parser;
  const std::string packed = world.folder / "served";
  {
    data::WriterOptions options;
    options.split = data::SplitKind::none;
    data::DatasetWriter writer(packed, options);
    for (const std::string& line : world.lines) {
      Request request = parser.parse(line);
      request.has_history = true;
      writer.add_request(request, 0, false);
    }
    writer.commit();
  }
  const data::Dataset data(packed);
  data::BatchBuilder builder(model.features, model.limits());
  builder.attach(data);
  const std::vector<std::int64_t> requests = data.requests(data::Split::test);
  ThreadPool one(1), three(3);
  const PredictedLogits a = Predictor(model.config, *model.network, model.parameters, model.features, builder, one).predict(data, requests);
  Predictor shared(model.config, *model.network, model.parameters, model.features, builder, three);
  CHECK(shared.predict(data, requests).place == a.place);
  std::vector<double> found, by_score;
  for (std::size_t i = 0; i < a.click.size(); ++i) {
    found.push_back(-a.place[i]);
    by_score.push_back(ranking_score(model.config, a, i));
  }
  const std::vector<JudgedOrders> judged = shared.judge(data, requests, std::vector<std::span<const double>>{found, by_score});

  Session session(world.model), several(world.model, {.threads = 3});
  int moved = 0;
  for (std::size_t l = 0; l < requests.size(); ++l) {
    Request request = parser.parse(world.lines[l]);
    std::vector<Candidate> candidates(request.candidates.begin(), request.candidates.end());
    for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].position = static_cast<std::int32_t>(candidates.size() - i);  // as logged
    request.candidates = candidates;
    const Response& response = session.rerank(request);
    CHECK(response.list_ctr == static_cast<float>(sigmoid(judged[0].list_click[l])));
    CHECK(response.list_cvr[0] == static_cast<float>(sigmoid(judged[0].list_conversion[l])));
    const auto worth = [&](const JudgedOrders& orders) { return order_value(model.config, orders.list_click[l], {&orders.list_conversion[l], 1}); };
    CHECK(worth(judged[0]) >= worth(judged[1]));
    const std::vector<Ranked> ranking = copy(response);
    for (const Ranked& r : ranking) {
      const auto row = static_cast<std::size_t>(a.offsets[l] + r.from - 1);
      CHECK(a.place[row] == r.rank - 1);
      CHECK(r.score == by_score[row]);
    }
    moved += !std::is_sorted(ranking.begin(), ranking.end(), [](const Ranked& x, const Ranked& y) { return x.score > y.score; });
    CHECK(same(copy(several.rerank(request)), ranking));
  }
  CHECK(moved > 0);
  for (const std::string& line : world.lines) {  // the second time
    const Request& request = parser.parse(line);
    const auto before = allocation_count();
    session.rerank(request);
    CHECK(allocation_count() == before);
  }
}

TEST_CASE("displayed: with labels shown in another order training sees that order, and serving the initial one") {
  Config config = tiny_config();
  config.encoder.position = PositionMode::displayed;
  const World world(config);  // rank.by = score
  data::RequestParser parser;
  Session session(world.model);
  const Request& request = parser.parse(world.lines[1]);
  const std::vector<Ranked> first = copy(session.rerank(request));
  std::vector<Candidate> candidates(request.candidates.begin(), request.candidates.end());
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].position = static_cast<std::int32_t>(candidates.size() - i);
  Request reversed = request;
  reversed.candidates = candidates;
  CHECK(same(copy(session.rerank(reversed)), first));
  const Model::Impl& model = world.model->impl();
  data::BatchBuilder builder(model.features, model.limits());
  data::Batch batch;
  builder.build(reversed, batch);
  CHECK(batch.position.front() == static_cast<std::int32_t>(candidates.size()));
  show_by_initial_rank(batch);
  CHECK(batch.position.front() == 1);
}
