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

// Row r of the output belongs to list (r * lists) / rows.
OpCase shared_case(const char* name, std::int64_t rows, std::int64_t in, std::int64_t lists, std::int64_t s, std::int64_t out, bool bias,
                   Activation activation) {
  std::vector<CaseInput> inputs{matrix(rows, in), matrix(out, in + s), matrix(lists, s)};
  if (bias) inputs.push_back(matrix(1, out));
  std::vector<std::int32_t> index;
  for (std::int64_t r = 0; r < rows; ++r) index.push_back(static_cast<std::int32_t>(r * lists / rows));
  return {name, std::move(inputs), [=](const Context& context, std::span<const Tensor> x) {
            return linear(context, x[0], x[1], bias ? x[3] : Tensor{}, activation, x[2], index);
          }};
}

OpCase matmul_case(const char* name, std::int64_t rows, std::int64_t out, std::int64_t in) {
  return {name, {matrix(rows, out), matrix(out, in)},
          [](const Context& context, std::span<const Tensor> x) { return matmul(context, x[0], x[1]); }};
}

}  // namespace

Tensor linear(const Context& context, Tensor x, Tensor w, Tensor b, Activation activation, Tensor shared,
              std::span<const std::int32_t> index) {
  const CheckedOp check{"linear", "w is (out, in) and b (out), as in PyTorch"};
  check.present("w", w);
  check.present("x", x);
  check.cols("x", x, w.cols() - (shared ? shared.cols() : 0));
  check.padded("x", x);
  if (b) check.elements("b", b, w.rows());
  if (shared) {
    check.padded("shared", shared);
    PIANO_CHECK(static_cast<std::int64_t>(index.size()) == x.rows(), "[linear] expected an index for each of " + std::to_string(x.rows()) +
                                                                         " rows, got " + std::to_string(index.size()));
    check.indices("index", index, shared.rows());
  }
  return run_op(context, OpId::linear, {x.rows(), w.rows()}, {{x, w, b, shared}},
                context.arena->make<LinearArgs>(activation, shared ? index.data() : nullptr));
}

Tensor matmul(const Context& context, Tensor x, Tensor w) {
  const CheckedOp check{"matmul", "w is (out, in) and x (rows, out): the result is (rows, in)"};
  check.present("x", x);
  check.present("w", w);
  check.rows("w", w, x.cols());
  check.padded("x", x);
  return run_op(context, OpId::matmul, {x.rows(), w.cols()}, {{x, w}}, nullptr);
}

Op linear_row() {
  Op row{OpId::linear, "linear"};
  row.specification = "out = f(x W^T + b), f the identity or gelu(z) = z Phi(z); with shared rows x_r is [x_r ; shared_{index[r]}]";
  row.cut = {true, 0b1, [](const Node& node, std::int64_t begin, std::int64_t, Arena& arena) -> const void* {
               LinearArgs part = args_of<LinearArgs>(node);
               if (part.index != nullptr) part.index += begin;
               return arena.make<LinearArgs>(part);
             }};
  row.cost = [](const Node& node) -> OpCost {
    const double per_element = 2.0 * static_cast<double>(node.inputs[0]->shape.cols()) + (node.inputs[2] != nullptr ? 1 : 0) +
                               (args_of<LinearArgs>(node).activation == Activation::gelu ? 10 : 0);
    const double once = node.inputs[3] == nullptr ? 0 : 2.0 * static_cast<double>(node.inputs[3]->shape.elements() * node.output->shape.cols());
    return {output_elements(node) * per_element + once, bytes_of(node)};
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
        shared_case("shared rows", 60, 64, 3, 64, 64, true, Activation::gelu),
        shared_case("shared rows, odd widths", 11, 5, 4, 3, 7, false, Activation::none),
        shared_case("shared rows, one output", 9, 12, 2, 20, 1, true, Activation::none),
        shared_case("shared rows, rows=0", 0, 8, 1, 4, 8, true, Activation::gelu),
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
