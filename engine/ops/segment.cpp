#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

OpCase segment_case(const char* name, std::int64_t d, Offsets offsets) {
  return {name, {matrix(ragged(offsets).rows(), d)},
          [=](const Context& context, std::span<const Tensor> in) { return segment_mean(context, in[0], ragged(offsets)); }};
}

OpCase weighted_case(const char* name, std::int64_t d, std::int64_t heads, Offsets offsets) {
  const std::int64_t rows = ragged(offsets).rows();
  return {name, {matrix(rows, d), matrix(rows, heads)},
          [=](const Context& context, std::span<const Tensor> in) { return weighted_sum(context, in[0], in[1], ragged(offsets)); }};
}

}  // namespace

Tensor segment_mean(const Context& context, Tensor x, Ragged lists) {
  const CheckedOp check{"segment_mean", "pass the lists that x's rows belong to"};
  check.present("x", x);
  check.lists("x's", lists, x.rows());
  return run_op(context, OpId::segment_mean, {lists.lists, x.cols()}, {&x, 1}, context.arena->make<SegmentMeanArgs>(lists));
}

Tensor weighted_sum(const Context& context, Tensor x, Tensor w, Ragged lists) {
  const CheckedOp check{"weighted_sum", "pass the lists that x's rows belong to, and a row of weights for each"};
  check.present("x", x);
  check.rows("w", w, x.rows());
  check.lists("x's", lists, x.rows());
  return run_op(context, OpId::weighted_sum, {lists.lists * w.cols(), x.cols()}, {{x, w}}, context.arena->make<WeightedSumArgs>(lists));
}

Op segment_mean_row() {
  Op row{OpId::segment_mean, "segment_mean"};
  row.specification = "out_l = the mean of the rows of list l; an empty list gives 0";
  row.cost = elementwise_cost<1>;
  row.cases = []() -> std::vector<OpCase> {
    return {
        segment_case("usual", 64, {0, 20, 33, 63}), segment_case("odd width", 5, {0, 2, 3}), segment_case("empty lists", 8, {0, 0, 3, 3}),
        segment_case("rows=0", 8, {0, 0}),          segment_case("lists=0", 8, {0}),         segment_case("rows=1", 7, {0, 1}),
    };
  };
  return row;
}

Op weighted_sum_row() {
  Op row{OpId::weighted_sum, "weighted_sum"};
  row.specification = "out_{l * heads + h} = the sum of w_{r, h} x_r over the rows r of list l; an empty list gives 0";
  row.cost = [](const Node& node) -> OpCost {
    return {2 * static_cast<double>(node.inputs[0]->shape.elements()) * static_cast<double>(node.inputs[1]->shape.cols()), bytes_of(node)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        weighted_case("usual", 64, 4, {0, 20, 33, 63}), weighted_case("odd width", 5, 1, {0, 2, 3}),
        weighted_case("empty lists", 8, 2, {0, 0, 3, 3}), weighted_case("rows=0", 8, 2, {0, 0}),
        weighted_case("lists=0", 8, 2, {0}),             weighted_case("rows=1", 7, 3, {0, 1}),
        weighted_case("one column", 1, 1, {0, 4, 6}),
    };
  };
  return row;
}

}  // namespace piano
