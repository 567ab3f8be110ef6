#include "tools/bench_worker.h"

#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/base/json_text.h"
#include "piano/model_file.h"
#include "tools/bench_export.h"
#include "tools/bench_machine.h"
#include "tools/bench_run.h"
#include "tools/bench_samples.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::io, path + ": cannot be read; make it with piano bench --export");
  return {std::istreambuf_iterator<char>(file), {}};
}

class Worker {
 public:
  Worker(std::string folder, const std::vector<std::string>& assignments, const Device& device) : folder_(std::move(folder)), device_(device) {
    for (const auto& c : parse_json(text_of(folder_ + "/cases.json"))) {
      Config config;
      for (const auto& [key, value] : c["config"].items()) set_option(config, key, value.get<std::string>());
      for (const std::string& assignment : assignments) set_option(config, assignment);
      configs_[c["name"].get<std::string>()] = config;
    }
  }

  Json answer(std::istringstream& line) {
    std::string command, name;
    std::int64_t threads = 0;
    line >> command;
    if (command == "memory") {
      const ProcessMemory memory = process_memory();
      return {{"peak", memory.peak}, {"current", memory.current}, {"anonymous", memory.anonymous}, {"file", memory.file}};
    }
    if (command == "machine") {
      line >> threads;
      return machine(checked(threads, 1024));
    }
    if (command != "train" && command != "infer" && command != "infer-known" && command != "forward" && command != "throughput") {
      throw Error(ErrorCode::usage, "expected train, infer, infer-known, forward, throughput, machine, memory or quit, got '" + command + "'");
    }
    double amount = 0;
    line >> name >> threads >> amount;
    const int workers = checked(threads, 1024);
    checked(amount, 1e6);
    load(name);
    if (command == "forward") return forward(name, workers, static_cast<std::int64_t>(amount));
    Json json{{"case", name}, {"threads", workers}};
    if (command == "train") train(json, workers, static_cast<std::int64_t>(amount));
    if (command.starts_with("infer")) {
      std::size_t count = 1;
      line >> count;
      infer(json, {workers, command == "infer" ? 0 : SessionOptions().history_cache_bytes}, static_cast<std::int64_t>(amount), line ? std::max<std::size_t>(count, 1) : 1);
    }
    if (command == "throughput") json["lists_per_second"] = lists_per_second(model(), requests(), workers, amount);
    return json;
  }

 private:
  template <class Number>
  static int checked(Number number, double high) {
    if (!(static_cast<double>(number) > 0 && static_cast<double>(number) <= high)) throw Error(ErrorCode::usage, "expected positive numbers after the command");
    return static_cast<int>(number);
  }

  void load(const std::string& name) {
    if (name == name_) return;
    if (!configs_.contains(name)) throw Error(ErrorCode::usage, "no case '" + name + "' in " + folder_);
    trainings_.clear(), inferences_.clear(), forwards_.clear(), model_.reset(), requests_.clear();
    name_ = name;
  }

  void train(Json& json, int threads, std::int64_t steps) {
    std::unique_ptr<Training>& training = trainings_[threads];
    if (!training) training = std::make_unique<Training>(configs_[name_], case_file(folder_, name_, "data.safetensors"), threads, case_file(folder_, name_, "model.safetensors"), device_);
    std::vector<double> ms;
    if (device_.make_memory != nullptr) ms.push_back(training->run.steps(steps));
    else for (std::int64_t s = 0; s < steps; ++s) ms.push_back(training->run.step());
    json["ms"] = ms;
    json["loss"] = training->run.loss();
    json["step_flops"] = training->flops;
  }

  void infer(Json& json, const SessionOptions& options, std::int64_t repeats, std::size_t count) {
    std::unique_ptr<InferRun>& run = inferences_[{options.threads, options.history_cache_bytes}];
    if (!run) {
      run = std::make_unique<InferRun>(model(), requests(), options);
      for (int warm_up = 0; warm_up < 2; ++warm_up) run->rerank(0);
    }
    std::vector<double> us;
    for (std::int64_t r = 0; r < repeats; ++r) us.push_back(run->rerank(static_cast<std::size_t>(r) % std::min(count, run->size())));
    const Samples samples(us);
    json["us"] = us;
    json["p50"] = samples.quantile(0.5), json["p99"] = samples.quantile(0.99), json["max"] = samples.high();
  }

  Json forward(const std::string& name, std::int64_t lists, std::int64_t repeats) {
    std::unique_ptr<ForwardRun>& run = forwards_[lists];
    if (!run) {
      run = std::make_unique<ForwardRun>(model(), requests().front(), lists, device_);
      for (int warm_up = 0; warm_up < 2; ++warm_up) run->forward();
    }
    Json json{{"case", name}, {"lists", lists}, {"flops", run->flops()}, {"difference", run->difference()}};
    for (std::int64_t r = 0; r < repeats; ++r) json["ms"].push_back(run->forward());
    return json;
  }

  static Json machine(int threads) {
    const MachinePeaks peaks = measure_machine(threads);
    return {{"threads", threads}, {"level", peaks.level}, {"fma_gflops", peaks.fma_gflops}, {"dram_gb_s", peaks.dram_gb_s}, {"l2_gb_s", peaks.l2_gb_s}};
  }

  const std::shared_ptr<const Model>& model() {
    if (!model_) model_ = Model::load(case_file(folder_, name_, "model.safetensors"));
    return model_;
  }

  const std::vector<std::string>& requests() {
    if (!requests_.empty()) return requests_;
    std::istringstream lines(text_of(case_file(folder_, name_, "requests.jsonl")));
    for (std::string line; std::getline(lines, line);) requests_.push_back(line);
    return requests_;
  }

  struct Training {
    Training(const Config& config, const std::string& data, int threads, const std::string& model, const Device& device) : run(config, data, threads, model, device) {
      for (int warm_up = 0; warm_up < 2; ++warm_up) run.step();
    }
    TrainRun run;
    double flops = run.step_flops();
  };

  std::string folder_, name_;
  const Device& device_;
  std::map<std::string, Config> configs_;
  std::map<int, std::unique_ptr<Training>> trainings_;  // of the case at hand, by threads
  std::map<std::pair<int, std::size_t>, std::unique_ptr<InferRun>> inferences_;  // of the case at hand, by SessionOptions
  std::map<std::int64_t, std::unique_ptr<ForwardRun>> forwards_;  // of the case at hand, by lists
  std::shared_ptr<const Model> model_;
  std::vector<std::string> requests_;
};

}  // namespace

void serve_cases(const std::string& folder, const std::vector<std::string>& assignments, const Device& device) {
  Worker worker(folder, assignments, device);
  for (std::string text; std::getline(std::cin, text);) {
    std::istringstream line(text);
    std::string first;
    if (!(line >> first)) continue;
    if (first == "quit") return;
    line.clear(), line.seekg(0);
    Json json;
    try {
      json = worker.answer(line);
    } catch (const Error& e) {
      json = {{"error", e.what()}};
    }
    print(json_text(json) + "\n");
    flush_results();
  }
}

}  // namespace piano::tools
