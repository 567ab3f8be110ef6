#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

using Columns = std::vector<std::int32_t>;

// `rows` and `keys` are offsets; row i of a list shares column (i + j) % columns with key j where (i + j) % 3 != 0.
OpCase match_case(const char* name, std::int64_t d, int heads, std::int32_t columns, Offsets rows, Offsets keys, bool null_slot) {
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
  std::vector<CaseInput> inputs{matrix(ragged(keys).lists, d), matrix(ragged(keys).rows(), d)};
  if (null_slot) inputs.push_back(matrix(1, d));
  return {name, std::move(inputs), [=](const Context& context, std::span<const Tensor> in) {
            const Matches matches{pairs.offsets.data(), pairs.row.data(), pairs.key.data(), pairs.column.data(), ragged(keys).lists};
            return match_attention(context, in[0], in[1], ragged(keys), heads, matches, ragged(rows).rows(), columns,
                                   null_slot ? in[2] : Tensor{});
          }};
}

}  // namespace

Tensor match_attention(const Context& context, Tensor q, Tensor k, Ragged keys, int heads, const Matches& matches, std::int64_t rows,
                       std::int64_t columns, Tensor null_k) {
  const CheckedOp check{"match_attention", "project q and k to the same width, and give queries and keys the same lists"};
  check.present("q", q);
  check.rows("q", q, keys.lists);
  check.cols("k", k, q.cols());
  check.lists("key", keys, k.rows());
  check.lists("match", {matches.offsets, matches.lists}, matches.size());
  PIANO_CHECK(matches.lists == keys.lists, "[match_attention] expected as many lists of matches as of keys (" + std::to_string(keys.lists) +
                                               "), got " + std::to_string(matches.lists) + ": an empty list has two equal offsets");
  PIANO_CHECK(heads > 0 && q.cols() % heads == 0, "[match_attention] expected d=" + std::to_string(q.cols()) +
                                                      " divisible by heads, got heads=" + std::to_string(heads) + ": change either");
  if (null_k) check.elements("null_k", null_k, q.cols());
  const auto pairs = static_cast<std::size_t>(matches.size());
  check.indices("row", {matches.rows, pairs}, rows);
  check.indices("column", {matches.columns, pairs}, columns);
  for (std::int32_t l = 0; l < keys.lists; ++l) {
    for (std::int32_t x = matches.offsets[l]; x < matches.offsets[l + 1]; ++x) {
      PIANO_CHECK(matches.keys[x] >= keys.begin(l) && matches.keys[x] < keys.end(l),
                  "[match_attention] expected a key of list " + std::to_string(l) + " (" + std::to_string(keys.begin(l)) + " to " +
                      std::to_string(keys.end(l) - 1) + "), got " + std::to_string(matches.keys[x]) + ": keys count over all lists");
    }
  }
  return run_op(context, OpId::match_attention, {rows, heads * columns}, {{q, k, null_k}},
                context.arena->make<MatchAttentionArgs>(keys, matches, static_cast<std::int32_t>(heads), static_cast<std::int32_t>(columns)));
}

Op match_attention_row() {
  Op row{OpId::match_attention, "match_attention"};
  row.specification =
      "per list and head: p = softmax_j(q . k_j / sqrt(d/heads)) over the list's keys and the null slot; "
      "out_{i, h*columns+c} = the sum of p_j over the matches (i, j, c)";
  row.cost = [](const Node& node) -> OpCost {
    const auto& a = args_of<MatchAttentionArgs>(node);
    const double keys = a.keys.rows() + (node.inputs[2] != nullptr ? a.keys.lists : 0);
    const double pairs = a.matches.size();
    return {keys * (2.0 * static_cast<double>(node.inputs[0]->shape.cols()) + 5.0 * a.heads) + pairs * a.heads,
            bytes_of(node) + pairs * 3 * sizeof(std::int32_t)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        match_case("usual", 64, 4, 3, {0, 20, 33, 63}, {0, 50, 57, 90}, true),
        match_case("odd width, no null slot", 5, 1, 2, {0, 3, 4}, {0, 2, 9}, false),
        match_case("one column", 12, 3, 1, {0, 3, 10}, {0, 8, 9}, true),
        match_case("empty history", 8, 2, 2, {0, 2, 4, 5}, {0, 0, 3, 3}, true),
        match_case("empty history, no null slot", 8, 2, 2, {0, 2, 4, 5}, {0, 0, 3, 3}, false),
        match_case("rows=0", 8, 2, 2, {0, 0}, {0, 2}, true),
        match_case("lists=0", 8, 2, 2, {0}, {0}, false),
        match_case("rows=1", 8, 2, 2, {0, 1}, {0, 1}, true),
    };
  };
  return row;
}

}  // namespace piano
