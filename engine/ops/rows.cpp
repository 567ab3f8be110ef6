#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

// An op that only copies.
OpCost copy_cost(const Node& node) { return {0, 2 * output_bytes(node)}; }

OpCase gather_case(const char* name, std::int64_t rows, std::int64_t d, Offsets index) {
  return {name, {matrix(rows, d)}, [=](const Context& context, std::span<const Tensor> in) { return gather_rows(context, in[0], index); }};
}

OpCase concat_case(const char* name, std::vector<CaseInput> inputs) {
  return {name, std::move(inputs), [](const Context& context, std::span<const Tensor> in) { return concat(context, in); }};
}

OpCase prepend_case(const char* name, std::int64_t d, Offsets offsets) {
  return {name, {matrix(ragged(offsets).lists, d), matrix(ragged(offsets).rows(), d)},
          [=](const Context& context, std::span<const Tensor> in) { return prepend_row(context, in[0], in[1], ragged(offsets)); }};
}

}  // namespace

Tensor gather_rows(const Context& context, Tensor x, std::span<const std::int32_t> index) {
  const CheckedOp check{"gather_rows", "every index must be a row of x"};
  check.present("x", x);
  check.indices("indices", index, x.rows());
  return run_op(context, OpId::gather_rows, {static_cast<std::int64_t>(index.size()), x.cols()}, {&x, 1},
                context.arena->make<GatherRowsArgs>(index));
}

Tensor concat(const Context& context, std::span<const Tensor> inputs) {
  const CheckedOp check{"concat", "join matrices with the same number of rows"};
  Tensor present[Node::kMaxInputs];
  std::size_t count = 0;
  std::int64_t cols = 0;
  for (const Tensor& x : inputs) {
    if (!x) continue;
    PIANO_CHECK(count < Node::kMaxInputs, "[concat] expected at most 16 inputs: join them in steps");
    if (count > 0) check.rows("every input", x, present[0].rows());
    present[count++] = x;
    cols += x.cols();
  }
  PIANO_CHECK(count > 0, "[concat] expected at least one input, got none");
  return run_op(context, OpId::concat, {present[0].rows(), cols}, {present, count}, nullptr);
}

Tensor concat(const Context& context, std::initializer_list<Tensor> inputs) {
  return concat(context, std::span<const Tensor>(inputs.begin(), inputs.size()));
}

Tensor prepend_row(const Context& context, Tensor first, Tensor x, Ragged lists) {
  const CheckedOp check{"prepend_row", "give one row of `first` per list, as wide as x"};
  check.present("x", x);
  check.lists("x's", lists, x.rows());
  check.rows("first", first, lists.lists);
  check.cols("first", first, x.cols());
  return run_op(context, OpId::prepend_row, {x.rows() + lists.lists, x.cols()}, {{first, x}}, context.arena->make<PrependRowArgs>(lists));
}

Op gather_rows_row() {
  Op row{OpId::gather_rows, "gather_rows"};
  row.specification = "out_r = x_{index_r}";
  row.cost = copy_cost;
  row.cut = {true, 0, [](const Node& node, std::int64_t begin, std::int64_t end, Arena& arena) -> const void* {
               const auto& index = args_of<GatherRowsArgs>(node).index;
               return arena.make<GatherRowsArgs>(index.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)));
             }};
  row.cases = []() -> std::vector<OpCase> {
    return {
        gather_case("usual", 7, 64, {6, 0, 1, 3}),
        gather_case("repeated rows", 4, 64, {2, 2, 0, 2, 3, 3, 2}),
        gather_case("odd width", 3, 5, {1, 0, 2, 1}),
        gather_case("rows=0", 3, 8, {}),
        gather_case("rows=1", 1, 8, {0}),
        gather_case("one row for all", 1, 64, {0, 0, 0, 0, 0, 0, 0, 0, 0}),
    };
  };
  return row;
}

Op concat_row() {
  Op row{OpId::concat, "concat"};
  row.specification = "out_r = [x0_r ; x1_r ; ...]";
  row.cost = copy_cost;
  row.cut = {true, (1u << Node::kMaxInputs) - 1};
  row.cases = []() -> std::vector<OpCase> {
    OpCase with_absent{"absent inputs", {matrix(4, 6), matrix(4, 3)}, [](const Context& context, std::span<const Tensor> in) {
                         return concat(context, {Tensor{}, in[0], Tensor{}, in[1]});
                       }};
    OpCase twice{"the same tensor twice", {matrix(3, 4)}, [](const Context& context, std::span<const Tensor> in) {
                   return concat(context, {in[0], in[0]});
                 }};
    return {
        concat_case("usual", {matrix(9, 64), matrix(9, 32), matrix(9, 8)}),
        concat_case("odd widths", {matrix(5, 1), matrix(5, 5), matrix(5, 3)}),
        concat_case("rows=0", {matrix(0, 4), matrix(0, 5)}),
        concat_case("rows=1", {matrix(1, 4), matrix(1, 5)}),
        concat_case("one input", {matrix(3, 4)}),
        concat_case("sixteen inputs", std::vector<CaseInput>(16, matrix(2, 3))),
        std::move(with_absent),
        std::move(twice),
    };
  };
  return row;
}

Op prepend_row_row() {
  Op row{OpId::prepend_row, "prepend_row"};
  row.specification = "list l of out is first_l, then the rows of list l of x";
  row.cost = copy_cost;
  row.cases = []() -> std::vector<OpCase> {
    return {
        prepend_case("usual", 64, {0, 5, 7, 12}),   prepend_case("odd width", 5, {0, 2, 3}),
        prepend_case("empty lists", 8, {0, 0, 3, 3}), prepend_case("rows=0", 8, {0, 0}),
        prepend_case("lists=0", 8, {0}),            prepend_case("rows=1", 8, {0, 1}),
    };
  };
  return row;
}

}  // namespace piano
