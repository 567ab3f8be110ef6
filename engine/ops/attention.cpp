#include <algorithm>

#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

enum class NullSlot { off, on };

OpCase attention_case(const char* name, std::int64_t d, int heads, Offsets queries, Offsets keys, NullSlot slot) {
  std::vector<CaseInput> inputs{matrix(ragged(queries).rows(), d), matrix(ragged(keys).rows(), d), matrix(ragged(keys).rows(), d)};
  if (slot == NullSlot::on) inputs.insert(inputs.end(), 2, matrix(1, d));
  return {name, std::move(inputs), [=](const Context& context, std::span<const Tensor> in) {
            const bool on = slot == NullSlot::on;
            return attention(context, in[0], in[1], in[2], ragged(queries), ragged(keys), heads, on ? in[3] : Tensor{}, on ? in[4] : Tensor{});
          }};
}

// One tensor is queries, keys and values at once.
OpCase shared_case(const char* name, std::int64_t d, int heads, Offsets lists) {
  return {name, {matrix(ragged(lists).rows(), d)}, [=](const Context& context, std::span<const Tensor> in) {
            return attention(context, in[0], in[0], in[0], ragged(lists), ragged(lists), heads);
          }};
}

}  // namespace

Tensor attention(const Context& context, Tensor q, Tensor k, Tensor v, Ragged queries, Ragged keys, int heads, Tensor null_k, Tensor null_v) {
  const CheckedOp check{"attention", "project q, k and v to the same width, and give queries and keys the same lists"};
  check.present("q", q);
  check.cols("k", k, q.cols());
  check.cols("v", v, q.cols());
  check.rows("v", v, k.rows());
  check.lists("query", queries, q.rows());
  check.lists("key", keys, k.rows());
  PIANO_CHECK(queries.lists == keys.lists, "[attention] expected as many lists of keys as of queries (" + std::to_string(queries.lists) +
                                               "), got " + std::to_string(keys.lists) + ": an empty list has two equal offsets");
  PIANO_CHECK(heads > 0 && q.cols() % heads == 0, "[attention] expected d=" + std::to_string(q.cols()) + " divisible by heads, got heads=" +
                                                      std::to_string(heads) + ": change either");
  PIANO_CHECK(bool(null_k) == bool(null_v), "[attention] expected null_k and null_v, or neither");
  if (null_k) {
    check.elements("null_k", null_k, q.cols());
    check.elements("null_v", null_v, q.cols());
  }
  return run_op(context, OpId::attention, q.shape(), {{q, k, v, null_k, null_v}},
                context.arena->make<AttentionArgs>(queries, keys, static_cast<std::int32_t>(heads)));
}

Op attention_row() {
  Op row{OpId::attention, "attention"};
  row.specification =
      "per list and head: out_i = sum_j softmax_j(q_i . k_j / sqrt(d/heads)) v_j over the list's keys and the null slot; no keys: 0";
  row.cut = {true, 0b1, [](const Node& node, std::int64_t begin, std::int64_t end, Arena& arena) -> const void* {
               AttentionArgs part = args_of<AttentionArgs>(node);  // all keys, and of each list the queries that lie in the range
               auto* offsets = arena.array<std::int32_t>(part.queries.lists + 1);
               for (std::int32_t l = 0; l <= part.queries.lists; ++l) {
                 offsets[l] = static_cast<std::int32_t>(std::clamp<std::int64_t>(part.queries.offsets[l], begin, end) - begin);
               }
               part.queries.offsets = offsets;
               return arena.make<AttentionArgs>(part);
             }};
  row.cost = [](const Node& node) -> OpCost {
    const auto& a = args_of<AttentionArgs>(node);
    double pairs = 0;
    for (std::int32_t l = 0; l < a.queries.lists; ++l) {
      pairs += static_cast<double>(a.queries.size(l)) * (a.keys.size(l) + (node.inputs[3] != nullptr ? 1 : 0));
    }
    return {pairs * (4.0 * static_cast<double>(node.output->shape.cols()) + 5.0 * a.heads), bytes_of(node)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        attention_case("self-attention", 64, 4, {0, 21, 33, 63}, {0, 21, 33, 63}, NullSlot::off),
        attention_case("one query over a history", 64, 4, {0, 1, 2, 3}, {0, 50, 57, 90}, NullSlot::on),
        attention_case("odd width", 5, 1, {0, 3, 4}, {0, 2, 9}, NullSlot::on),
        attention_case("d=12 heads=3", 12, 3, {0, 3, 10}, {0, 8, 9}, NullSlot::off),
        attention_case("empty history", 8, 2, {0, 2, 4, 5}, {0, 0, 3, 3}, NullSlot::on),
        attention_case("empty history, no null slot", 8, 2, {0, 2, 4, 5}, {0, 0, 3, 3}, NullSlot::off),
        attention_case("all histories empty", 8, 2, {0, 1, 3}, {0, 0, 0}, NullSlot::on),
        attention_case("list without queries", 8, 2, {0, 0, 2}, {0, 3, 5}, NullSlot::on),
        attention_case("rows=0", 8, 2, {0, 0}, {0, 0}, NullSlot::on),
        attention_case("lists=0", 8, 2, {0}, {0}, NullSlot::off),
        attention_case("rows=1", 8, 2, {0, 1}, {0, 1}, NullSlot::off),
        shared_case("q, k and v are one tensor", 12, 3, {0, 4, 11}),
    };
  };
  return row;
}

}  // namespace piano
