#include "tools/bench_op_run.h"

#include <algorithm>

#include "engine/base/random.h"

namespace piano::tools {

OpRun::OpRun(const BenchOp& op) : op_(op) {
  RandomStream random(1, "bench." + op.shape.name);
  for (std::size_t i = 0; i < op.shape.inputs.size(); ++i) {
    const CaseInput& in = op.shape.inputs[i];
    const std::string name = "input." + std::to_string(i);
    ids_.push_back(in.table ? store_.add_table(name, in.rows, in.cols) : op.is_parameter(i) ? store_.add(name, {in.rows, in.cols}, false) : ParameterId{});
  }
  store_.allocate();
  store_.prepare(gradients_);
  for (std::size_t i = 0; i < op.shape.inputs.size(); ++i) {
    const CaseInput& in = op.shape.inputs[i];
    std::vector<float> values(static_cast<std::size_t>(padded_rows(in.rows) * in.cols));
    for (std::int64_t e = 0; e < in.rows * in.cols; ++e) {
      const double normal = in.table ? static_cast<double>(e % 17) - 8 : random.normal();  // a table is large, and any numbers do
      values[static_cast<std::size_t>(e)] = static_cast<float>(in.fill ? in.fill(e, normal) : 0.1 * normal);
    }
    if (ids_[i]) std::copy_n(values.begin(), in.rows * in.cols, store_.values<float>(store_[ids_[i]]).begin());
    values_.push_back(ids_[i] ? std::vector<float>() : std::move(values));
  }
  packed_.pack(store_, cpu_device());
}

double OpRun::forward() {
  const Context ctx = context(nullptr);
  const std::vector<Tensor>& in = inputs(ctx);
  const auto start = Clock::now();
  op_.shape.run(ctx, in);
  return finish(start);
}

double OpRun::backward() {
  Tape tape;
  const Context ctx = context(&tape);
  const Tensor out = op_.shape.run(ctx, inputs(ctx));
  const std::int64_t n = padded_rows(out.shape().rows()) * out.shape().cols();
  out.record()->grad = arena_.array<float>(n);  // as from what comes after it in the model
  std::fill_n(static_cast<float*>(out.record()->grad), n, 1.0f);
  const Tensor start_here = ctx.empty({1, 1});  // the walk starts with every gradient that is there
  start_here.record()->requires_grad = true;
  const auto start = Clock::now();
  tape.backward(ctx, start_here);
  return finish(start);
}

OpCost OpRun::cost() {
  Tape tape;
  const Context ctx = context(&tape);
  op_.shape.run(ctx, inputs(ctx));
  OpCost total;
  for (const Node* node = tape.last(); node != nullptr; node = node->previous) {
    const OpCost cost = op_info(node->op).cost(*node);
    total.flops += cost.flops, total.bytes += cost.bytes;
  }
  arena_.reset();
  return total;
}

Context OpRun::context(Tape* tape) {
  Context ctx;
  ctx.device = &cpu_device(), ctx.arena = &arena_, ctx.tape = tape, ctx.parameters = &store_, ctx.random = {1, 1};
  ctx.packed = &packed_;
  ctx.gradients = tape != nullptr ? &gradients_ : nullptr;
  ctx.training = tape != nullptr;
  return ctx;
}

const std::vector<Tensor>& OpRun::inputs(const Context& ctx) {
  tensors_.clear();
  for (std::size_t i = 0; i < values_.size(); ++i) {
    const CaseInput& in = op_.shape.inputs[i];
    if (ids_[i]) {
      tensors_.push_back(ctx.parameter(ids_[i]));
      continue;
    }
    auto* record = arena_.make<TensorRecord>();
    record->shape = {in.rows, in.cols};
    record->requires_grad = ctx.tape != nullptr && in.differentiable;
    record->value = values_[i].data();
    tensors_.emplace_back(record, arena_.epoch());
  }
  return tensors_;
}

double OpRun::finish(Clock::time_point start) {
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
  arena_.reset();
  store_.zero(gradients_);
  return seconds;
}

}  // namespace piano::tools
