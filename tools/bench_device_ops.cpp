#include "tools/bench_device_ops.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/base/random.h"

namespace piano::tools {
namespace {

using Clock = std::chrono::steady_clock;
using Offsets = std::vector<std::int32_t>;

constexpr int kRepeats = 10;  // noted down and started together
constexpr std::int64_t kColumns = 64, kRowsOfList = 50;

Ragged lists_at(const Offsets& offsets) { return {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}; }

}  // namespace

double DeviceBench::wait() {
  const auto start = Clock::now();
  memory_->read({});
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double DeviceBench::copy_gb_s(std::size_t bytes) {
  memory_->reset();
  void *from = memory_->allocate(bytes), *to = memory_->allocate(bytes);
  memory_->zero(from, bytes), memory_->copy(to, from, bytes);
  wait();  // warm
  for (int r = 0; r < kRepeats; ++r) memory_->copy(to, from, bytes);
  return 1e-9 * 2 * static_cast<double>(bytes) * kRepeats / wait();
}

double DeviceBench::matrix_gflops(std::int64_t n) {
  const BenchOp op{"matmul", {"peak", {{n, n}, {n, n}}, [](const Context& ctx, std::span<const Tensor> x) { return matmul(ctx, x[0], x[1]); }}, {0, 1}, 0};
  return 2e-9 * std::pow(static_cast<double>(n), 3) / time(op).forward;
}

Context DeviceBench::context(Tape* tape) {
  arena_.reset();
  memory_->reset();
  Context ctx;
  ctx.device = &device_, ctx.arena = &arena_, ctx.memory = memory_.get(), ctx.tape = tape, ctx.parameters = store_.get(), ctx.random = {1, 1};
  ctx.gradients = tape != nullptr ? &gradients_ : nullptr;
  ctx.training = true;  // dropout is on
  return ctx;
}

DeviceBench::OpTimes DeviceBench::time(const BenchOp& op) {
  store_ = std::make_unique<ParameterStore>();
  std::vector<ParameterId> ids;
  for (std::size_t i = 0; i < op.shape.inputs.size(); ++i) {
    const CaseInput& in = op.shape.inputs[i];
    const std::string name = "input." + std::to_string(i);
    ids.push_back(in.table ? store_->add_table(name, in.rows, in.cols) : store_->add(name, {in.rows, in.cols}, false));
  }
  store_->allocate();
  gradients_ = {};
  store_->prepare(gradients_);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const CaseInput& in = op.shape.inputs[i];
    auto values = store_->values<float>((*store_)[ids[i]]);
    for (std::size_t e = 0; e < values.size(); ++e) {
      const double some = (static_cast<double>(e % 1013) - 506) / 300;  // any numbers do
      values[e] = static_cast<float>(in.fill ? in.fill(static_cast<std::int64_t>(e), some) : some);
    }
  }
  memory_->keep(*store_);
  const bool rows_move = std::any_of(op.shape.inputs.begin(), op.shape.inputs.end(), [](const CaseInput& in) { return in.table && in.differentiable; });
  const auto optimiser = rows_move ? memory_->make_optimiser({}) : nullptr;
  const auto inputs = [&](const Context& ctx) {
    std::vector<Tensor> tensors;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      tensors.push_back(ctx.parameter(ids[i]));
      tensors.back().record()->requires_grad &= op.shape.inputs[i].differentiable;
    }
    return tensors;
  };

  OpTimes times;
  for (const bool timed : {false, true}) {  // once to warm up
    const Context ctx = context(nullptr);
    const std::vector<Tensor> in = inputs(ctx);
    for (int r = 0; r < kRepeats; ++r) op.shape.run(ctx, in);
    const double seconds = wait() / kRepeats;
    if (timed) times.forward = seconds;
  }
  for (const bool timed : {false, true}) {
    Tape tape;
    store_->zero(gradients_);
    const Context ctx = context(&tape);
    const Tensor out = op.shape.run(ctx, inputs(ctx));
    wait();
    if (tape.last() == nullptr) break;
    times.cost = {};
    for (const Node* node = tape.last(); node != nullptr; node = node->previous) {
      const OpCost cost = op_info(node->op).cost(*node);
      times.cost.flops += cost.flops, times.cost.bytes += cost.bytes;
    }
    if (op.backward_factor == 0) break;
    out.record()->grad = out.record()->value;  // any numbers do
    const Tensor start_here = ctx.variable(std::vector<double>{0}, {1, 1});  // the walk starts with every gradient that is there
    tape.backward(ctx, start_here);
    const auto start = Clock::now();
    if (rows_move) optimiser->step(1, {1e-3, 0.9, 0.999, 1e-8, 0, 0.1, 0.001, 1}, {&start_here, 1});
    wait();
    if (timed) times.backward = std::chrono::duration<double>(Clock::now() - start).count();
    if (rows_move) optimiser->report();
  }
  return times;
}

std::vector<BenchOp> memory_bound_ops(std::int64_t rows, std::int64_t tables) {
  const std::int64_t lists = rows / kRowsOfList;
  const std::int64_t n = lists * kRowsOfList, d = kColumns;
  Offsets offsets, list_of, ids, few, shuffled;
  for (std::int64_t l = 0; l <= lists; ++l) offsets.push_back(static_cast<std::int32_t>(l * kRowsOfList));
  RandomStream random(1, "bench.device");
  for (std::int64_t r = 0; r < n; ++r) {
    list_of.push_back(static_cast<std::int32_t>(r / kRowsOfList));
    ids.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(tables)))), few.push_back(static_cast<std::int32_t>(random.below(5)));
    shuffled.push_back(static_cast<std::int32_t>(r));
  }
  random.shuffle(shuffled);
  std::vector<BenchOp> ops;
  const auto add_op = [&](const std::string& op, const std::string& name, std::vector<CaseInput> inputs, auto run, double backward_factor = 2) {
    ops.push_back({op, {name, std::move(inputs), run}, {}, backward_factor});
  };
  const auto weight = [](std::int64_t e, double) { return e % 7 == 0 ? 1.0 : 0.0; };
  using In = std::span<const Tensor>;
  add_op("layer_norm", "rows", {{n, d}, {1, d}, {1, d}}, [](const Context& c, In x) { return layer_norm(c, x[0], x[1], x[2]); });
  add_op("add", "rows", {{n, d}, {n, d}}, [](const Context& c, In x) { return piano::add(c, x[0], x[1]); });
  add_op("mul", "rows", {{n, d}, {n, d}}, [](const Context& c, In x) { return mul(c, x[0], x[1]); });
  add_op("concat", "2 matrices", {{n, d}, {n, d}}, [](const Context& c, In x) { return concat(c, {x[0], x[1]}); });
  add_op("gather_rows", "a list's row to its candidates", {{lists, d}}, [=](const Context& c, In x) { return gather_rows(c, x[0], list_of); });
  add_op("gather_rows", "rows in another order", {{n, d}}, [=](const Context& c, In x) { return gather_rows(c, x[0], shuffled); });
  // Backward sorts ids, adds up rows' gradients, and moves the rows. Of bytes that are dy's once; and for each row touched its sum, written, squared and
  // read again, and value, m and v, read and written: eight times what dy has where about as many rows are touched as there are ids.
  const auto gather = [&](const std::string& name, std::int64_t height, const Offsets& which, double backward_factor) {
    add_op("embedding_sum", name, {{height, d, true, true}}, [=](const Context& c, In x) {
      return embedding_sum(c, x[0], {nullptr, which.data(), static_cast<std::int32_t>(which.size())}, Pooling::sum);
    }, backward_factor);
  };
  gather("one id a row, even draws", tables, ids, 4);
  gather("one id a row, of five", 5, few, 0.5);
  add_op("segment_mean", "lists of 50", {{n, d}}, [=](const Context& c, In x) { return segment_mean(c, x[0], lists_at(offsets)); });
  add_op("dropout", "rows", {{n, d}}, [=](const Context& c, In x) { return dropout(c, x[0], 0.1, 1, lists_at(offsets)); });
  add_op("attention", "lists of 50, 4 heads", {{n, d}, {n, d}, {n, d}},
         [=](const Context& c, In x) { return attention(c, x[0], x[1], x[2], lists_at(offsets), lists_at(offsets), 4); });
  add_op("bce_with_logits", "a column", {{n, 1}, {n, 1, false, false, weight}, {n, 1, false, false, weight}},
         [](const Context& c, In x) { return bce_with_logits(c, x[0], x[1], x[2]); });
  return ops;
}

}  // namespace piano::tools
