#include "tools/bench_ops.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/ops/op_table.h"
#include "tools/bench_machine.h"
#include "tools/bench_op_run.h"
#include "tools/bench_samples.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

// The median over rounds of the median call of a few milliseconds.
template <class Call>
double seconds_of(int rounds, Call&& call) {
  Samples medians;
  for (int round = 0; round < rounds; ++round) {
    std::vector<double> calls;
    const auto start = Clock::now();
    do calls.push_back(call());
    while (Clock::now() - start < std::chrono::milliseconds(4));
    medians.add(Samples(calls).median());
  }
  return medians.median();
}

// The share of the nearer of two limits: multiply-adds, or bytes from level 2.
double share(const OpCost& cost, double seconds, const MachinePeaks& peaks) {
  return std::max(1e-9 * cost.flops / peaks.fma_gflops, 1e-9 * cost.bytes / peaks.l2_gb_s) / seconds;
}

}  // namespace

nlohmann::ordered_json bench_ops(const std::string& filter, int rounds) {
  const MachinePeaks peaks = measure_machine(1);
  Json rows = Json::array();
  std::vector<std::vector<std::string>> table{{"op", "case", "forward us", "GFLOP/s", "GB/s", "peak", "backward us", "GFLOP/s", "GB/s", "peak"}};
  ProgressLine progress;
  for (const BenchOp& op : bench_op_shapes()) {
    if (op.name.find(filter) == std::string::npos && op.shape.name.find(filter) == std::string::npos) continue;
    progress.show(op.name + ", " + op.shape.name);
    OpRun run(op);
    const OpCost cost = run.cost();
    Json row{{"op", op.name}, {"case", op.shape.name}, {"flops", cost.flops}, {"bytes", cost.bytes}};
    std::vector<std::string> cells{op.name, op.shape.name};
    const auto add = [&](const char* direction, double seconds, const OpCost& c) {
      row[direction] = {{"us", 1e6 * seconds}, {"gflops", 1e-9 * c.flops / seconds}, {"gb_s", 1e-9 * c.bytes / seconds}, {"share", share(c, seconds, peaks)}};
      for (const double x : {1e6 * seconds, 1e-9 * c.flops / seconds, 1e-9 * c.bytes / seconds}) cells.push_back(number_text(x, x < 9.95 ? 2 : 1));
      cells.push_back(number_text(100 * share(c, seconds, peaks), 0) + " %");
    };
    add("forward", seconds_of(rounds, [&] { return run.forward(); }), cost);
    if (op.backward_factor > 0) {
      const double factor = op.backward_factor;
      add("backward", seconds_of(rounds, [&] { return run.backward(); }), {factor * cost.flops, factor * cost.bytes});
    }
    cells.resize(table[0].size(), "-");
    table.push_back(std::move(cells)), rows.push_back(std::move(row));
  }
  progress.clear();
  if (rows.empty()) throw Error(ErrorCode::usage, "no op or case has '" + filter + "' in its name; piano bench --ops without a filter lists all");
  print(cpu_name() + ", " + peaks.level + ", one thread: " + number_text(peaks.fma_gflops, 0) + " GFLOP/s multiply-add, " + number_text(peaks.l2_gb_s, 0) +
        " GB/s from level 2\npeak: share of the nearer of these two limits. A backward counts as twice its forward; dX and dW alone as once.\n\n" +
        aligned(table, "llrrrrrrrr"));
  return {{"fma_gflops", peaks.fma_gflops}, {"l2_gb_s", peaks.l2_gb_s}, {"level", peaks.level}, {"ops", rows}};
}

}  // namespace piano::tools
