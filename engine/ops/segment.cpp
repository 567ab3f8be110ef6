#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

OpCase segment_case(const char* name, std::int64_t d, Offsets offsets) {
  return {name, {matrix(ragged(offsets).rows(), d)},
          [=](const Context& context, std::span<const Tensor> in) { return segment_mean(context, in[0], ragged(offsets)); }};
}

}  // namespace

Tensor segment_mean(const Context& context, Tensor x, Ragged lists) {
  const CheckedOp check{"segment_mean", "pass the lists that x's rows belong to"};
  check.present("x", x);
  check.lists("x's", lists, x.rows());
  return run_op(context, OpId::segment_mean, {lists.lists, x.cols()}, {&x, 1}, context.arena->make<SegmentMeanArgs>(lists));
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

}  // namespace piano
