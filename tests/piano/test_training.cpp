// Training: the same bits for any number of threads and however it was interrupted; no allocation; an early stop that is obeyed.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>
#include <iterator>

#include "tests/base/temporary_folder.h"
#include "piano/model_file.h"
#include "tests/piano/tiny_data.h"
#include "piano/train.h"
#include "piano/trainer.h"
#include "tests/support/allocation_counter.h"

using namespace piano;

namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Log {
  explicit Log(std::int64_t requests = 400) { write_tiny_data(folder / "data.safetensors", requests); }
  data::Dataset open() const { return data::Dataset(folder / "data.safetensors"); }
  TemporaryFolder folder;
};

// Trains into `name` and returns the bytes of the model and of the state.
std::pair<std::string, std::string> run(const Log& log, const Config& config, int threads, const std::string& name, bool resume = false) {
  const data::Dataset data = log.open();
  ThreadPool pool(threads);
  TrainOptions options;
  options.out = log.folder / name;
  options.resume = resume;
  train(config, data, pool, options);
  return {bytes_of(options.out), bytes_of(options.out + ".state")};
}

// 40 steps at once and in two goes, on other numbers of threads, have the same bits: what they are.
auto resumed_is_whole(const Log& log, Config config) {
  config.train.max_steps = 40;
  const auto whole = run(log, config, 2, "whole");
  config.train.max_steps = 17;
  run(log, config, 1, "parts");
  config.train.max_steps = 40;
  CHECK(run(log, config, 3, "parts", true) == whole);
  return whole;
}

}  // namespace

TEST_CASE("training: the bits do not depend on the number of threads") {
  const Log log;
  for (const RowUpdates rows : {RowUpdates::lazy, RowUpdates::dense, RowUpdates::catchup}) {
    Config config = tiny_config();
    config.train.rows = rows;
    config.train.max_steps = 15;
    const auto one = run(log, config, 1, "one");
    for (const int threads : {2, 3, 4}) CHECK(run(log, config, threads, "many") == one);
    config.train.seed = 2;
    CHECK(run(log, config, 1, "other_seed").first != one.first);
  }
}

TEST_CASE("training: 20 + resume + 20 steps are 40, across epoch ends") {
  const Log log;
  for (const RowUpdates rows : {RowUpdates::lazy, RowUpdates::catchup}) {
    Config config = tiny_config();
    config.train.rows = rows;
    resumed_is_whole(log, config);
  }
}

TEST_CASE("training: the early stop is obeyed, resumed or not, and the best epoch is kept") {
  const Log log;
  Config config = tiny_config();
  config.train.patience = 1;
  config.train.learning_rate = 0.03;  // overfits within a few epochs
  const auto whole = run(log, config, 2, "whole");
  config.train.max_steps = 13;
  run(log, config, 2, "parts");
  config.train.max_steps = 0;
  CHECK(run(log, config, 2, "parts", true) == whole);

  const data::Dataset data = log.open();
  ThreadPool pool(1);
  TrainOptions options;
  options.out = log.folder / "again";
  const TrainSummary summary = train(config, data, pool, options);
  CHECK(summary.stopped_by == "early stop");
  CHECK(summary.epochs == summary.best_epoch + 1);
  CHECK(summary.epochs < config.train.epochs);
  Config shorter = config;
  shorter.train.epochs = summary.best_epoch;  // the kept model is the best epoch's, not the last one's
  CHECK(run(log, shorter, 1, "shorter").first == bytes_of(options.out));
  options.resume = true;
  CHECK(train(config, data, pool, options).stopped_by == "already finished");
}

TEST_CASE("training: an interrupt saves, and the training goes on as if nothing had happened") {
  const Log log;
  Config config = tiny_config();
  config.train.epochs = 2;
  const auto whole = run(log, config, 2, "whole");
  const data::Dataset data = log.open();
  ThreadPool pool(2);
  std::atomic<bool> stop{false};
  TrainOptions options;
  options.out = log.folder / "stopped";
  options.stop = &stop;
  options.progress = [&](const TrainProgress& p) { stop = p.epoch == 1; };  // at the end of the first epoch
  CHECK(train(config, data, pool, options).stopped_by == "interrupted");
  CHECK(run(log, config, 2, "stopped", true) == whole);
}

TEST_CASE("training: resuming refuses another configuration and other data") {
  const Log log;
  Config config = tiny_config();
  config.train.max_steps = 2;
  run(log, config, 1, "model");
  config.model.d = 32;
  CHECK_THROWS_WITH_AS(run(log, config, 1, "model", true), doctest::Contains("model.d = 16, got 32"), Error);
  config.model.d = 16;
  write_tiny_data(log.folder / "data.safetensors", 300, 2);
  CHECK_THROWS_WITH_AS(run(log, config, 1, "model", true), doctest::Contains("other data"), Error);
}

TEST_CASE("training: a warmed-up step does not allocate, the largest lists last") {
  const Log log;
  const data::Dataset data = log.open();
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    Trainer trainer(tiny_config(), data, pool);
    std::vector<std::int64_t> order = trainer.training_requests();
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return trainer.builder().tokens(a) < trainer.builder().tokens(b);
    });
    trainer.step(std::span(order).first(32));
    trainer.step(std::span(order).subspan(32, 32));
    for (std::size_t at = 64; at < order.size(); at += 32) {
      const auto before = allocation_count();
      trainer.step(std::span(order).subspan(at, std::min<std::size_t>(32, order.size() - at)));
      CHECK(allocation_count() - before == 0);
    }
  }
}

TEST_CASE("training: an interrupt before the first epoch's end keeps an earlier model, and the training still goes on") {
  const Log log;
  const Config config = tiny_config();
  const auto whole = run(log, config, 2, "whole");
  Config other = config;
  other.train.seed = 9;
  const std::string earlier = run(log, other, 2, "here").first;

  const data::Dataset data = log.open();
  ThreadPool pool(1);
  const std::atomic<bool> stop{true};
  TrainOptions options;
  options.out = log.folder / "here";
  options.stop = &stop;
  CHECK(train(config, data, pool, options).stopped_by == "interrupted");
  CHECK(bytes_of(options.out) == earlier);
  options.out = log.folder / "new";
  train(config, data, pool, options);
  CHECK_FALSE(bytes_of(options.out).empty());  // where there was none, there is one
  CHECK(run(log, config, 2, "here", true) == whole);
}

TEST_CASE("training: a loss that is not finite stops within the step, names the op, and changes nothing") {
  const Log log;
  const data::Dataset data = log.open();
  ThreadPool pool(2);
  Trainer trainer(tiny_config(), data, pool);
  const auto order = std::span(trainer.training_requests()).first(32);
  trainer.step(order);
  const auto& parameters = trainer.parameters().parameters();
  const auto wq = std::find_if(parameters.begin(), parameters.end(), [](const Parameter& p) { return p.name == "encoder.0.attention.wq"; });
  trainer.parameters().values<float>(*wq)[0] = NAN;
  const auto dense = trainer.parameters().dense<float>();
  const std::vector<float> before(dense.begin(), dense.end());
  try {
    trainer.step(order);
    FAIL("expected an error");
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::diverged);
    CHECK(std::string(e.what()).find("op 'linear'") != std::string::npos);
  }
  CHECK(std::equal(before.begin(), before.end(), dense.begin(), [](float a, float b) { return a == b || (a != a && b != b); }));
  CHECK(trainer.optimiser().steps() == 1);
}

TEST_CASE("training: parameters that blow up in an epoch's last step are found by its validation, and no model is saved") {
  const Log log;
  const data::Dataset data = log.open();
  ThreadPool pool(2);
  Config config = tiny_config();
  config.train.batch = 1000;  // one step an epoch
  config.train.learning_rate = 1e30;
  for (const SelectBy select : {SelectBy::ndcg, SelectBy::loss}) {
    config.train.select = select;
    TrainOptions options;
    options.out = log.folder / "blown_up";
    try {
      train(config, data, pool, options);
      FAIL("expected an error");
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::diverged);
      CHECK(std::string(e.what()).find("step 1: validation gave a score that is not finite") == 0);
    }
    CHECK_FALSE(std::ifstream(options.out).good());
  }
}

TEST_CASE("training: a constant label switches its term off, with a warning that says which") {
  TemporaryFolder folder;
  {
    data::DatasetWriter writer(folder / "data", {});
    data::RequestParser parser;
    for (int i = 0; i < 40; ++i) {  // every list has a click, none a conversion
      const std::string id = std::to_string(i);
      writer.add_request(parser.parse(R"({"id":")" + id + R"(","time":)" + id +
                                      R"(,"user":"u","query":"q","candidates":[{"id":"a","click":1,"conversion":0},{"id":"b","click":0,"conversion":0}]})"),
                         0, true);
    }
    writer.commit();
  }
  const data::Dataset data(folder / "data");
  ThreadPool pool(1);
  const Trainer trainer(tiny_config(), data, pool);
  CHECK(trainer.weights().term[kClick] == 1);
  CHECK(trainer.weights().term[kConversion] == 0);
  CHECK(trainer.weights().term[kListClick] == 0);
  CHECK(trainer.weights().term[kListConversion] == 0);
  REQUIRE(trainer.warnings().size() == 3);
  CHECK(trainer.warnings()[1].find("list.label = fraction") != std::string::npos);
  CHECK(trainer.config().rank.beta == 1);  // the listwise term still trains the conversion head
  Config pointwise = tiny_config();
  pointwise.loss.listwise = 0;
  CHECK(Trainer(pointwise, data, pool).config().rank.beta == 0);

  Config uncertain = tiny_config();
  uncertain.loss.weighting = LossWeighting::uncertainty;
  Trainer some(uncertain, data, pool);
  std::vector<std::string> learnt;
  for (const Parameter& p : some.parameters().parameters()) {
    if (p.name.starts_with("loss.")) learnt.push_back(p.name);
  }
  CHECK(learnt == std::vector<std::string>{"loss.log_variance.click", "loss.log_variance.listwise"});  // of what is on

  Config searching = tiny_config();
  searching.encoder.position = PositionMode::displayed;
  searching.rank.by = RankBy::list_search;
  const Trainer untaught(searching, data, pool);
  CHECK(untaught.config().rank.by == RankBy::score);
  CHECK(untaught.config().rank.list_conversion == 0);
  CHECK(untaught.warnings().back() == "rank.by = score: nothing trains the list heads that list_search would ask");
}

TEST_CASE("training with uncertainty weighting: the same bits by any way, and s stays within its bounds") {
  const Log log;
  Config config = tiny_config();
  config.loss.weighting = LossWeighting::uncertainty;
  const auto whole = resumed_is_whole(log, config);
  config.train.max_steps = 40;
  const SafetensorsFile file(log.folder / "whole");
  CHECK(file.values<float>("param.loss.log_variance.click")[0] != 0);
  config.loss.weighting = LossWeighting::fixed;
  CHECK(run(log, config, 2, "fixed").first != whole.first);
  CHECK(SafetensorsFile(log.folder / "fixed").find("param.loss.log_variance.click") == nullptr);

  config.loss.weighting = LossWeighting::uncertainty;
  config.train.learning_rate = 0.1;  // past the bounds within some 30 steps
  config.loss.click = 1000, config.loss.conversion = 1e-6;
  const data::Dataset data = log.open();
  ThreadPool pool(1);
  Trainer trainer(config, data, pool);
  for (std::size_t step = 0; step < 45; ++step) trainer.step(std::span(trainer.training_requests()).subspan(32 * (step % 9), 32));
  CHECK(trainer.log_variance(kClick) == kMostLogVariance);
  CHECK(trainer.log_variance(kConversion) == -kMostLogVariance);
}

TEST_CASE("training: thetas for fewer positions than the lists have are warned of") {
  const Log log(60);
  const data::Dataset data = log.open();
  ThreadPool pool(1);
  Config config = tiny_config();
  config.loss.listwise = 0;
  config.loss.examination = LossExamination::likelihood;
  config.loss.theta = {1, 0.5};
  const Trainer trainer(config, data, pool);
  REQUIRE(!trainer.warnings().empty());
  CHECK(trainer.warnings().back().find("loss.theta has 2 numbers and lists were shown down to position ") == 0);
  config.loss.theta.assign(30, 0.5);
  CHECK(Trainer(config, data, pool).warnings().size() + 1 == trainer.warnings().size());
}
