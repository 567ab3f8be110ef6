#include <string>

#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

using Columns = std::vector<std::int32_t>;

void check_heads(const char* op, std::int64_t d, int heads) {
  PIANO_CHECK(heads > 0 && d % heads == 0, "[" + std::string(op) + "] expected d=" + std::to_string(d) + " divisible by heads, got heads=" +
                                               std::to_string(heads) + ": change either");
}

OpCase split_case(const char* name, std::int64_t rows, std::int64_t d, int heads) {
  return {name, {matrix(rows, d)}, [=](const Context& context, std::span<const Tensor> in) { return split_heads(context, in[0], heads, 0.5); }};
}

OpCase merge_case(const char* name, std::int64_t rows, std::int64_t d, int heads) {
  return {name, {matrix(rows * heads, d)}, [=](const Context& context, std::span<const Tensor> in) { return merge_heads(context, in[0], heads); }};
}

OpCase weights_case(const char* name, std::int64_t d, int heads, Offsets keys, bool null_slot) {
  const std::int64_t lists = ragged(keys).lists;
  std::vector<CaseInput> inputs{matrix(lists * heads, d), matrix(ragged(keys).rows(), d)};
  if (null_slot) inputs.push_back(matrix(lists * heads, 1));
  return {name, std::move(inputs), [=](const Context& context, std::span<const Tensor> in) {
            return attention_weights(context, in[0], in[1], ragged(keys), heads, null_slot ? in[2] : Tensor{});
          }};
}

// `rows` and `keys` are offsets; row i of a list shares column (i + j) % columns with key j where (i + j) % 3 != 0.
OpCase match_case(const char* name, std::int64_t heads, std::int32_t columns, Offsets rows, Offsets keys) {
  struct Pairs {
    Offsets offsets{0};
    Columns row, key, column;
  } pairs;
  for (std::size_t l = 0; l + 1 < rows.size(); ++l) {
    for (std::int32_t i = rows[l]; i < rows[l + 1]; ++i) {
      for (std::int32_t j = keys[l]; j < keys[l + 1]; ++j) {
        if ((i + j) % 3 == 0) continue;
        pairs.row.push_back(i), pairs.key.push_back(j), pairs.column.push_back((i + j) % columns);
      }
    }
    pairs.offsets.push_back(static_cast<std::int32_t>(pairs.row.size()));
  }
  return {name, {matrix(ragged(keys).rows(), heads)}, [=](const Context& context, std::span<const Tensor> in) {
            const Matches matches{pairs.offsets.data(), pairs.row.data(), pairs.key.data(), pairs.column.data(), ragged(keys).lists};
            return match_sum(context, in[0], matches, ragged(rows).rows(), columns);
          }};
}

}  // namespace

Tensor split_heads(const Context& context, Tensor x, int heads, double factor) {
  CheckedOp{"split_heads", "pass projected queries"}.present("x", x);
  check_heads("split_heads", x.cols(), heads);
  return run_op(context, OpId::split_heads, {x.rows() * heads, x.cols()}, {&x, 1},
                context.arena->make<HeadsArgs>(static_cast<std::int32_t>(heads), factor));
}

Tensor merge_heads(const Context& context, Tensor x, int heads) {
  CheckedOp{"merge_heads", "pass a row for each head"}.present("x", x);
  check_heads("merge_heads", x.cols(), heads);
  PIANO_CHECK(x.rows() % heads == 0, "[merge_heads] expected a multiple of " + std::to_string(heads) + " rows, got " +
                                         std::to_string(x.rows()) + ": one for each head");
  return run_op(context, OpId::merge_heads, {x.rows() / heads, x.cols()}, {&x, 1},
                context.arena->make<HeadsArgs>(static_cast<std::int32_t>(heads), 1.0));
}

Tensor attention_weights(const Context& context, Tensor q, Tensor k, Ragged keys, int heads, Tensor null_score) {
  const CheckedOp check{"attention_weights", "one query a list and head, as wide as the keys"};
  check.present("q", q);
  check.rows("q", q, std::int64_t{keys.lists} * heads);
  check.cols("k", k, q.cols());
  check.lists("key", keys, k.rows());
  if (null_score) check.elements("null_score", null_score, q.rows());
  return run_op(context, OpId::attention_weights, {k.rows(), heads}, {{q, k, null_score}},
                context.arena->make<AttentionWeightsArgs>(keys, static_cast<std::int32_t>(heads)));
}

Tensor match_sum(const Context& context, Tensor p, const Matches& matches, std::int64_t rows, std::int64_t columns) {
  const CheckedOp check{"match_sum", "matches count their rows and keys over all lists"};
  check.present("p", p);
  check.lists("match", {matches.offsets, matches.lists}, matches.size());
  const auto pairs = static_cast<std::size_t>(matches.size());
  check.indices("row", {matches.rows, pairs}, rows);
  check.indices("key", {matches.keys, pairs}, p.rows());
  check.indices("column", {matches.columns, pairs}, columns);
  return run_op(context, OpId::match_sum, {rows, p.cols() * columns}, {&p, 1},
                context.arena->make<MatchSumArgs>(matches, static_cast<std::int32_t>(columns)));
}

Op split_heads_row() {
  Op row{OpId::split_heads, "split_heads"};
  row.specification = "row r * heads + h of out holds head h's columns of x_r, times factor, and zeros elsewhere";
  row.cost = elementwise_cost<1>;
  row.cases = []() -> std::vector<OpCase> {
    return {split_case("usual", 5, 64, 4), split_case("odd width", 3, 5, 1), split_case("d=12 heads=3", 2, 12, 3), split_case("rows=0", 0, 8, 2),
            split_case("rows=1", 1, 6, 6)};
  };
  return row;
}

Op merge_heads_row() {
  Op row{OpId::merge_heads, "merge_heads"};
  row.specification = "out_r holds head h's columns of row r * heads + h of x";
  row.cost = elementwise_cost<1>;
  row.cases = []() -> std::vector<OpCase> {
    return {merge_case("usual", 5, 64, 4), merge_case("odd width", 3, 5, 1), merge_case("d=12 heads=3", 2, 12, 3), merge_case("rows=0", 0, 8, 2),
            merge_case("rows=1", 1, 6, 6)};
  };
  return row;
}

Op attention_weights_row() {
  Op row{OpId::attention_weights, "attention_weights"};
  row.specification = "per list and head: p = softmax_j(q . k_j) over the list's keys and the null slot, whose share is not written";
  row.cost = [](const Node& node) -> OpCost {
    return {output_elements(node) * (2.0 * static_cast<double>(node.inputs[0]->shape.cols()) + 5.0), bytes_of(node)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        weights_case("usual", 64, 4, {0, 50, 57, 90}, true),        weights_case("odd width, no null slot", 5, 1, {0, 2, 9}, false),
        weights_case("sixteen keys", 16, 2, {0, 16, 48}, true),     weights_case("d=12 heads=3", 12, 3, {0, 8, 9}, true),
        weights_case("empty history", 8, 2, {0, 0, 3, 3}, true),    weights_case("empty history, no null slot", 8, 2, {0, 0, 3, 3}, false),
        weights_case("rows=0", 8, 2, {0, 0}, true),                 weights_case("lists=0", 8, 2, {0}, false),
        weights_case("rows=1", 8, 2, {0, 1}, true),                 weights_case("many heads", 26, 13, {0, 3, 8}, true),
    };
  };
  return row;
}

Op match_sum_row() {
  Op row{OpId::match_sum, "match_sum"};
  row.specification = "out_{i, h*columns+c} = the sum of p_{j, h} over the matches (i, j, c)";
  row.cost = [](const Node& node) -> OpCost {
    const double pairs = args_of<MatchSumArgs>(node).matches.size();
    return {pairs * static_cast<double>(node.inputs[0]->shape.cols()), bytes_of(node) + pairs * 3 * sizeof(std::int32_t)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        match_case("usual", 4, 3, {0, 20, 33, 63}, {0, 50, 57, 90}), match_case("one column", 3, 1, {0, 3, 10}, {0, 8, 9}),
        match_case("empty history", 2, 2, {0, 2, 4, 5}, {0, 0, 3, 3}), match_case("rows=0", 2, 2, {0, 0}, {0, 2}),
        match_case("lists=0", 2, 2, {0}, {0}),                       match_case("rows=1", 1, 1, {0, 1}, {0, 1}),
    };
  };
  return row;
}

}  // namespace piano
