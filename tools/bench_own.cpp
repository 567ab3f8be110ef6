#include "tools/bench_own.h"

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/dataset_writer.h"
#include "data/readers.h"
#include "engine/base/json_text.h"
#include "piano/model_file.h"
#include "tools/bench_export.h"
#include "tools/bench_machine.h"
#include "tools/bench_process.h"
#include "tools/bench_run.h"
#include "tools/bench_samples.h"
#include "tools/output.h"
#include "tools/temporary_folder.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

// "12.3 (11.9-14.0)"
std::string shown(const Samples& s, int decimals) {
  return number_text(s.median(), decimals) + " (" + number_text(s.low(), decimals) + "-" + number_text(s.high(), decimals) + ")";
}
std::string percent(const Samples& s) { return shown(s, 0) + " %"; }
Json json_of(const Samples& s) { return {{"median", s.median()}, {"low", s.low()}, {"high", s.high()}}; }

class OwnBench {
 public:
  explicit OwnBench(const BenchOptions& options) : o_(options) {
    counts_ = {1};
    if (o_.threads > 1) counts_.push_back(o_.threads);
    for (BenchCase& c : bench_cases()) {
      if (o_.quick && c.name != "train-32x20-d64" && c.name != "infer-100") continue;
      if (o_.quick) c.log.items = 5'000, c.log.artists = 500, c.log.queries = c.log.terms = c.log.users = 1'000;
      cases_.push_back(std::move(c));
    }
  }

  Json run() {
    print("piano " PIANO_VERSION ", " + cpu_name() + ", " + std::to_string(o_.rounds) + " rounds, median (range)\n");
    machine();
    training();
    inference();
    preparing();
    return report_;
  }

 private:
  void machine() {
    std::vector<std::vector<std::string>> table{{"the machine", "multiply-add GFLOP/s", "DRAM GB/s", "level 2 GB/s"}};
    report_["cpu"] = cpu_name();
    for (const int threads : counts_) {
      Samples fma, dram, l2;
      MachinePeaks peaks;
      for (int round = 0; round < o_.rounds; ++round) {
        progress_.show("the machine's peaks, " + counted(threads, "thread"));
        peaks = measure_machine(threads);
        fma.add(peaks.fma_gflops), dram.add(peaks.dram_gb_s), l2.add(peaks.l2_gb_s);
      }
      report_["level"] = peaks.level;
      report_["machine"].push_back({{"threads", threads}, {"fma_gflops", json_of(fma)}, {"dram_gb_s", json_of(dram)}, {"l2_gb_s", json_of(l2)}});
      table.push_back({counted(threads, "thread") + ", " + peaks.level, shown(fma, 0), shown(dram, 0), shown(l2, 0)});
    }
    show(table, "lrrr");
  }

  // Steps with one thread and with all in turn, each beside the peak of as many threads just before.
  void training() {
    std::vector<std::vector<std::string>> table{{"training (lists x candidates)", "threads", "ms a step", "GFLOP/s", "of the peak", "faster than 1 thread"}};
    for (const BenchCase& c : cases_) {
      if (!c.train) continue;
      const TemporaryFolder folder;
      progress_.show(c.name + ": making the data");
      write_bench_data(c.log, folder / "data");
      std::vector<std::unique_ptr<TrainRun>> runs;
      for (const int threads : counts_) {
        runs.push_back(std::make_unique<TrainRun>(bench_config(c, o_.assignments), folder / "data", threads));
        for (int warm_up = 0; warm_up < 2; ++warm_up) runs.back()->step();
      }
      const double flops = runs[0]->step_flops();
      std::vector<Samples> ms(runs.size()), rate(runs.size()), share(runs.size()), faster(runs.size());
      for (int round = 0; round < o_.rounds; ++round) {
        progress_.show(c.name + ": round " + std::to_string(round + 1) + " of " + std::to_string(o_.rounds));
        double alone = 0;
        for (std::size_t i = 0; i < runs.size(); ++i) {
          const double peak = fma_gflops(counts_[i]);
          Samples steps;
          for (int s = 0; s < kSteps; ++s) steps.add(runs[i]->step());
          const double median = steps.median(), gflops = 1e-6 * flops / median;
          if (i == 0) alone = median;
          ms[i].add(median), rate[i].add(gflops), share[i].add(100 * gflops / peak), faster[i].add(alone / median);
        }
      }
      for (std::size_t i = 0; i < runs.size(); ++i) {
        report_["training"].push_back({{"case", c.name}, {"threads", counts_[i]}, {"step_flops", flops}, {"ms", json_of(ms[i])},
                                       {"gflops", json_of(rate[i])}, {"percent_of_peak", json_of(share[i])}, {"speedup", json_of(faster[i])}});
        table.push_back({c.name, std::to_string(counts_[i]), shown(ms[i], 1), shown(rate[i], 0), percent(share[i]), i == 0 ? "" : shown(faster[i], 2)});
      }
    }
    show(table, "lrrrrr");
  }

  void inference() {
    std::vector<std::vector<std::string>> table{{"inference, one thread", "p50 us", "p99 / p50", "max us", "of the peak", "p50 us, known user",
                                                 "p50 us, " + counted(o_.threads, "thread"), "lists/s of 1 session",
                                                 "of " + counted(o_.threads, "session")}};
    std::vector<std::vector<std::string>> process{{"a process of its own", "start to first answer ms", "peak memory MB", "of it mapped files MB"}};
    for (const BenchCase& c : cases_) {
      if (c.train) continue;
      const TemporaryFolder folder;
      progress_.show(c.name + ": making the model");
      export_cases(folder.path(), {c}, o_.assignments);
      const std::string model_path = case_file(folder.path(), c.name, "model.safetensors");
      std::vector<std::string> lines;
      for (std::int64_t i = 0; i < c.log.lists; ++i) lines.push_back(bench_request(c.log, i));
      const auto model = Model::load(model_path);
      InferRun run(model, {lines[0]}), known(model, {lines[0]}, {}), together(model, {lines[0]}, {o_.threads, 0});
      data::BatchBuilder builder(model->impl().features, model->impl().limits());
      data::Batch batch;
      builder.build(run.request(0), batch);
      const double flops = forward_cost(model->impl().config, model->impl().features, batch, false).flops;
      for (InferRun* r : {&run, &known, &together}) r->rerank(0), r->rerank(0);

      Samples p50, p50_known, p50_together, faster, tail, worst, share, one, all, start, peak_memory, mapped;
      for (int round = 0; round < o_.rounds; ++round) {
        progress_.show(c.name + ": round " + std::to_string(round + 1) + " of " + std::to_string(o_.rounds));
        const double peak = fma_gflops(1);
        const Samples us = calls(run);
        const double shared = calls(together).median();
        p50_known.add(calls(known).median()), p50_together.add(shared), faster.add(us.median() / shared);
        p50.add(us.median()), tail.add(us.quantile(0.99) / us.median()), worst.add(us.high()), share.add(100 * 1e-3 * flops / us.median() / peak);
        one.add(lists_per_second(model, lines, 1, kSeconds)), all.add(lists_per_second(model, lines, o_.threads, kSeconds));
        start.add(run_piano({"rerank", "--model", model_path}, lines[0] + "\n").first_line_ms);
        const std::string answers = run_piano({"bench", "--worker", folder.path()}, "infer " + c.name + " 1 20\nmemory\n").output;
        const auto memory = parse_json(answers.substr(answers.find('\n') + 1));
        peak_memory.add(1e-6 * memory["peak"].get<double>()), mapped.add(1e-6 * memory["file"].get<double>());
      }
      report_["inference"].push_back({{"case", c.name}, {"forward_flops", flops}, {"p50_us", json_of(p50)}, {"p99_over_p50", json_of(tail)},
                                      {"max_us", json_of(worst)}, {"p50_known_user_us", json_of(p50_known)}, {"p50_all_threads_us", json_of(p50_together)},
                                      {"speedup_all_threads", json_of(faster)},
                                      {"percent_of_peak", json_of(share)}, {"lists_per_second_1", json_of(one)},
                                      {"lists_per_second_all", json_of(all)}, {"threads", o_.threads}, {"start_ms", json_of(start)},
                                      {"peak_mb", json_of(peak_memory)}, {"mapped_mb", json_of(mapped)}});
      table.push_back({c.name, shown(p50, 0), shown(tail, 2), shown(worst, 0), percent(share), shown(p50_known, 0), shown(p50_together, 0), shown(one, 0), shown(all, 0)});
      process.push_back({c.name, shown(start, 1), shown(peak_memory, 0), shown(mapped, 0)});
    }
    show(table, "lrrrrrrrr");
    show(process, "lrrr");
  }

  // A log of JSON lines into a packed data set, as piano prepare does it, on one thread. Time of the CPU: waiting for a disk says nothing of us.
  void preparing() {
    const BenchLog log{.lists = o_.quick ? 200 : 2'000, .candidates = 50};
    const TemporaryFolder folder;
    double megabytes = 0;
    {
      std::ofstream out(folder / "log.jsonl", std::ios::binary);
      for (std::int64_t i = 0; i < log.lists; ++i) {
        const std::string line = bench_request(log, i) + "\n";
        out << line;
        megabytes += 1e-6 * static_cast<double>(line.size());
      }
    }
    Samples rate;
    for (int round = 0; round < o_.rounds; ++round) {
      progress_.show("prepare: round " + std::to_string(round + 1) + " of " + std::to_string(o_.rounds));
      const std::clock_t start = std::clock();
      data::DatasetWriter writer(folder / "data", {});
      data::read_jsonl({folder / "log.jsonl"}, {}, writer);
      writer.commit();
      rate.add(megabytes * CLOCKS_PER_SEC / static_cast<double>(std::clock() - start));
    }
    report_["prepare_mb_s"] = json_of(rate);
    show({{"prepare, one thread", "MB a CPU second"}, {number_text(megabytes, 0) + " MB of JSON lines", shown(rate, 0)}}, "lr");
  }

  static Samples calls(InferRun& run) {
    Samples us;
    double spent = 0;
    for (int call = 0; call < kCalls && spent < 5e5; ++call) {
      const double t = run.rerank(0);
      us.add(t), spent += t;
    }
    return us;
  }

  void show(const std::vector<std::vector<std::string>>& table, std::string_view alignment) {
    progress_.clear();
    print("\n" + aligned(table, alignment));
    flush_results();
  }

  static constexpr int kSteps = 3, kCalls = 400;
  static constexpr double kSeconds = 0.25;
  BenchOptions o_;
  std::vector<int> counts_;
  std::vector<BenchCase> cases_;
  Json report_ = Json::object();
  ProgressLine progress_;
};

}  // namespace

nlohmann::ordered_json bench_own(const BenchOptions& options) { return OwnBench(options).run(); }

}  // namespace piano::tools
