#include "tools/bench_count.h"

#include <functional>

#include "data/dataset_writer.h"
#include "engine/base/error.h"
#include "piano/model_file.h"
#include "tools/bench_cases.h"
#include "tools/bench_op_run.h"
#include "tools/bench_run.h"
#include "tools/temporary_folder.h"

namespace piano::tools {

// A function of its own, not inlined, so that a tool can find its begin and end.
__attribute__((noinline)) void counted_region(const std::function<void()>& work) {
  work();
  asm volatile("");  // no tail call: the region ends after the work
}

namespace {

BenchLog small_log(std::int64_t lists, std::int64_t candidates) {
  BenchLog log;
  log.lists = lists, log.candidates = candidates, log.full = 0.7;
  log.items = 500, log.artists = log.queries = log.terms = 100, log.users = 50;
  return log;
}

void train_step() {
  const BenchCase c{"", true, 8, 64, small_log(32, 20)};
  const TemporaryFolder folder;
  write_bench_data(c.log, folder / "data");
  TrainRun run(bench_config(c, {}), folder / "data", 1);
  run.step();
  counted_region([&] { run.step(); });
}

void infer(std::int64_t candidates) {
  const BenchCase c{"", false, 1, 64, small_log(1, candidates)};
  const TemporaryFolder folder;
  write_bench_data(c.log, folder / "data");
  write_bench_model(bench_config(c, {}), data::Dataset(folder / "data"), folder / "model");
  InferRun run(Model::load(folder / "model"), {bench_request(c.log, 0)});
  run.rerank(0);
  counted_region([&] { run.rerank(0); });
}

void prepare_log() {
  const BenchLog log = small_log(40, 20);
  std::vector<std::string> lines;
  for (std::int64_t i = 0; i < log.lists; ++i) lines.push_back(bench_request(log, i));
  const TemporaryFolder folder;
  counted_region([&] {
    data::DatasetWriter writer(folder / "data", {});
    data::RequestParser parser;
    for (const std::string& line : lines) writer.add_request(parser.parse(line), 0, true);
    writer.commit();
  });
}

void op(const std::string& name, const std::string& shape) {
  for (const BenchOp& candidate : bench_op_shapes()) {
    if (candidate.name != name || candidate.shape.name != shape) continue;
    OpRun run(candidate);
    run.forward(), run.backward();
    return counted_region([&] { run.forward(), run.backward(); });
  }
  throw Error(ErrorCode::internal, "no op case '" + name + ", " + shape + "'");
}

struct CountedCase {
  const char* name;
  std::function<void()> run;
};

const std::vector<CountedCase>& cases() {
  static const std::vector<CountedCase> list{
      {"train-step", train_step},
      {"infer-100", [] { infer(100); }},
      {"prepare", prepare_log},
      {"op-linear", [] { op("linear", "100 x 64 -> 256"); }},
      {"op-attention", [] { op("attention", "a list of 100, d=64"); }},
      {"op-embedding", [] { op("embedding_sum", "5000 bags of 2 from 200000 x 64, Zipf"); }},
  };
  return list;
}

}  // namespace

std::vector<std::string> counted_cases() {
  std::vector<std::string> names;
  for (const CountedCase& c : cases()) names.emplace_back(c.name);
  return names;
}

void run_counted(const std::string& name) {
  for (const CountedCase& c : cases()) {
    if (c.name == name) return c.run();
  }
  std::string names;
  for (const std::string& n : counted_cases()) names += (names.empty() ? "" : ", ") + n;
  throw Error(ErrorCode::usage, "no case '" + name + "' to count; there are " + names);
}

}  // namespace piano::tools
