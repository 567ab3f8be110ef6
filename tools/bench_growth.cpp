#include "tools/bench_growth.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"
#include "piano/model_file.h"
#include "tools/bench_export.h"
#include "tools/bench_process.h"
#include "tools/bench_run.h"
#include "tools/bench_samples.h"
#include "tools/output.h"
#include "tools/temporary_folder.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

// Training steps over a log, on one thread.
class Steps {
 public:
  Steps(const BenchLog& log, std::int64_t lists, const std::vector<std::string>& assignments)
      : run_((write_bench_data(log, folder_ / "data"), bench_config({"", true, lists, 64, log}, assignments)), folder_ / "data", 1) {
    for (int warm_up = 0; warm_up < 2; ++warm_up) run_.step();
  }
  double ms() {  // the median of three
    Samples samples;
    for (int s = 0; s < 3; ++s) samples.add(run_.step());
    return samples.median();
  }
  double reading_ms() { return run_.reading_ms(); }

 private:
  TemporaryFolder folder_;
  TrainRun run_;
};

// Answers to one request.
class Answers {
 public:
  Answers(const BenchLog& log, const std::vector<std::string>& assignments) : run_(model(log, assignments), {bench_request(log, 0)}) {
    run_.rerank(0), run_.rerank(0);
    data::BatchBuilder builder(model_->impl().features, model_->impl().limits());
    data::Batch batch;
    builder.build(run_.request(0), batch);
    flops_ = forward_cost(model_->impl().config, model_->impl().features, batch, false).flops;
  }
  double us() {  // the median over some 20 milliseconds
    Samples samples;
    for (double spent = 0; spent < 2e4;) {
      samples.add(run_.rerank(0));
      spent += samples.low();
    }
    return samples.median();
  }
  double flops() const { return flops_; }

 private:
  const std::shared_ptr<const Model>& model(const BenchLog& log, const std::vector<std::string>& assignments) {
    write_bench_data(log, folder_ / "data");
    write_bench_model(bench_config({"", false, 1, 64, log}, assignments), data::Dataset(folder_ / "data"), folder_ / "model");
    return model_ = Model::load(folder_ / "model");
  }
  TemporaryFolder folder_;
  std::shared_ptr<const Model> model_;
  InferRun run_;
  double flops_ = 0;
};

class Growth {
 public:
  explicit Growth(const BenchOptions& options) : o_(options) {}

  Json run() {
    candidates();
    many_candidates();
    history();
    vocabulary();
    data();
    batch_and_ragged();
    progress_.clear();
    print(aligned(table_, "lrrl"));
    return laws_;
  }

 private:
  BenchLog log(std::int64_t lists, std::int64_t candidates, double full = 1) const {
    BenchLog log{.lists = lists, .candidates = candidates, .full = full};
    if (o_.quick) log.items = 2'000, log.artists = log.queries = log.terms = log.users = 400;
    return log;
  }

  enum class Limit { at_most, at_least };
  void law(const std::string& name, double limit, Limit kind, const std::function<double()>& measure) {
    Samples ratio;
    for (int round = 0; round < o_.rounds; ++round) {
      progress_.show(name + ": round " + std::to_string(round + 1) + " of " + std::to_string(o_.rounds));
      ratio.add(measure());
    }
    const bool ok = kind == Limit::at_most ? ratio.median() <= limit : ratio.median() >= limit;
    laws_.push_back({{"law", name}, {"median", ratio.median()}, {"low", ratio.low()}, {"high", ratio.high()},
                     {kind == Limit::at_most ? "at_most" : "at_least", limit}, {"ok", ok}});
    table_.push_back({name, number_text(ratio.median(), 3) + " (" + number_text(ratio.low(), 3) + "-" + number_text(ratio.high(), 3) + ")",
                      (kind == Limit::at_most ? "<= " : ">= ") + number_text(limit, 2), ok ? "ok" : "over"});
  }

  void candidates() {
    Answers hundred(log(1, 100), o_.assignments), thousand(log(1, 1000), o_.assignments);
    const double flops = thousand.flops() / hundred.flops();
    law("1,000 candidates to 100: time, over the FLOPs' " + number_text(flops, 1), 1.15, Limit::at_most, [&] {
      const double t = hundred.us();
      return thousand.us() / t / flops;
    });
    std::vector<std::string> induced = o_.assignments;
    induced.push_back("encoder.attention=induced");
    Answers linear_hundred(log(1, 100), induced), linear_thousand(log(1, 1000), induced);
    law("1,000 candidates to 100, encoder.attention = induced: time", 12, Limit::at_most, [&] {
      const double t = linear_hundred.us();
      return linear_thousand.us() / t;
    });
  }

  // Memory of a process that answers requests of so many candidates, without the mapped model. What is O(1) makes the ratio smaller.
  void many_candidates() {
    const auto memory = [&](std::int64_t candidates) {
      BenchCase c{"candidates-" + std::to_string(candidates), false, 1, 64, log(2, candidates)};
      c.log.items = 20'000;
      const TemporaryFolder folder;
      export_cases(folder.path(), {c}, o_.assignments);
      return anonymous_memory(folder.path(), "infer " + c.name + " 1 2");
    };
    progress_.show("10,000 candidates");
    const double ratio = memory(10'000) / memory(1'000);
    law("10,000 candidates to 1,000: memory", 10, Limit::at_most, [&] { return ratio; });
  }

  static double anonymous_memory(const std::string& folder, const std::string& command) {
    const std::string answers = run_piano({"bench", "--worker", folder}, command + "\nmemory\n").output;
    return parse_json(answers.substr(answers.find('\n') + 1))["anonymous"].get<double>();
  }

  void history() {
    const auto with = [&](std::int64_t events) {
      BenchLog past = log(1, 100);
      past.history = events;
      return Answers(past, o_.assignments);
    };
    Answers ten = with(10), fifty = with(50), five_hundred = with(500);
    law("50 past events to 10: time of 100 candidates", 1.15, Limit::at_most, [&] {
      const double t = ten.us();
      return fifty.us() / t;
    });
    law("500 past events to 50: time of 100 candidates", 2, Limit::at_most, [&] {
      const double t = fifty.us();
      return five_hundred.us() / t;
    });
  }

  // Ids stay Zipf-distributed over the whole vocabulary, so that a larger one is also read more widely.
  void vocabulary() {
    const auto with = [&](std::int64_t factor) {
      BenchLog words = log(256, 20, 0.7);
      words.items = (o_.quick ? 1'000 : 10'000) * factor, words.artists = words.items / 20;
      words.queries = words.terms = words.items / 5, words.users = 1'000;
      return std::make_unique<Steps>(words, 32, o_.assignments);
    };
    const auto one = with(1), ten = with(10), hundred = with(100);
    const auto against_one = [&](Steps& larger) {
      const double t = one->ms();
      return larger.ms() / t;
    };
    law("10 times the vocabulary: time of a step", 1.10, Limit::at_most, [&] { return against_one(*ten); });
    law("100 times the vocabulary: time of a step", 1.25, Limit::at_most, [&] { return against_one(*hundred); });
  }

  // Peak memory of a process that trains over all of its data once. Pages of the mapped data set are the system's to take back: not counted.
  void data() {
    const auto memory = [&](std::int64_t lists) {
      BenchCase c{"lists-" + std::to_string(lists), true, 32, 64, log(lists, 20, 0.7)};
      c.log.items = 10'000, c.log.artists = c.log.queries = c.log.terms = c.log.users = 500;
      const TemporaryFolder folder;
      export_cases(folder.path(), {c}, o_.assignments);
      return anonymous_memory(folder.path(), "train " + c.name + " 1 " + std::to_string(lists / c.lists));
    };
    progress_.show("10 times the lists");
    const std::int64_t lists = o_.quick ? 64 : 1024;
    const double ratio = memory(10 * lists) / memory(lists);
    law("10 times the lists in the data: memory", 1.05, Limit::at_most, [&] { return ratio; });
  }

  void batch_and_ragged() {
    Steps small(log(512, 50), 32, o_.assignments), large(log(512, 50), 256, o_.assignments), ragged(log(512, 50, 0.2), 32, o_.assignments);
    law("256 lists a step to 32: lists/s", 0.95, Limit::at_least, [&] {
      const double t = small.ms();
      return 8 * t / large.ms();
    });
    law("lists 60 % full to full ones: time of a step", 0.7, Limit::at_most, [&] {
      const double t = small.ms();
      return ragged.ms() / t;
    });
    law("reading: its share of a step", 0.03, Limit::at_most, [&] {
      const double t = small.ms();
      return small.reading_ms() / t;
    });
  }

  BenchOptions o_;
  Json laws_ = Json::array();
  std::vector<std::vector<std::string>> table_{{"growth", "measured", "limit", ""}};
  ProgressLine progress_;
};

}  // namespace

nlohmann::ordered_json bench_growth(const BenchOptions& options) { return Growth(options).run(); }

}  // namespace piano::tools
