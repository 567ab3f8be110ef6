#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

OpCase dropout_case(const char* name, std::int64_t d, Offsets offsets, double p) {
  return {name, {matrix(ragged(offsets).rows(), d)}, [=](const Context& context, std::span<const Tensor> in) {
            return dropout(context, in[0], p, site_hash("case"), ragged(offsets));
          }};
}

}  // namespace

Tensor dropout(const Context& context, Tensor x, double p, std::uint32_t site, Ragged rows) {
  const CheckedOp check{"dropout", "pass the lists that x's rows belong to"};
  check.present("x", x);
  check.lists("x's", rows, x.rows());
  PIANO_CHECK(p >= 0 && p < 1, "[dropout] expected 0 <= p < 1, got " + std::to_string(p));
  if (!context.training || p == 0) return x;
  return run_op(context, OpId::dropout, x.shape(), {&x, 1},
                context.arena->make<DropoutArgs>(context.random, site, context.first_list, rows, static_cast<float>(p), 1 / (1 - p)));
}

Op dropout_row() {
  Op row{OpId::dropout, "dropout"};
  row.specification =
      "out_rc = 0 when u_rc < p, else x_rc / (1 - p); u_rc the uniform number of (seed, step, site, list, row in list, column)";
  row.cost = elementwise_cost<1>;
  row.cases = []() -> std::vector<OpCase> {
    return {
        dropout_case("p=0.5", 64, {0, 5, 20}, 0.5),
        dropout_case("p=0.1", 64, {0, 5, 20}, 0.1),
        dropout_case("p=0", 8, {0, 3, 4}, 0),
        dropout_case("odd width", 5, {0, 2, 3, 9}, 0.5),
        dropout_case("empty lists", 6, {0, 0, 4, 4}, 0.5),
        dropout_case("rows=0", 8, {0, 0}, 0.5),
        dropout_case("rows=1", 7, {0, 1}, 0.5),
    };
  };
  return row;
}

}  // namespace piano
