// piano train: configuration from defaults < TOML < --set, progress, Ctrl-C.
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/json_text.h"
#include "engine/base/log.h"
#include "piano/train.h"
#include "tools/command_line.h"
#include "tools/device_flag.h"
#include "tools/output.h"
#include "tools/signals.h"
#include "tools/train_progress.h"

namespace piano::tools {
namespace {

std::string report(const std::string& out, const Config& config, const TrainSummary& s, bool json) {
  if (json) {
    return json_text(nlohmann::ordered_json{{"out", out}, {"steps", s.steps}, {"epochs", s.epochs}, {"best_epoch", s.best_epoch}, {"best", s.best},
                                  {"stopped_by", s.stopped_by}}) + "\n";
  }
  const std::string& why = s.stopped_by;
  std::string text = out + ": " + counted(s.steps, "step") + ", " + counted(s.epochs, "epoch") + ", " +
                     (why == "epochs" ? "all done" : why == "early stop" ? "stopped early" : why == "max_steps" ? "stopped at train.max_steps" : why);
  if (s.best_epoch > 0) {
    text += "; holds epoch " + count_text(s.best_epoch) +
            (std::isnan(s.best) ? ", the latest one" : ", the best one (" + validation_text(config, s.best) + ")");
  }
  return text + "\n";
}

}  // namespace

void train(const Arguments& arguments) {
  CommandLine line("train", "--data FILE --out FILE [flags]", "learns a model from a packed data set");
  line.value("data", "FILE", "", "packed data set, from piano prepare")
      .value("out", "FILE", "", "the model; OUT.state and OUT.log.jsonl lie beside it")
      .value("config", "FILE", "", "options as TOML")
      .repeatable("set", "KEY=VALUE", "one option; wins over --config; model=NAME is short for model.name=NAME: piano or a baseline (docs/models.md)")
      .value("seed", "N", "", "the same as --set train.seed=N")
      .value("threads", "N", "", "workers (default: all cores); the result does not depend on it")
      .value("embeddings", "WHERE", "device", "with --device cuda: where embedding tables are kept: device, or host, for tables that do not fit there")
      .flag("resume", "go on from OUT.state, where a training was stopped")
      .flag("list-options", "print all options with their defaults as Markdown, and exit")
      .flag("json", "the summary as JSON")
      .example("piano train --data data.safetensors --out model.safetensors --seed 1 --set qdir.mode=mean");
  if (!with_device(line).parse(arguments)) return;
  line.no_files();
  if (line.given("list-options")) return print(options_markdown());

  Config config = config_of(line);
  if (line.given("seed")) set_option(config, "train.seed", line.text("seed"));
  check(config);
  TrainOptions options;
  options.out = line.required("out");
  options.resume = line.given("resume");
  options.device.device = &device_of(line);
  if (line.choice("embeddings", {"device", "host"}) == 1) options.device.tables = DeviceMemory::Tables::host;
  if (options.device.tables == DeviceMemory::Tables::host && options.device.device->make_memory == nullptr) {
    throw Error(ErrorCode::usage, "--embeddings host: expected --device cuda; on the CPU tables are in the host's memory in any case");
  }
  if (options.resume && !std::filesystem::exists(options.out + ".state")) {
    throw Error(ErrorCode::usage, options.out + ".state: no such file, there is nothing to resume; train without --resume");
  }
  const std::string data_path = line.required("data");
  require_distinct({{"--out", options.out}, {"the state of --out", options.out + ".state"}, {"the log of --out", options.out + ".log.jsonl"}},
                   {{"--data", data_path}, {"--config", line.text("config")}});
  const data::Dataset dataset = dataset_of(line);
  ThreadPool pool(threads_of(line));
  ProgressLine progress;
  options.progress = [&](const TrainProgress& p) { show(progress, p); };
  TrainSummary summary;
  {
    const StopOnSignal stop;
    options.stop = &stop.asked();
    summary = piano::train(config, dataset, pool, options);
  }
  progress.clear();
  print(report(options.out, config, summary, line.given("json")));
  if (summary.stopped_by == "interrupted") {
    throw Error(ErrorCode::interrupted, "interrupted at step " + std::to_string(summary.steps) + ", saved in " + options.out +
                                            ".state; the same command with --resume goes on from there");
  }
}

}  // namespace piano::tools
