#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

OpCase gru_case(const char* name, std::int64_t d, Offsets offsets, bool backwards, double size = 0.3) {
  const CaseFill scaled = [size](std::int64_t, double normal) { return size * normal; };
  return {name, {matrix(ragged(offsets).rows(), 3 * d), matrix(3 * d, d, scaled), matrix(1, d)},
          [=](const Context& context, std::span<const Tensor> in) { return gru(context, in[0], in[1], in[2], ragged(offsets), backwards); }};
}

}  // namespace

Tensor gru(const Context& context, Tensor x, Tensor u, Tensor b, Ragged lists, bool backwards) {
  const CheckedOp check{"gru", "x has three gates' columns, u three square matrices one below the other"};
  check.present("u", u);
  check.rows("u", u, 3 * u.cols());
  check.cols("x", x, 3 * u.cols());
  check.elements("b", b, u.cols());
  check.lists("x's", lists, x.rows());
  return run_op(context, OpId::gru, {x.rows(), u.cols()}, {{x, u, b}}, context.arena->make<GruArgs>(lists, backwards));
}

Op gru_row() {
  Op row{OpId::gru, "gru"};
  row.specification = "r = s(x_r + U_r h), z = s(x_z + U_z h), n = tanh(x_n + r (U_n h + b)), h' = (1 - z) n + z h, row by row of each list";
  row.cost = [](const Node& node) -> OpCost {
    return {output_elements(node) * (6.0 * static_cast<double>(node.output->shape.cols()) + 40), bytes_of(node)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        gru_case("usual", 64, {0, 20, 33, 50}, true, 0.1), gru_case("forwards", 16, {0, 12, 13, 30}, false),
        gru_case("odd width", 5, {0, 2, 7}, true),         gru_case("one column", 1, {0, 4, 6}, false),
        gru_case("empty lists", 8, {0, 0, 3, 3, 5}, true), gru_case("rows=0", 8, {0, 0}, false),
        gru_case("rows=1", 7, {0, 1}, true),               gru_case("saturated gates", 4, {0, 6}, false, 4),
    };
  };
  return row;
}

}  // namespace piano
