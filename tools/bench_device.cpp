#include "tools/bench_device.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "piano/model_file.h"
#include "tools/bench_cases.h"
#include "tools/bench_device_ops.h"
#include "tools/bench_run.h"
#include "tools/bench_samples.h"
#include "tools/output.h"
#include "tools/temporary_folder.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

// What is measured: enough to leave the caches, or, with --quick, little.
struct Sizes {
  std::size_t copied = std::size_t{1} << 30;      // bytes
  std::int64_t matrix = 8192, rows = 524'288, table = 1'000'000;
  std::vector<std::int64_t> candidates{20, 100, 1000}, lists{1, 16, 256};
};

class DeviceReport {
 public:
  DeviceReport(const Device& device, const BenchOptions& options) : device_(device), o_(options), bench_(device) {
    if (o_.quick) sizes_ = {std::size_t{1} << 16, 32, 200, 50, {20}, {1, 2}};
  }

  Json run() {
    print("piano " PIANO_VERSION ", " + device_.name + ", " + counted(o_.rounds, "round") + ", median (range)\n");
    report_ = {{"device", device_.name}, {"rounds", o_.rounds}, {"quick", o_.quick}};
    peaks();
    ops();
    inference();
    training();
    return report_;
  }

 private:
  static std::string shown(const Samples& s, int decimals) {
    return number_text(s.median(), decimals) + " (" + number_text(s.low(), decimals) + "-" + number_text(s.high(), decimals) + ")";
  }
  static Json json_of(const Samples& s) { return {{"median", s.median()}, {"low", s.low()}, {"high", s.high()}}; }
  void show(const std::vector<std::vector<std::string>>& table, std::string_view alignment) {
    progress_.clear();
    print("\n" + aligned(table, alignment));
    flush_results();
  }

  void peaks() {
    progress_.show("the device's peaks");
    for (int round = 0; round < o_.rounds; ++round) copy_.add(bench_.copy_gb_s(sizes_.copied)), matrix_.add(bench_.matrix_gflops(sizes_.matrix));
    report_["copy_gb_s"] = json_of(copy_), report_["matrix_gflops"] = json_of(matrix_);
    show({{"the device", "copy GB/s", "matrix product TFLOP/s"}, {device_.name, shown(copy_, 0), number_text(1e-3 * matrix_.median(), 1)}}, "lrr");
  }

  // Bytes as the op table counts them: what is read and written once. A backward counts as twice its forward, or as the case says.
  void ops() {
    std::vector<std::vector<std::string>> table{{"memory-bound op", "case", "forward us", "GB/s", "of the copy", "backward us", "GB/s", "of the copy"}};
    for (const BenchOp& op : memory_bound_ops(sizes_.rows, sizes_.table)) {
      progress_.show(op.name + ", " + op.shape.name);
      Samples forward, backward;
      OpCost cost;
      for (int round = 0; round < o_.rounds; ++round) {
        const DeviceBench::OpTimes times = bench_.time(op);
        forward.add(times.forward), cost = times.cost;
        if (times.backward > 0) backward.add(times.backward);
      }
      std::vector<std::string> cells{op.name, op.shape.name};
      Json row{{"op", op.name}, {"case", op.shape.name}, {"bytes", cost.bytes}};
      const auto add = [&](const char* direction, const Samples& seconds, double bytes) {
        const double rate = 1e-9 * bytes / seconds.median();
        row[direction] = {{"us", 1e6 * seconds.median()}, {"gb_s", rate}, {"share", rate / copy_.median()}};
        cells.insert(cells.end(), {number_text(1e6 * seconds.median(), 1), number_text(rate, 0), percent_text(0, rate / copy_.median())});
      };
      add("forward", forward, cost.bytes);
      if (!backward.empty()) add("backward", backward, op.backward_factor * cost.bytes);
      cells.resize(table[0].size(), "-");
      table.push_back(std::move(cells)), report_["ops"].push_back(std::move(row));
    }
    show(table, "llrrrrrr");
  }

  // One request by a session, from the request on; batches from the batch on, until the logits are the host's.
  void inference() {
    std::vector<std::vector<std::string>> table{{"inference, d = 64", "lists", "ms", "lists/s", "TFLOP/s", "of the matrix peak", "logits differ from the CPU's by"}};
    for (const std::int64_t candidates : sizes_.candidates) {
      BenchCase c{"infer-" + std::to_string(candidates), false, 1, 64, {.lists = 1, .candidates = candidates}};
      if (o_.quick) c.log.items = 500, c.log.artists = c.log.queries = c.log.terms = c.log.users = 100, c.log.history = 5, c.d = 8;
      const TemporaryFolder folder;
      progress_.show(c.name + ": making the model");
      write_bench_data(c.log, folder / "data");
      write_bench_model(bench_config(c, o_.assignments), data::Dataset(folder / "data"), folder / "model");
      const auto model = Model::load(folder / "model");
      const std::string request = bench_request(c.log, 0), name = counted(candidates, "candidate");

      InferRun session(model, {request}, {.history_cache_bytes = 0, .device = &device_});
      Samples ms;
      for (int call = -2; call < o_.rounds * kCalls; ++call) {
        const double t = 1e-3 * session.rerank(0);
        if (call >= 0) ms.add(t);
      }
      report_["inference"].push_back({{"candidates", candidates}, {"session", true}, {"ms", json_of(ms)}});
      table.push_back({name + ", a session's request", "1", shown(ms, 3), number_text(1e3 / ms.median(), 0), "", "", ""});
      for (const std::int64_t lists : sizes_.lists) {
        progress_.show(name + ", " + counted(lists, "list"));
        ForwardRun run(model, request, lists, device_);
        const double difference = run.difference();
        Samples passes;
        for (int pass = -2; pass < o_.rounds * kCalls; ++pass) {
          const double t = run.forward();
          if (pass >= 0) passes.add(t);
        }
        const double gflops = 1e-6 * run.flops() / passes.median();
        report_["inference"].push_back({{"candidates", candidates}, {"session", false}, {"lists", lists}, {"ms", json_of(passes)}, {"flops", run.flops()},
                                        {"share", gflops / matrix_.median()}, {"difference", difference}});
        char gap[16];
        std::snprintf(gap, sizeof gap, "%.1e", difference);
        table.push_back({name + ", a batch", std::to_string(lists), shown(passes, 3), number_text(1e3 * static_cast<double>(lists) / passes.median(), 0),
                         number_text(1e-3 * gflops, 2), percent_text(1, gflops / matrix_.median()), gap});
      }
    }
    show(table, "lrrrrrr");
  }

  // Steps of lists of 35 to 50 candidates with 50 past events, from the data set on: the host builds the next batch meanwhile.
  void training() {
    std::vector<std::vector<std::string>> table{{"training", "lists a step", "ms a step", "lists/s", "TFLOP/s", "of the matrix peak"}};
    for (BenchCase c : device_cases()) {
      if (o_.quick) {
        c.log = {.lists = 8, .candidates = 5, .history = 3, .items = 50, .artists = 10, .queries = 10, .terms = 10, .users = 10};
        c.d = 8;
      }
      const TemporaryFolder folder;
      progress_.show(c.name + ": making the data");
      write_bench_data(c.log, folder / "data");
      for (const std::int64_t lists : o_.quick ? std::vector<std::int64_t>{4} : std::vector<std::int64_t>{256, 4096}) {
        progress_.show(c.name + ", " + counted(lists, "list") + " a step");
        c.lists = lists;
        TrainRun run(bench_config(c, o_.assignments), folder / "data", o_.threads, "", device_);
        run.steps(2);
        Samples ms;
        for (int round = 0; round < o_.rounds; ++round) ms.add(run.steps(o_.quick ? 1 : kCalls));
        const double gflops = 1e-6 * run.step_flops() / ms.median();
        report_["training"].push_back({{"d", c.d}, {"lists", lists}, {"ms", json_of(ms)}, {"share", gflops / matrix_.median()}});
        commands(run, report_["training"].back());
        table.push_back({"d = " + std::to_string(c.d), std::to_string(lists), shown(ms, 2), number_text(1e3 * static_cast<double>(lists) / ms.median(), 0),
                         number_text(1e-3 * gflops, 2), percent_text(1, gflops / matrix_.median())});
      }
      if (o_.quick) break;
    }
    show(table, "lrrrrr");
  }

  // Where a step's time goes, of some steps in which everything is started, and timed, by itself.
  void commands(TrainRun& run, Json& row) {
    DeviceMemory* memory = run.trainer().device_memory();
    if (memory == nullptr) return;
    memory->time_commands(true);
    run.steps(kTimedSteps);
    memory->time_commands(false);
    double all = 0;
    for (const auto& command : memory->command_times()) all += command.seconds;
    const std::string title = "d = " + std::to_string(row["d"].get<int>()) + ", " + counted(row["lists"].get<std::int64_t>(), "list") + " a step";
    std::vector<std::vector<std::string>> table{{"of a step: " + title, "starts", "us", "share"}};
    for (const auto& [name, count, seconds] : memory->command_times()) {
      const double us = 1e6 * seconds / kTimedSteps, starts = static_cast<double>(count) / kTimedSteps;
      row["commands"].push_back({{"name", name}, {"starts", starts}, {"us", us}});
      if (table.size() <= kMostCommands) table.push_back({name, number_text(starts, 1), number_text(us, 1), percent_text(1, seconds / all)});
    }
    table.push_back({"all of it", "", number_text(1e6 * all / kTimedSteps, 1), ""});
    show(table, "lrrr");
  }

  static constexpr int kCalls = 5;  // a round
  static constexpr std::int64_t kTimedSteps = 4;
  static constexpr std::size_t kMostCommands = 30;  // shown: the JSON has all
  const Device& device_;
  BenchOptions o_;
  Sizes sizes_;
  DeviceBench bench_;
  Samples copy_, matrix_;
  Json report_;
  ProgressLine progress_;
};

}  // namespace

nlohmann::ordered_json bench_device(const Device& device, const BenchOptions& options) { return DeviceReport(device, options).run(); }

}  // namespace piano::tools
