// Serving: a request's answer has the same bits alone, in any session, after any other request, and as evaluation sees it.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "tests/base/temporary_folder.h"
#include "piano/model_file.h"
#include "piano/piano.h"
#include "piano/predictor.h"
#include "tests/piano/tiny_data.h"
#include "piano/trainer.h"
#include "tests/support/allocation_counter.h"

using namespace piano;

namespace {

// A model after a few steps, and requests with explicit histories.
struct World {
  World() {
    write_tiny_data(folder / "data", 300);
    const data::Dataset data(folder / "data");
    ThreadPool pool(1);
    Trainer trainer(tiny_config(), data, pool);
    for (std::size_t at = 0; at + 32 <= trainer.training_requests().size(); at += 32) {
      trainer.step(std::span(trainer.training_requests()).subspan(at, 32));
    }
    save_model(folder / "model", trainer.config(), data.features(), trainer.parameters());
    model = Model::load(folder / "model");
    data::SimulatorOptions options;
    options.requests = 40;
    options.seed = 7;
    data::simulate(options, [&](std::string_view line) {
      std::string text(line);
      const std::string history = R"("history":[{"time":1,"query":"rock )" + std::to_string(lines.size()) +
                                  R"(","item":"t-1","action":"click"},{"time":5,"query":"sleep"}],)";
      if (lines.size() % 3 != 0) text.insert(text.find("\"candidates\""), history);
      lines.push_back(text);
    }, nullptr);
  }
  TemporaryFolder folder;
  std::shared_ptr<const Model> model;
  std::vector<std::string> lines;
};

std::vector<Ranked> copy(const Response& response) { return {response.ranking.begin(), response.ranking.end()}; }

bool same(const std::vector<Ranked>& a, const std::vector<Ranked>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].rank != b[i].rank || a[i].from != b[i].from || a[i].score != b[i].score || a[i].ctr != b[i].ctr || a[i].cvr != b[i].cvr) return false;
  }
  return true;
}

}  // namespace

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
      CHECK(r.score == ranking_score(model.config, a.click[i], a.conversion[i], a.value[i]));
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

TEST_CASE("serving: a model with a parameter that is not a number gives an error, not an order") {
  const World world;
  const Model::Impl& good = world.model->impl();
  ParameterStore parameters;
  const Network network(good.config, good.features, parameters);
  parameters.allocate();
  parameters.copy_values_from(good.parameters);
  for (const Parameter& p : parameters.parameters()) {
    if (p.name == "head.click.up.weight") parameters.values<float>(p)[0] = NAN;
  }
  save_model(world.folder / "broken", good.config, good.features, parameters);
  data::RequestParser parser;
  Session session(Model::load(world.folder / "broken"));
  CHECK_THROWS_WITH_AS(session.rerank(parser.parse(world.lines[0])), doctest::Contains("damaged"), Error);
}
