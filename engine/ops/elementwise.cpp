#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

using Unary = Tensor (*)(const Context&, Tensor);
using Binary = Tensor (*)(const Context&, Tensor, Tensor);

std::vector<OpCase> binary_cases(Binary op) {
  const CaseRun run = [op](const Context& context, std::span<const Tensor> in) { return op(context, in[0], in[1]); };
  return {
      {"usual", {matrix(50, 64), matrix(50, 64)}, run},
      {"odd width", {matrix(7, 5), matrix(7, 5)}, run},
      {"rows=0", {matrix(0, 8), matrix(0, 8)}, run},
      {"rows=1", {matrix(1, 3), matrix(1, 3)}, run},
      {"the same tensor twice", {matrix(4, 6)}, [op](const Context& context, std::span<const Tensor> in) { return op(context, in[0], in[0]); }},
  };
}

std::vector<OpCase> blend_cases() {
  const CaseRun one = [](const Context& context, std::span<const Tensor> in) { return blend(context, in[0], in[1], in[2]); };
  const CaseRun two = [](const Context& context, std::span<const Tensor> in) { return blend(context, in[0], in[1], in[2], in[3]); };
  return {
      {"usual", {matrix(50, 64), matrix(50, 1), matrix(1, 64), matrix(1, 64)}, two},
      {"odd width, one row vector", {matrix(7, 5), matrix(7, 1), matrix(1, 5)}, one},
      {"rows=0", {matrix(0, 8), matrix(0, 1), matrix(1, 8), matrix(1, 8)}, two},
      {"rows=1", {matrix(1, 3), matrix(1, 1), matrix(1, 3), matrix(1, 3)}, two},
  };
}

std::vector<OpCase> unary_cases(Unary op) {
  const CaseRun run = [op](const Context& context, std::span<const Tensor> in) { return op(context, in[0]); };
  return {
      {"usual", {matrix(50, 64)}, run},
      {"odd width", {matrix(7, 5)}, run},
      {"rows=0", {matrix(0, 8)}, run},
      {"rows=1", {matrix(1, 3)}, run},
      {"large values", {matrix(9, 1, [](std::int64_t i, double normal) { return 10.0 * static_cast<double>(i - 4) + normal; })}, run},
  };
}

}  // namespace

Tensor add(const Context& context, Tensor a, Tensor b) {
  const CheckedOp check{"add", "both must have the same shape"};
  check.present("a", a);
  check.same_shape("b", b, a);
  return run_op(context, OpId::add, a.shape(), {{a, b}}, nullptr);
}

Tensor mul(const Context& context, Tensor a, Tensor b) {
  const CheckedOp check{"mul", "both must have the same shape"};
  check.present("a", a);
  check.same_shape("b", b, a);
  return run_op(context, OpId::mul, a.shape(), {{a, b}}, nullptr);
}

Tensor scale(const Context& context, Tensor x, double factor) {
  CheckedOp{"scale", "pass the result of an op"}.present("x", x);
  return run_op(context, OpId::scale, x.shape(), {&x, 1}, context.arena->make<ScaleArgs>(factor));
}

Tensor blend(const Context& context, Tensor x, Tensor w, Tensor a, Tensor b) {
  const CheckedOp check{"blend", "one weight for each row of x, and rows as wide as x"};
  check.present("x", x);
  check.rows("w", w, x.rows());
  check.cols("w", w, 1);
  check.elements("a", a, x.cols());
  if (b) check.elements("b", b, x.cols());
  return run_op(context, OpId::blend, x.shape(), {{x, w, a, b}}, nullptr);
}

Tensor tanh(const Context& context, Tensor x) {
  CheckedOp{"tanh", "pass the result of an op"}.present("x", x);
  return run_op(context, OpId::tanh, x.shape(), {&x, 1}, nullptr);
}

Tensor log_sigmoid(const Context& context, Tensor x) {
  CheckedOp{"log_sigmoid", "pass the result of an op"}.present("x", x);
  return run_op(context, OpId::log_sigmoid, x.shape(), {&x, 1}, nullptr);
}

Tensor exp(const Context& context, Tensor x) {
  CheckedOp{"exp", "pass the result of an op"}.present("x", x);
  return run_op(context, OpId::exp, x.shape(), {&x, 1}, nullptr);
}

Op add_row() {
  Op row{OpId::add, "add"};
  row.specification = "out = a + b";
  row.cost = elementwise_cost<1>;
  row.cut = {true, 0b11};
  row.cases = [] { return binary_cases(add); };
  return row;
}

Op mul_row() {
  Op row{OpId::mul, "mul"};
  row.specification = "out = a * b, element by element";
  row.cost = elementwise_cost<1>;
  row.cut = {true, 0b11};
  row.cases = [] { return binary_cases(mul); };
  return row;
}

Op scale_row() {
  Op row{OpId::scale, "scale"};
  row.specification = "out = factor * x";
  row.cost = elementwise_cost<1>;
  row.cut = {true, 0b1};
  row.cases = [] { return unary_cases([](const Context& context, Tensor x) { return scale(context, x, -0.375); }); };
  return row;
}

Op blend_row() {
  Op row{OpId::blend, "blend"};
  row.specification = "out_r = x_r + w_r a + (1 - w_r) b; without b the last term is 0";
  row.cost = elementwise_cost<4>;
  row.cut = {true, 0b11};
  row.cases = [] { return blend_cases(); };
  return row;
}

Op tanh_row() {
  Op row{OpId::tanh, "tanh"};
  row.specification = "out = (e^x - e^-x) / (e^x + e^-x)";
  row.cost = elementwise_cost<10>;
  row.cut = {true, 0b1};
  row.cases = [] { return unary_cases(tanh); };
  return row;
}

Op log_sigmoid_row() {
  Op row{OpId::log_sigmoid, "log_sigmoid"};
  row.specification = "out = log(1 / (1 + exp(-x))) = min(x, 0) - log1p(exp(-|x|))";
  row.cost = elementwise_cost<10>;
  row.cut = {true, 0b1};
  row.cases = [] { return unary_cases(log_sigmoid); };
  return row;
}

Op exp_row() {
  Op row{OpId::exp, "exp"};
  row.specification = "out = e^x";
  row.cost = elementwise_cost<10>;
  row.cases = [] { return unary_cases(exp); };
  return row;
}

}  // namespace piano
