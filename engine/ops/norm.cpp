#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

OpCase layer_norm_case(const char* name, std::int64_t rows, std::int64_t d, CaseFill fill = {}) {
  return {name, {matrix(rows, d, std::move(fill)), matrix(1, d), matrix(1, d)}, [](const Context& context, std::span<const Tensor> in) {
            return layer_norm(context, in[0], in[1], in[2]);
          }};
}

}  // namespace

Tensor layer_norm(const Context& context, Tensor x, Tensor gamma, Tensor beta) {
  const CheckedOp check{"layer_norm", "gamma and beta have one element per column of x"};
  check.present("x", x);
  check.elements("gamma", gamma, x.cols());
  check.elements("beta", beta, x.cols());
  return run_op(context, OpId::layer_norm, x.shape(), {{x, gamma, beta}}, nullptr);
}

Op layer_norm_row() {
  Op row{OpId::layer_norm, "layer_norm"};
  row.specification = "out_c = (x_c - mean) / sqrt(variance + 1e-5) * gamma_c + beta_c over each row, the variance divided by d";
  row.cost = elementwise_cost<8>;
  row.cut = {true, 0b1};
  row.cases = []() -> std::vector<OpCase> {
    return {
        layer_norm_case("usual", 100, 64),
        layer_norm_case("odd width", 7, 5),
        layer_norm_case("width 12", 9, 12),
        layer_norm_case("far from zero", 6, 16, [](std::int64_t, double normal) { return 50 + 2 * normal; }),
        layer_norm_case("rows=0", 0, 8),
        layer_norm_case("rows=1", 1, 24),
    };
  };
  return row;
}

}  // namespace piano
