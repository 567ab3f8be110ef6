#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

OpCase linear_case(const char* name, std::int64_t rows, std::int64_t in, std::int64_t out, bool bias, Activation activation) {
  std::vector<CaseInput> inputs{matrix(rows, in), matrix(out, in)};
  if (bias) inputs.push_back(matrix(1, out));
  return {name, std::move(inputs), [=](const Context& context, std::span<const Tensor> x) {
            return linear(context, x[0], x[1], bias ? x[2] : Tensor{}, activation);
          }};
}

OpCase matmul_case(const char* name, std::int64_t rows, std::int64_t out, std::int64_t in) {
  return {name, {matrix(rows, out), matrix(out, in)},
          [](const Context& context, std::span<const Tensor> x) { return matmul(context, x[0], x[1]); }};
}

}  // namespace

Tensor linear(const Context& context, Tensor x, Tensor w, Tensor b, Activation activation) {
  const CheckedOp check{"linear", "w is (out, in) and b (out), as in PyTorch"};
  check.present("w", w);
  check.cols("x", x, w.cols());
  if (b) check.elements("b", b, w.rows());
  return run_op(context, OpId::linear, {x.rows(), w.rows()}, {{x, w, b}}, context.arena->make<LinearArgs>(activation));
}

Tensor matmul(const Context& context, Tensor x, Tensor w) {
  const CheckedOp check{"matmul", "w is (out, in) and x (rows, out): the result is (rows, in)"};
  check.present("x", x);
  check.present("w", w);
  check.rows("w", w, x.cols());
  return run_op(context, OpId::matmul, {x.rows(), w.cols()}, {{x, w}}, nullptr);
}

Op linear_row() {
  Op row{OpId::linear, "linear"};
  row.specification = "out = f(x W^T + b), f the identity or gelu(z) = z Phi(z)";
  row.cut = {true, 0b1};
  row.cost = [](const Node& node) -> OpCost {
    const double per_element = 2.0 * static_cast<double>(node.inputs[1]->shape.cols()) + (node.inputs[2] != nullptr ? 1 : 0) +
                               (args_of<LinearArgs>(node).activation == Activation::gelu ? 10 : 0);
    return {output_elements(node) * per_element, bytes_of(node)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        linear_case("usual", 100, 64, 64, true, Activation::none),
        linear_case("gelu", 50, 64, 128, true, Activation::gelu),
        linear_case("no bias", 17, 12, 20, false, Activation::none),
        linear_case("no bias, gelu", 9, 7, 6, false, Activation::gelu),
        linear_case("odd widths", 11, 5, 3, true, Activation::gelu),
        linear_case("one output", 13, 64, 1, true, Activation::none),
        linear_case("one input", 6, 1, 9, true, Activation::none),
        linear_case("rows=0", 0, 8, 4, true, Activation::gelu),
        linear_case("rows=1", 1, 24, 40, true, Activation::gelu),
    };
  };
  return row;
}

Op matmul_row() {
  Op row{OpId::matmul, "matmul"};
  row.specification = "out = x W";
  row.cut = {true, 0b1};
  row.cost = [](const Node& node) -> OpCost {
    return {output_elements(node) * 2.0 * static_cast<double>(node.inputs[0]->shape.cols()), bytes_of(node)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        matmul_case("usual", 100, 64, 64), matmul_case("wide", 17, 12, 140), matmul_case("odd widths", 11, 5, 3),
        matmul_case("one output", 13, 64, 1), matmul_case("one input", 6, 1, 9), matmul_case("rows=0", 0, 8, 4), matmul_case("rows=1", 1, 24, 40),
    };
  };
  return row;
}

}  // namespace piano
