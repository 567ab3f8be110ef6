// piano demo: the other verbs, one after another, on a synthetic log; then one request to look at.
#include <filesystem>

#include "engine/base/error.h"
#include "tools/command_line.h"
#include "tools/demo_history.h"
#include "tools/demo_request.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

void heading(const std::string& text) { print("\n== " + text + "\n"); }

// Shows the command line, then does what it says.
void run(void (*verb)(const Arguments&), const std::string& name, const Arguments& arguments) {
  std::string command = "$ piano " + name;
  for (const std::string& a : arguments) command += " " + a;
  print(command + "\n");
  flush_results();
  try {
    verb(arguments);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::interrupted) throw;
    throw Error(e.code(), "the demo was interrupted; run it again, it starts anew");
  }
  flush_results();
}

// How to call this very binary from here.
std::string own_path() {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return "piano";
  const std::string near = self.lexically_proximate(std::filesystem::current_path()).string();
  if (near.starts_with("..")) return self.string();
  return near.find('/') == std::string::npos ? "./" + near : near;
}

}  // namespace

void demo(const Arguments& arguments) {
  CommandLine line("demo", "[flags]", "the whole way on a synthetic log: simulate, prepare, train, evaluate, re-rank");
  line.value("out", "FOLDER", "piano-demo", "where its files go")
      .value("requests", "N", "20000", "size of the synthetic log")
      .value("seed", "N", "1", "another seed, another world")
      .value("threads", "N", "", "workers (default: all cores); the result does not depend on it")
      .example("piano demo");
  if (!line.parse(arguments)) return;
  line.no_files();

  data::SimulatorOptions options;
  options.requests = line.integer("requests", 200, 1000000);
  options.seed = static_cast<std::uint64_t>(line.integer("seed", 0, INT64_MAX));
  const std::string folder = line.text("out"), threads = std::to_string(threads_of(line));
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw Error(ErrorCode::io, folder + ": cannot make the folder: " + failed.message());
  const auto file = [&](const char* name) { return (std::filesystem::path(folder) / name).string(); };
  const std::string log = file("log.jsonl"), oracle = file("oracle.safetensors"), data = file("data.safetensors"), model = file("model.safetensors"),
                    requests = file("requests.jsonl");

  print("PIANO re-ranks search results for the person who searches. Everything below is synthetic: made-up songs, people and clicks.\n");
  heading("A log of music searches, and the true probabilities behind its clicks");
  run(simulate, "simulate", {"--requests", std::to_string(options.requests), "--seed", std::to_string(options.seed), "--out", log, "--oracle", oracle});
  heading("Packed: vocabularies and scaling from the training part, the last tenths by time for validation and test");
  run(prepare, "prepare", {"--format", "jsonl", "--out", data, log});
  heading("A small model");
  run(train, "train", {"--data", data, "--out", model, "--threads", threads, "--set", "model.d=32", "--set", "model.dropout=0.2", "--set",
                       "loss.listwise=0.5", "--set", "train.batch=64", "--set", "train.epochs=5"});
  heading("On the test part: beside heuristics, and against the truth");
  run(evaluate, "evaluate", {"--data", data, "--model", model, "--oracle", oracle, "--threads", threads, "--brief"});
  print("Gap closed: 0 is the first ranker's order, 1 the order by the true probabilities. Logged clicks favour the order that was shown.\n");
  heading("One request, before and after (one of those that gain most)");
  print(show_request(options, data, model, oracle));

  write_requests_with_history(log, 20, requests);
  heading("Go on");
  const std::string piano = own_path();
  print(aligned({{piano + " evaluate --data " + data + " --model " + model, "all metrics, differences, slices"},
                 {piano + " inspect " + data, "what is in a file"},
                 {piano + " rerank --model " + model + " " + requests, "JSON lines in, JSON lines out: the last 20 searches with their users' past"},
                 {piano + " train --data " + data + " --out off.safetensors --set qdir.mode=off", "what QDIR is worth"},
                 {piano + " prepare --format jsonl --out mine.safetensors my-log.jsonl", "your own log: docs/requests.md"},
                 {piano + " help", "all verbs"}}, "ll", "  "));
}

}  // namespace piano::tools
