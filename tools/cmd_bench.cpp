// piano bench: how fast this binary is on this machine, and cases for others to compare with.
#include "engine/base/error.h"
#include "tools/bench_export.h"
#include "tools/bench_worker.h"
#include "tools/command_line.h"

namespace piano::tools {

void bench(const Arguments& arguments) {
  CommandLine line("bench", "[flags]", "measures training and re-ranking on this machine");
  line.value("export", "DIR", "", "write the cases to DIR for other programs: model, batch, our logits, loss and gradients")
      .repeatable("case", "NAME", "with --export: this case alone (repeatable)")
      .value("worker", "DIR", "", "time cases of an exported DIR on demand: commands on stdin, JSON lines on stdout")
      .repeatable("set", "KEY=VALUE", "one option of the model or of training")
      .example("piano bench --export bench-cases --case infer-100");
  if (!line.parse(arguments)) return;
  line.no_files();
  const std::vector<std::string> assignments = line.all("set");
  if (line.given("export")) {
    std::vector<BenchCase> cases = bench_cases();
    if (line.given("case")) {
      std::vector<BenchCase> chosen;
      for (const std::string& name : line.all("case")) chosen.push_back(find_case(cases, name));
      cases = chosen;
    }
    return export_cases(line.text("export"), cases, assignments);
  }
  serve_cases(line.required("worker"), assignments);
}

}  // namespace piano::tools
