#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

OpCase mixture_case(const char* name, std::int64_t rows, std::int64_t experts, std::int64_t d, CaseFill gates = {}) {
  return {name, {matrix(rows, experts, std::move(gates)), matrix(rows, experts * d)},
          [](const Context& context, std::span<const Tensor> in) { return mixture(context, in[0], in[1]); }};
}

}  // namespace

Tensor mixture(const Context& context, Tensor gates, Tensor x) {
  const CheckedOp check{"mixture", "one gate for each of the experts that lie side by side in x"};
  check.present("gates", gates);
  check.rows("x", x, gates.rows());
  PIANO_CHECK(gates.cols() > 0 && x.cols() % gates.cols() == 0, "[mixture] expected x with a multiple of " + std::to_string(gates.cols()) +
                                                                    " columns, got " + std::to_string(x.cols()) + ": one block for each gate");
  return run_op(context, OpId::mixture, {x.rows(), x.cols() / gates.cols()}, {{gates, x}}, nullptr);
}

Op mixture_row() {
  Op row{OpId::mixture, "mixture"};
  row.specification = "out_r = sum_e softmax_e(gates_r) x_r,e, the experts' rows side by side in x_r";
  row.cut = {true, 0b11};
  row.cost = [](const Node& node) -> OpCost {
    const double experts = static_cast<double>(node.inputs[0]->shape.cols());
    return {output_elements(node) * 2 * experts + 5 * static_cast<double>(node.inputs[0]->shape.elements()), bytes_of(node)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        mixture_case("usual", 50, 4, 64),   mixture_case("odd width", 7, 3, 5), mixture_case("one expert", 4, 1, 8),
        mixture_case("one column", 5, 6, 1), mixture_case("rows=0", 0, 4, 8),    mixture_case("rows=1", 1, 16, 7),
        mixture_case("large gates", 9, 3, 8, [](std::int64_t i, double normal) { return 3.0 * static_cast<double>(i % 5 - 2) + normal; }),
    };
  };
  return row;
}

}  // namespace piano
