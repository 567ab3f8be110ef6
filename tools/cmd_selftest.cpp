// piano selftest: is this binary right on this machine? One line per check, seconds in all.
#include <fstream>
#include <iterator>

#include "data/dataset_writer.h"
#include "data/request_json.h"
#include "data/simulator.h"
#include "engine/base/log.h"
#include "piano/model_file.h"
#include "piano/predictor.h"
#include "piano/train.h"
#include "tools/command_line.h"
#include "tools/output.h"
#include "tools/selftest_ops.h"
#include "tools/temporary_folder.h"

namespace piano::tools {

namespace {

class Checks {
 public:
  void add(const std::string& what, bool passed, const std::string& detail) {
    print((passed ? "ok      " : "FAILED  ") + what + (detail.empty() ? "" : ": " + detail) + "\n");
    failed_ += passed ? 0 : 1;
  }
  int failed() const { return failed_; }

 private:
  int failed_ = 0;
};

std::string cpu_features() {
  std::string list;
#if defined(__x86_64__)
  const auto add = [&](bool has, const char* name) {
    if (has) list += (list.empty() ? "" : " ") + std::string(name);
  };
  __builtin_cpu_init();
  add(__builtin_cpu_supports("sse4.2") != 0, "sse4.2");
  add(__builtin_cpu_supports("avx") != 0, "avx");
  add(__builtin_cpu_supports("avx2") != 0, "avx2");
  add(__builtin_cpu_supports("fma") != 0, "fma");
  add(__builtin_cpu_supports("bmi2") != 0, "bmi2");
  add(__builtin_cpu_supports("avx512f") != 0, "avx512f");
#endif
  return list.empty() ? "nothing beyond the baseline" : list;
}

// The known answers that come with Salmon et al. 2011 for ten rounds.
bool philox_is_right() {
  using Words = std::array<std::uint32_t, 4>;
  constexpr std::uint32_t ones = 0xffffffff;
  return philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8} &&
         philox4x32({ones, ones, ones, ones}, {ones, ones}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd} &&
         philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
             Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
}

void check_kernels(Checks& checks) {
  for (const Device* level : cpu_levels()) {
    const OpCheck result = check_ops(*level);
    const std::string first = result.failures.empty() ? "" : ", the first: " + result.failures.front();
    checks.add("kernels " + level->name, result.failures.empty(),
               std::to_string(result.cases) + " op cases against the reference, " + std::to_string(result.failures.size()) + " differ" + first);
  }
}

std::vector<std::string> simulated_log(const std::string& data_path) {
  data::SimulatorOptions options;
  options.requests = 300;
  std::vector<std::string> lines;
  data::simulate(options, [&](std::string_view line) { lines.emplace_back(line); }, nullptr);
  data::DatasetWriter writer(data_path, {});
  data::RequestParser parser;
  for (const std::string& line : lines) writer.add_request(parser.parse(line), 0, true);
  writer.commit();
  return lines;
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// First requests of their users: a live line without a history then says what the data set says.
void check_serving(Checks& checks, const data::Dataset& dataset, const std::vector<std::string>& lines, const std::string& model_path) {
  const auto model = Model::load(model_path);
  const Model::Impl& m = model->impl();
  std::vector<std::int64_t> requests;
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    if (dataset.history_size(r) == 0) requests.push_back(r);
  }
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(dataset);
  ThreadPool pool(1);
  const PredictedLogits logits = Predictor(m.config, *m.network, m.parameters, m.features, builder, pool).predict(dataset, requests);
  Session session(model);
  data::RequestParser parser;
  std::int64_t different = 0;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const Response& answer = session.rerank(parser.parse(lines[static_cast<std::size_t>(requests[i])]));
    for (const Ranked& ranked : answer.ranking) {
      const auto at = static_cast<std::size_t>(logits.offsets[i] + ranked.from - 1);
      different += ranked.score == ranking_score(m.config, logits, at) ? 0 : 1;
    }
  }
  checks.add("serving", different == 0 && !requests.empty(),
             std::to_string(requests.size()) + " requests alone and in batches, " + std::to_string(different) + " scores differ in a bit");
}

void check_training(Checks& checks) {
  const TemporaryFolder folder;
  const std::vector<std::string> lines = simulated_log(folder / "data");
  const data::Dataset dataset(folder / "data");
  Config config;
  config.model.d = 16, config.model.heads = 2, config.model.layers = 1, config.train.epochs = 1, config.train.batch = 32;
  for (const int threads : {1, 2}) {
    ThreadPool pool(threads);
    TrainOptions options;
    options.out = folder / "model" + std::to_string(threads);
    piano::train(config, dataset, pool, options);
  }
  const std::string one = bytes_of(folder / "model1"), two = bytes_of(folder / "model2");
  checks.add("training", !one.empty() && one == two, "the same model file with 1 and 2 threads");
  SafetensorsFile(folder / "model1").verify();
  check_serving(checks, dataset, lines, folder / "model1");
}

}  // namespace

void selftest(const Arguments& arguments) {
  CommandLine line("selftest", "", "checks this binary on this machine, in seconds; exit code 1 when something is wrong");
  if (!line.parse(arguments)) return;
  line.no_files();
  set_log_quiet(true);
  print("cpu     " + cpu_features() + "; kernels in use: " + cpu_device().name + "\n");
  Checks checks;
  checks.add("random numbers", philox_is_right(), "Philox 4x32-10 gives the published numbers");
  check_kernels(checks);
  check_training(checks);
  if (checks.failed() > 0) throw Error(ErrorCode::internal, "selftest: " + std::to_string(checks.failed()) + " checks failed; do not trust this binary");
}

}  // namespace piano::tools
