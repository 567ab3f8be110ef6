// piano simulate: the synthetic world of docs/simulator.md.
#include <memory>

#include "data/simulator.h"
#include "engine/base/files.h"
#include "engine/base/log.h"
#include "tools/command_line.h"
#include "tools/output.h"

namespace piano::tools {

void simulate(const Arguments& arguments) {
  const data::SimulatorOptions defaults;
  CommandLine line("simulate", "--out FILE [flags]", "writes a synthetic log of music search with known truth (docs/simulator.md)");
  line.value("requests", "N", std::to_string(defaults.requests), "requests to write")
      .value("seed", "N", std::to_string(defaults.seed), "another seed, another world")
      .value("out", "FILE", "", "the log as JSON lines; - is stdout")
      .value("oracle", "FILE", "", "the true probabilities, for piano evaluate --oracle")
      .value("users", "N", "", "users (default: one for every 25 requests)")
      .value("kappa", "X", number_text(defaults.kappa, 1), "0..1: how much a user's taste depends on the intent of the query")
      .value("eta", "X", number_text(defaults.eta, 1), ">= 0: how strongly similar neighbours compete")
      .value("position-bias", "X", number_text(defaults.position_bias, 1), ">= 0: the place r of a list is looked at with chance r^-X")
      .value("swap", "X", number_text(defaults.swap, 1), "0..1: chance that two places of a list change their items, as logs that teach position bias need")
      .value("kinds", "N", std::to_string(defaults.kinds), "kinds of conversion: 1, without a name, or 2, save and follow")
      .example("piano simulate --requests 50000 --seed 1 --out sim.jsonl --oracle oracle.safetensors");
  if (!line.parse(arguments)) return;
  line.no_files();

  data::SimulatorOptions options;
  options.requests = line.integer("requests", 1, std::int64_t{1} << 40);
  options.seed = static_cast<std::uint64_t>(line.integer("seed", 0, INT64_MAX));
  if (line.given("users")) options.users = static_cast<std::int32_t>(line.integer("users", 1, INT32_MAX));
  options.kappa = line.number("kappa");
  options.eta = line.number("eta");
  options.position_bias = line.number("position-bias");
  options.swap = line.number("swap");
  options.kinds = static_cast<std::int32_t>(line.integer("kinds", 1, 2));

  const std::string out = line.required("out"), oracle_path = line.text("oracle");
  require_distinct({{"--out", out == "-" ? "" : out}, {"--oracle", oracle_path}}, {});
  const auto file = out == "-" ? nullptr : std::make_unique<AtomicFile>(out);
  data::SimulatorOracle oracle;
  ProgressLine progress;
  std::int64_t written = 0;
  data::simulate(options, [&](std::string_view text) {
    file ? file->write(text) : print(text);
    if (++written % 256 == 0) {
      const double done = static_cast<double>(written) / static_cast<double>(options.requests);
      progress.show("simulate " + bar(done) + " " + count_text(written) + " requests");
    }
  }, oracle_path.empty() ? nullptr : &oracle);
  progress.clear();
  if (!oracle_path.empty()) data::write_oracle(options, oracle, oracle_path);
  if (file) file->commit();
  log_info("simulate: " + count_text(written) + " synthetic requests in " + (file ? out : "standard output") +
           (oracle_path.empty() ? "" : ", their true probabilities in " + oracle_path));
}

}  // namespace piano::tools
