// Serving: a request's answer has the same bits alone, in any session, after any other request, and as evaluation sees it.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "piano/model_file.h"
#include "piano/model_predictions.h"
#include "piano/piano.h"
#include "piano/predictor.h"
#include "tests/piano/served_world.h"
#include "tests/support/allocation_counter.h"

using namespace piano;

TEST_CASE("serving: an answer does not depend on what was asked before") {
  const World world;
  data::RequestParser parser;
  Session warm(world.model);
  for (const std::string& line : world.lines) {
    const Request& request = parser.parse(line);
    const std::vector<Ranked> after_others = copy(warm.rerank(request));
    Session fresh(world.model);
    CHECK(same(copy(fresh.rerank(request)), after_others));
    REQUIRE(after_others.size() == request.candidates.size());
    for (std::size_t i = 0; i < after_others.size(); ++i) {
      CHECK(after_others[i].rank == static_cast<std::int32_t>(i + 1));
      if (i > 0) CHECK(after_others[i - 1].score >= after_others[i].score);
    }
  }
}

TEST_CASE("serving: a warmed-up request does not allocate") {
  const World world;
  data::RequestParser parser;
  Session session(world.model);
  for (int pass = 0; pass < 2; ++pass) {
    for (const std::string& line : world.lines) {
      const Request& request = parser.parse(line);
      const auto before = allocation_count();
      session.rerank(request);
      if (pass > 0) CHECK(allocation_count() - before == 0);
    }
  }
}

TEST_CASE("serving: rerank and evaluation see the same numbers, whatever the batch and the threads") {
  const World world;
  const std::string packed = world.folder / "served";
  {
    data::WriterOptions options;
    options.split = data::SplitKind::none;
    data::DatasetWriter writer(packed, options);
    data::RequestParser parser;
    for (const std::string& line : world.lines) {
      const Request& request = parser.parse(line);
      Request explicit_history = request;
      explicit_history.has_history = true;  // lines without one have an empty one, as in serving
      writer.add_request(explicit_history, 0, false);
    }
    writer.commit();
  }
  const data::Dataset data(packed);
  const Model::Impl& model = world.model->impl();
  data::BatchBuilder builder(model.features, model.limits());
  builder.attach(data);
  const std::vector<std::int64_t> requests = data.requests(data::Split::test);
  ThreadPool one(1), three(3);
  Predictor alone(model.config, *model.network, model.parameters, model.features, builder, one);
  Predictor shared(model.config, *model.network, model.parameters, model.features, builder, three);
  const PredictedLogits a = alone.predict(data, requests), b = shared.predict(data, requests);
  CHECK(a.click == b.click);
  CHECK(a.conversion == b.conversion);
  CHECK(a.list_click == b.list_click);

  const PredictedLogits permuted = alone.predict(data, requests, true), again = shared.predict(data, requests, true);
  CHECK(permuted.click == again.click);  // a function of the request alone
  CHECK(permuted.click != a.click);      // past queries are read

  data::RequestParser parser;
  Session session(world.model);
  for (std::size_t l = 0; l < requests.size(); ++l) {
    const Response& response = session.rerank(parser.parse(world.lines[l]));
    CHECK(response.list_ctr == static_cast<float>(sigmoid(a.list_click[l])));
    for (const Ranked& r : response.ranking) {
      const auto i = static_cast<std::size_t>(a.offsets[l] + r.from - 1);
      CHECK(r.ctr == static_cast<float>(sigmoid(a.click[i])));
      CHECK(r.score == ranking_score(model.config, a, i));
    }
  }
}

TEST_CASE("serving: bad requests and bad files are errors with a reason") {
  const World world;
  Session session(world.model);
  CHECK_THROWS_AS(session.rerank(Request{}), Error);  // no candidates
  CHECK_THROWS_AS(Model::load(world.folder / "absent"), Error);
  CHECK_THROWS_WITH_AS(Model::load(world.folder / "data"), doctest::Contains("piano-data"), Error);  // a data set is not a model
}

namespace {

// The same model, but that one number of its click head is none.
auto broken_copy(const Model::Impl& good, ParameterStore& parameters) {
  auto network = make_network(good.config, good.features, parameters);
  parameters.allocate();
  parameters.copy_values_from(good.parameters);
  for (const Parameter& p : parameters.parameters()) {
    if (p.name == "head.click.up.weight") parameters.values<float>(p)[0] = NAN;
  }
  return network;
}

}  // namespace

TEST_CASE("serving: a model with a parameter that is not a number gives an error, not an order") {
  const World world;
  const Model::Impl& good = world.model->impl();
  ParameterStore parameters;
  const auto network = broken_copy(good, parameters);
  save_model(world.folder / "broken", good.config, good.features, parameters);
  data::RequestParser parser;
  Session session(Model::load(world.folder / "broken"));
  CHECK_THROWS_WITH_AS(session.rerank(parser.parse(world.lines[0])), doctest::Contains("damaged"), Error);
  const data::Dataset data(world.folder / "data");
  ThreadPool pool(2);
  CHECK_THROWS_WITH_AS(predict(*Model::load(world.folder / "broken"), data, data.requests(data::Split::test), pool), doctest::Contains("not a number"), Error);
}

TEST_CASE("serving: a search does not start from scores that are no numbers") {
  Config config = tiny_config();
  config.encoder.position = PositionMode::displayed, config.rank.by = RankBy::list_search;
  const World world(config);
  const Model::Impl& good = world.model->impl();
  ParameterStore parameters;
  const auto network = broken_copy(good, parameters);
  const data::Dataset data(world.folder / "data");
  data::BatchBuilder builder(good.features, good.limits());
  builder.attach(data);
  ThreadPool pool(2);
  Predictor predictor(good.config, *network, parameters, good.features, builder, pool);
  CHECK_THROWS_WITH_AS(predictor.predict(data, data.requests(data::Split::test)), doctest::Contains("not a number"), Error);
}
