// piano bench: how fast this binary is on this machine, and cases for others to compare with.
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/json_text.h"
#include "engine/base/log.h"
#include "tools/bench_count.h"
#include "tools/bench_device.h"
#include "tools/bench_export.h"
#include "tools/bench_growth.h"
#include "tools/bench_ops.h"
#include "tools/bench_own.h"
#include "tools/bench_worker.h"
#include "tools/command_line.h"
#include "tools/device_flag.h"

namespace piano::tools {
namespace {

// At most one of these says what is to be done; without any, our own figures.
std::string mode_of(const CommandLine& line) {
  std::string mode;
  for (const char* name : {"ops", "growth", "export", "worker", "count"}) {
    if (!line.given(name)) continue;
    if (!mode.empty()) throw Error(ErrorCode::usage, "--" + mode + " and --" + name + " are two different runs; see piano help bench");
    mode = name;
  }
  return mode;
}

std::vector<BenchCase> chosen_cases(const CommandLine& line) {
  const std::vector<BenchCase> cases = bench_cases();
  std::vector<BenchCase> all = cases, chosen;
  for (const BenchCase& c : device_cases()) all.push_back(c);
  for (const std::string& name : line.all("case")) chosen.push_back(find_case(all, name));
  return chosen.empty() ? cases : chosen;
}

}  // namespace

void bench(const Arguments& arguments) {
  CommandLine line("bench", "[--ops [FILTER] | --growth | --export DIR | --worker DIR | --count CASE] [flags]",
                   "measures training and re-ranking on this machine, beside the machine's own peaks; minutes, --quick: seconds");
  line.value("rounds", "N", "7", "rounds; each measures in turn what is compared")
      .value("threads", "N", "", "threads to compare with one (default: all cores)")
      .flag("quick", "3 rounds, one case of each kind, a small vocabulary")
      .repeatable("set", "KEY=VALUE", "one option of the model or of training")
      .value("json", "FILE", "", "the figures as JSON, beside the table")
      .flag("ops", "time each op at the model's shapes and at the op table's; FILTER: a part of an op's or a case's name")
      .flag("growth", "how cost grows with candidates, history, vocabulary, data, batch and list lengths")
      .value("export", "DIR", "", "write the cases to DIR for other programs: model, batch, our logits, loss and gradients")
      .repeatable("case", "NAME", "with --export: this case alone (repeatable)")
      .value("worker", "DIR", "", "time cases of an exported DIR on demand: commands on stdin, JSON lines on stdout")
      .value("count", "CASE", "", "run a small case once, for a program that counts instructions (make bench-check)")
      .example("piano bench --quick --json bench.json")
      .example("piano bench --device cuda")
      .example("piano bench --ops linear");
  with_device(line);
  if (!line.parse(arguments)) return;
  const Device& device = device_of(line);
  const std::string mode = mode_of(line);
  if (line.text("device") != "cpu" && mode != "" && mode != "worker") {
    throw Error(ErrorCode::usage, "--" + mode + " is measured on the CPU; --device cuda goes alone, or with --worker");
  }
  if (mode != "ops") line.no_files();
  if (line.files().size() > 1) throw Error(ErrorCode::usage, "--ops takes one FILTER; see piano help bench");
  if (line.given("case") && mode != "export") throw Error(ErrorCode::usage, "--case belongs to --export; see piano help bench");
#ifndef NDEBUG
  log_warning("this binary was built without optimisation: its times say little");
#endif

  BenchOptions options;
  options.quick = line.given("quick");
  options.rounds = options.quick && !line.given("rounds") ? 3 : static_cast<int>(line.integer("rounds", 1, 1000));
  options.threads = threads_of(line);
  options.assignments = line.all("set");
  if (mode == "count") return run_counted(line.text("count"));
  if (mode == "worker") return serve_cases(line.text("worker"), options.assignments, device);
  if (mode == "export") return export_cases(line.text("export"), chosen_cases(line), options.assignments);

  set_log_quiet(true);
  std::unique_ptr<AtomicFile> json;  // before the work: minutes would be lost if it cannot be written
  if (line.given("json")) json = std::make_unique<AtomicFile>(line.required("json"));
  const nlohmann::ordered_json figures = mode == "ops"      ? bench_ops(line.files().empty() ? "" : line.files()[0], options.rounds)
                                         : mode == "growth" ? bench_growth(options)
                                         : device.make_memory != nullptr ? bench_device(device, options)
                                                            : bench_own(options);
  if (json) {
    json->write(json_text(figures) + "\n");
    json->commit();
  }
}

}  // namespace piano::tools
