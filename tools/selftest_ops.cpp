#include "tools/selftest_ops.h"

#include <cmath>

#include "engine/ops/op_table.h"

namespace piano::tools {
namespace {

using Values = std::vector<double>;

void append(DType dtype, const void* data, std::int64_t n, Values& to) {
  for (std::int64_t i = 0; i < n; ++i) {
    to.push_back(dtype == DType::f64 ? static_cast<const double*>(data)[i] : static_cast<double>(static_cast<const float*>(data)[i]));
  }
}

void fill(DType dtype, void* to, const Values& from) {
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (dtype == DType::f64) static_cast<double*>(to)[i] = from[i];
    else static_cast<float*>(to)[i] = static_cast<float>(from[i]);
  }
}

// Output and gradients of one case on one device, as one row of numbers. The numbers that go in depend on the case alone.
Values run_case(const Device& device, const OpCase& op_case) {
  RandomStream random(1, "selftest." + op_case.name);
  ParameterStore store(device.dtype);
  std::vector<ParameterId> tables;
  std::vector<Values> inputs;
  for (std::size_t i = 0; i < op_case.inputs.size(); ++i) {
    const CaseInput& in = op_case.inputs[i];
    Values& values = inputs.emplace_back();
    for (std::int64_t e = 0; e < in.rows * in.cols; ++e) {
      const double normal = random.normal();
      values.push_back(static_cast<double>(static_cast<float>(in.fill ? in.fill(e, normal) : normal)));
    }
    tables.push_back(in.table ? store.add_table("table." + std::to_string(i), in.rows, in.cols) : ParameterId{});
  }
  store.allocate();
  Gradients gradients;
  store.prepare(gradients);

  Arena arena;
  Tape tape;
  Context ctx;
  ctx.device = &device;
  ctx.arena = &arena;
  ctx.tape = &tape;
  ctx.parameters = &store;
  ctx.gradients = &gradients;
  ctx.random = {1, 1};
  ctx.training = true;
  std::vector<Tensor> leaves;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const CaseInput& in = op_case.inputs[i];
    const Shape shape{in.rows, in.cols};
    if (tables[i]) fill(device.dtype, store.value(store[tables[i]]), inputs[i]);
    leaves.push_back(tables[i] ? ctx.parameter(tables[i]) : in.differentiable ? ctx.variable(inputs[i], shape) : ctx.constant(inputs[i], shape));
  }
  const Tensor out = op_case.run(ctx, leaves);
  Values seed, result;
  for (std::int64_t e = 0; e < out.shape().elements(); ++e) seed.push_back(static_cast<double>(static_cast<float>(random.normal())));
  append(device.dtype, out.record()->value, out.shape().elements(), result);
  tape.backward(ctx, out, seed);
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const TensorRecord& leaf = *leaves[i].record();
    if (!tables[i] && leaf.grad != nullptr) append(device.dtype, leaf.grad, leaf.shape.elements(), result);
  }
  for (const RowGradients& rows : gradients.tables) {
    const auto n = static_cast<std::int64_t>(rows.rows().size()) * rows.columns();
    append(device.dtype, device.dtype == DType::f64 ? static_cast<const void*>(rows.values<double>().data()) : rows.values<float>().data(), n, result);
  }
  return result;
}

bool close(const Values& actual, const Values& expected) {
  if (actual.size() != expected.size()) return false;
  double norm = 0, distance = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    norm += expected[i] * expected[i];
    distance += (actual[i] - expected[i]) * (actual[i] - expected[i]);
  }
  return std::sqrt(distance) <= 1e-4 * std::sqrt(norm) + 1e-6;  // false for a NaN
}

}  // namespace

OpCheck check_ops(const Device& device) {
  OpCheck check;
  for (const Op& op : op_table()) {
    for (const OpCase& op_case : op.cases()) {
      ++check.cases;
      if (!close(run_case(device, op_case), run_case(reference_device(DType::f64), op_case))) {
        check.failures.push_back(std::string(op.name) + ", case '" + op_case.name + "'");
      }
    }
  }
  return check;
}

}  // namespace piano::tools
