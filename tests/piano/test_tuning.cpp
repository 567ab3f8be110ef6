// The tuning budget: what is drawn, who survives, and that nothing but the validation part has a say.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "piano/tuning.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/tiny_data.h"

using namespace piano;

namespace {

std::vector<SearchOption> small_space() { return {{"model.d", {"8", "16"}}, {"train.batch", {"16", "32", "64"}}}; }

RunResult result_of(double validation) { return {{10, 1, 1, validation, "epochs"}, 1.0, 0, 0, false}; }

}  // namespace

TEST_CASE("trials: own settings first, then different draws, the same for every model, none of what a model is") {
  Config config = tiny_config();
  const std::vector<SearchOption> space = small_space();
  const std::vector<Trial> trials = draw_trials(config, space, {}, 4);
  REQUIRE(trials.size() == 4);
  CHECK(trials[0].settings.empty());
  CHECK(changed_options(trials[0].config) == changed_options(config));
  for (std::size_t a = 0; a < 4; ++a) {
    for (std::size_t b = 0; b < a; ++b) CHECK(changed_options(trials[a].config) != changed_options(trials[b].config));
  }
  CHECK(draw_trials(config, space, {}, 100).size() == 6);  // all there are; the model's own is one of them

  Config other = config;
  other.qdir.mode = QdirMode::mean;
  const std::vector<Trial> others = draw_trials(other, space, {}, 4);
  for (std::size_t t = 0; t < 4; ++t) CHECK(others[t].settings == trials[t].settings);

  const std::vector<std::string> own{"model.d"};
  for (const Trial& trial : draw_trials(config, space, own, 100)) CHECK(trial.config.model.d == config.model.d);
  CHECK(draw_trials(config, space, own, 100).size() == 3);
  CHECK_THROWS_AS(draw_trials(config, std::vector<SearchOption>{{"model.d", {"7"}}}, {}, 2), Error);  // heads do not divide it
}

TEST_CASE("halving: the better half goes on, twice as long; the earlier of equals; a diverged trial is the worst") {
  Config config = tiny_config();
  config.train.epochs = 8;
  std::vector<Trial> trials = draw_trials(config, std::vector<SearchOption>{{"train.batch", {"1", "2", "3", "4", "5", "6", "7", "8"}}}, {}, 5);
  REQUIRE(trials.size() == 5);
  const std::vector<double> worth{0.1, 0.4, 0.4, 0.9, 0.3};
  std::map<std::int64_t, std::size_t> number;  // by batch
  for (std::size_t t = 0; t < 5; ++t) number[trials[t].config.train.batch] = t;
  std::vector<std::string> log;
  const auto train = [&](const Config& c, const std::string& what) {
    const std::size_t t = number.at(c.train.batch);
    log.push_back(std::to_string(t) + "@" + std::to_string(c.train.epochs));
    CHECK(what == "trial " + std::to_string(t + 1) + " of 5");
    if (t == 3) throw Error(ErrorCode::diverged, "it blew up");
    return result_of(worth[t]);
  };
  const Tuning tuning = tune(trials, train);
  CHECK(log == std::vector<std::string>{"0@2", "1@2", "2@2", "3@2", "4@2", "1@4", "2@4", "4@4", "1@8", "2@8"});
  CHECK(tuning.chosen == 1);
  CHECK(tuning.trials[1].rungs.size() == 3);
  CHECK(tuning.trials[3].rungs.size() == 1);
  CHECK(tuning.seconds == 9);
  CHECK(tune({trials[0]}, train).chosen == 0);  // nothing to choose from: nothing is trained
  CHECK(log.size() == 10);
  for (Trial& trial : trials) trial.config.train.epochs = 1;
  CHECK(tune(trials, train).seconds == 4);  // three rungs of one epoch are one training of each
  CHECK_THROWS_WITH_AS(tune(trials, [](const Config&, const std::string&) { return result_of(std::nan("")); }),
                       doctest::Contains("tuning needs a validation"), Error);
}

TEST_CASE("tuning and training look at no test label: scrambled ones change no choice and no byte") {
  const auto write = [](const std::string& path, bool scramble_test, bool scramble_valid) {
    data::WriterOptions options;  // by time: the last tenth is test, the one before valid
    data::DatasetWriter writer(path, options);
    data::RequestParser parser;
    data::SimulatorOptions simulation;
    simulation.requests = 200;
    std::int64_t number = 0;
    data::simulate(simulation, [&](std::string_view line) {
      std::string text(line);
      const bool scramble = number >= 180 ? scramble_test : number >= 160 && scramble_valid;
      ++number;
      const auto replace = [&](const std::string& from, const std::string& to) {
        for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
      };
      if (scramble) {
        replace(R"("conversion":1)", R"("conversion":0)");
        replace(R"("click":1)", R"("click":2)"), replace(R"("click":0)", R"("click":1)"), replace(R"("click":2)", R"("click":0)");
      }
      writer.add_request(parser.parse(text), 0, true);
    }, nullptr);
    writer.commit();
  };
  ThreadPool pool(2);
  Config config = tiny_config();
  config.train.epochs = 2;
  struct Outcome {
    std::vector<std::string> models;
    std::vector<double> validations;
    std::size_t chosen;
  };
  const auto outcome = [&](bool scramble_test, bool scramble_valid) {
    const TemporaryFolder folder;
    write(folder / "data", scramble_test, scramble_valid);
    const data::Dataset data(folder / "data");
    Outcome o;
    const Tuning tuning = tune(draw_trials(config, small_space(), {}, 3), [&](const Config& trial, const std::string&) {
      const std::string run = folder / run_name(1, trial);
      const RunResult result = train_once(run, trial, data, pool, {});
      o.models.push_back(read_all(run_model(run)));
      return result;
    });
    for (const Trial& trial : tuning.trials) {
      for (const Trial::Rung& rung : trial.rungs) o.validations.push_back(rung.validation);
    }
    o.chosen = tuning.chosen;
    return o;
  };
  const Outcome as_is = outcome(false, false), scrambled = outcome(true, false), other_validation = outcome(false, true);
  CHECK(as_is.models.size() == 5);
  CHECK(as_is.models == scrambled.models);
  CHECK(as_is.validations == scrambled.validations);
  CHECK(as_is.chosen == scrambled.chosen);
  CHECK(as_is.validations != other_validation.validations);  // validation labels do have a say
}
