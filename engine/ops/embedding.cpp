#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

std::int64_t id_count(const Bags& bags) {
  if (bags.offsets == nullptr || bags.rows == 0) return bags.rows;
  return bags.offsets[bags.rows];
}

const std::int32_t* drop_ids(const IdDraws& draws, const Bags& bags, Ragged rows, Arena& arena) {
  auto* kept = arena.array<std::int32_t>(id_count(bags));
  for (std::int32_t list = 0; list < rows.lists; ++list) {
    for (std::int32_t bag = rows.begin(list); bag < rows.end(list); ++bag) {
      const std::int32_t begin = bags.offsets == nullptr ? bag : bags.offsets[bag], end = bags.offsets == nullptr ? bag + 1 : bags.offsets[bag + 1];
      draws.drop(list, bag - rows.begin(list), end - begin, bags.ids + begin, kept + begin);
    }
  }
  return kept;
}

// `offsets` empty: one id per row.
OpCase embedding_case(const char* name, std::int64_t vocabulary, std::int64_t d, Offsets offsets, Offsets ids, Pooling pooling) {
  return {name, {table(vocabulary, d)}, [=](const Context& context, std::span<const Tensor> in) {
            const auto rows = static_cast<std::int32_t>(offsets.empty() ? ids.size() : offsets.size() - 1);
            return embedding_sum(context, in[0], {offsets.empty() ? nullptr : offsets.data(), ids.data(), rows}, pooling);
          }};
}

// Two ids of three are dropped. Bags of up to nine ids, or one each, some of them missing.
OpCase dropout_case(const char* name, std::int64_t d, Offsets lists, bool bags) {
  Offsets offsets{0}, ids;
  for (std::int32_t bag = 0; bag < lists.back(); ++bag) {
    for (std::int32_t i = 0; i < (bags ? bag * 7 % 10 : 1); ++i) ids.push_back((bag * 5 + i * 3) % 11);
    offsets.push_back(static_cast<std::int32_t>(ids.size()));
  }
  return {name, {table(11, d)}, [=](const Context& context, std::span<const Tensor> in) {
            return embedding_sum(context, in[0], {bags ? offsets.data() : nullptr, ids.data(), lists.back()}, bags ? Pooling::mean : Pooling::sum,
                                 {0.67, site_hash("case"), ragged(lists)});
          }};
}

}  // namespace

Tensor embedding_sum(const Context& context, Tensor table, Bags bags, Pooling pooling, const IdDropout& dropout) {
  const CheckedOp check{"embedding_sum", "map ids through the vocabulary, whose row 0 stands for everything unknown"};
  check.present("table", table);
  PIANO_CHECK(!table.record()->requires_grad || table.record()->row_grads != nullptr,
              "[embedding_sum] expected a table (add_table), got a dense parameter or an activation: use gather_rows");
  if (bags.offsets != nullptr) check.lists("bag", {bags.offsets, bags.rows}, id_count(bags));
  check.indices("ids", {bags.ids, static_cast<std::size_t>(id_count(bags))}, table.rows());
  auto* args = context.arena->make<EmbeddingSumArgs>(bags, pooling);
  if (context.training && dropout.p > 0) {
    check.lists("the bags'", dropout.rows, bags.rows);
    const IdDraws draws{context.random, dropout.site, context.first_list, context.padding, static_cast<float>(dropout.p)};
    if (context.padding < dropout.rows.lists) args->touching = dropout.rows.begin(context.padding);
    const bool rows_there = context.memory != nullptr && !context.memory->tables_on_host();
    if (rows_there) args->draws = draws, args->rows = dropout.rows;
    else args->bags.ids = drop_ids(draws, bags, dropout.rows, *context.arena);
  }
  return run_op(context, OpId::embedding_sum, {bags.rows, table.cols()}, {&table, 1}, args);
}

Op embedding_sum_row() {
  Op row{OpId::embedding_sum, "embedding_sum"};
  row.specification = "out_r = sum of table_t over the ids t of bag r; mean: divided by the bag's size; an empty bag gives 0; in training some ids are row 0 instead";
  row.cut = {true, 0, [](const Node& node, std::int64_t begin, std::int64_t end, Arena& arena) -> const void* {
               EmbeddingSumArgs part = args_of<EmbeddingSumArgs>(node);
               (part.bags.offsets != nullptr ? part.bags.offsets : part.bags.ids) += begin;  // without offsets row r has the id ids[r]
               part.bags.rows = static_cast<std::int32_t>(end - begin);
               return arena.make<EmbeddingSumArgs>(part);
             }};
  row.cost = [](const Node& node) -> OpCost {
    const Bags& bags = args_of<EmbeddingSumArgs>(node).bags;
    const double read = static_cast<double>(id_count(bags)) * static_cast<double>(node.output->shape.cols());
    return {read, read * static_cast<double>(size_of(node.output->dtype)) + output_bytes(node)};
  };
  row.cases = []() -> std::vector<OpCase> {
    return {
        embedding_case("one id per row", 50, 64, {}, {3, 0, 49, 7, 3, 3, 12}, Pooling::sum),
        embedding_case("many rows, one id each", 9, 12, {}, {3, 0, 8, 7, 3, 3, 1, 2, 5, 4, 6, 6, 0, 1, 8, 8, 7, 2, 4}, Pooling::sum),
        embedding_case("many bags", 9, 12, {0, 1, 3, 3, 4, 6, 7, 7, 9, 10, 12, 13, 15, 16, 16, 17, 19}, {3, 0, 8, 7, 3, 3, 1, 2, 5, 4, 6, 6, 0, 1, 8, 8, 7, 2, 4},
                       Pooling::mean),
        embedding_case("sum", 20, 64, {0, 2, 3, 7}, {1, 5, 19, 0, 2, 4, 6}, Pooling::sum),
        embedding_case("mean", 20, 64, {0, 2, 3, 7}, {1, 5, 19, 0, 2, 4, 6}, Pooling::mean),
        embedding_case("odd width, repeated ids, empty bags", 6, 5, {0, 0, 3, 3, 5, 5}, {2, 2, 2, 5, 2}, Pooling::mean),
        embedding_case("rows=0", 6, 8, {0}, {}, Pooling::sum),
        embedding_case("rows=0, one id per row", 6, 8, {}, {}, Pooling::sum),
        embedding_case("rows=1", 6, 12, {0, 3}, {0, 5, 1}, Pooling::sum),
        embedding_case("rows=1, empty bag", 6, 12, {0, 0}, {}, Pooling::mean),
        dropout_case("ids dropped", 12, {0, 9, 9, 30, 41}, false),
        dropout_case("ids of bags dropped", 12, {0, 9, 9, 30, 41}, true),
        dropout_case("ids dropped, rows=0", 8, {0, 0}, true),
    };
  };
  return row;
}

}  // namespace piano
