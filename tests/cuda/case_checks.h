// Cases run on the CPU and on CUDA, and compared: by test_cuda on the emulation, by test_gpu on a GPU.
#pragma once

#include <doctest/doctest.h>

#include <numeric>

#include "tests/engine/op_case.h"

namespace piano::test {
namespace {

using Offsets = std::vector<std::int32_t>;

Offsets offsets_of(const std::vector<std::int32_t>& sizes) {
  Offsets offsets{0};
  for (const std::int32_t size : sizes) offsets.push_back(offsets.back() + size);
  return offsets;
}

Ragged ragged(const Offsets& offsets) { return {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}; }

// Sizes at which the work is cut into pieces that the op table's cases do not reach: hundreds of rows to one sum, several blocks, lists whose keys
// are staged in pieces.
std::vector<OpCase> large_cases() {
  const auto normal = [](std::int64_t rows, std::int64_t cols) { return CaseInput{rows, cols}; };
  std::vector<std::int32_t> few(500), skewed(400), bags{0};
  for (std::size_t i = 0; i < few.size(); ++i) few[i] = i % 7 == 0 ? 2 : 0;
  for (std::size_t i = 0; i < skewed.size(); ++i) skewed[i] = static_cast<std::int32_t>(i % 5 == 0 ? i % 30 : 3);
  for (std::int32_t b = 4; b <= 400; b += 4) bags.push_back(b);
  const Offsets short_and_long{0, 4, 4, 1604, 1630}, few_and_many{0, 5, 7, 107, 1620};  // staged at once, in pieces
  // 1500 matches of 130 rows with 90 keys, some keys with many, each (row, column) that has any with several.
  Offsets match_rows(1500), match_keys(1500), match_columns(1500);
  const Offsets all_matches{0, 1500};
  for (std::size_t x = 0; x < 1500; ++x) {
    match_rows[x] = static_cast<std::int32_t>(x / 4 % 130), match_columns[x] = static_cast<std::int32_t>(x % 2);
    match_keys[x] = static_cast<std::int32_t>(x % 5 == 0 ? 7 : x * x % 90);
  }
  const Offsets halves{0, 200, 400}, quarters{0, 50, 100};
  const Offsets queries{0, 300, 301, 431}, keys{0, 200, 500, 690}, lists{0, 260, 260, 300, 700};
  return {
      {"gather of few rows", {normal(4, 70)}, [=](const Context& c, std::span<const Tensor> in) { return gather_rows(c, in[0], few); }},
      {"bags of a skewed table", {{40, 33, true, true}}, [=](const Context& c, std::span<const Tensor> in) {
         const Tensor mean = embedding_sum(c, in[0], {bags.data(), skewed.data(), 100}, Pooling::mean);
         return add(c, mean, embedding_sum(c, in[0], {nullptr, skewed.data() + 100, 100}, Pooling::sum));  // two ops, one table
       }},
      {"ids of many rows dropped", {{40, 33, true, true}}, [=](const Context& c, std::span<const Tensor> in) {
         return embedding_sum(c, in[0], {nullptr, skewed.data(), 400}, Pooling::sum, {0.5, 7, ragged(halves)});
       }},
      // Of lists that pad a batch nothing is dropped, and as nothing looks at their results, no row is touched for them.
      {"ids dropped, but of padding", {{40, 33, true, true}}, [=](const Context& c, std::span<const Tensor> in) {
         Context padded = c;
         padded.padding = 1;
         const Tensor sums = embedding_sum(padded, in[0], {bags.data(), skewed.data(), 100}, Pooling::mean, {0.5, 7, ragged(quarters)});
         auto* index = c.arena->array<std::int32_t>(50);
         std::iota(index, index + 50, 0);
         return gather_rows(c, sums, {index, 50});
       }},
      {"linear of many rows", {normal(700, 20), normal(40, 28), normal(1, 40), normal(4, 8)}, [=](const Context& c, std::span<const Tensor> in) {
         std::vector<std::int32_t> index(700);
         for (std::size_t r = 0; r < index.size(); ++r) index[r] = static_cast<std::int32_t>(r % 4);
         auto* kept = c.arena->array<std::int32_t>(700);
         std::copy(index.begin(), index.end(), kept);
         return linear(c, in[0], in[1], in[2], Activation::gelu, in[3], {kept, 700});
       }},
      {"norm of many rows", {normal(1500, 40), normal(1, 40), normal(1, 40)},
       [](const Context& c, std::span<const Tensor> in) { return layer_norm(c, in[0], in[1], in[2]); }},
      {"attention of long lists", {normal(431, 8), normal(690, 8), normal(690, 8), normal(1, 8), normal(1, 8)},
       [=](const Context& c, std::span<const Tensor> in) { return attention(c, in[0], in[1], in[2], ragged(queries), ragged(keys), 2, in[3], in[4]); }},
      {"attention of long lists, wide heads", {normal(431, 40), normal(690, 40), normal(690, 40), normal(1, 40), normal(1, 40)},
       [=](const Context& c, std::span<const Tensor> in) { return attention(c, in[0], in[1], in[2], ragged(queries), ragged(keys), 1, in[3], in[4]); }},
      {"attention of lists of all sizes", {normal(1630, 16), normal(1620, 16), normal(1620, 16), normal(1, 16), normal(1, 16)},
       [=](const Context& c, std::span<const Tensor> in) {
         return attention(c, in[0], in[1], in[2], ragged(short_and_long), ragged(few_and_many), 2, in[3], in[4]);
       }},
      {"sums of long lists", {normal(700, 70), normal(700, 3)},
       [=](const Context& c, std::span<const Tensor> in) { return weighted_sum(c, in[0], in[1], ragged(lists)); }},
      {"many matches", {normal(90, 3)}, [=](const Context& c, std::span<const Tensor> in) {
         return match_sum(c, in[0], {all_matches.data(), match_rows.data(), match_keys.data(), match_columns.data(), 1}, 130, 2);
       }},
      {"losses of many rows", {normal(700, 1), CaseInput{700, 1, false, false, [](std::int64_t i, double) { return i % 3 == 0 ? 1.0 : 0.0; }}},
       [=](const Context& c, std::span<const Tensor> in) {
         const Tensor rows = add(c, product_bce(c, in[0], in[0], in[1], in[1]), bce_with_logits(c, in[0], in[1], in[1]));
         return add(c, add(c, rows, softmax_cross_entropy(c, in[0], in[1], ragged(lists))), lambda_loss(c, in[0], in[1], ragged(lists)));
       }},
  };
}

// Attention at the borders of what its kernels do at once: widths about 4 and 16 columns, and the widest; lists of so few queries that lanes share
// their keys, and lists about 4, 32, 64 and 128 rows.
std::vector<OpCase> attention_cases() {
  static const Offsets queries = offsets_of({1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 16, 17, 33, 0, 65});
  static const Offsets keys = offsets_of({5, 1, 33, 4, 128, 0, 64, 9, 130, 600, 65, 3, 32, 7, 129});
  static const Offsets rows = offsets_of({63, 1, 64, 0, 65, 2, 129}), few = offsets_of({1, 3, 2}), few_keys = offsets_of({40, 1, 9});
  std::vector<OpCase> cases;
  for (const int width : {1, 3, 4, 8, 12, 16, 17, 32, 40, 64, 100}) {
    const int heads = width > 32 ? 1 : 2;
    const std::int64_t d = width * heads, q = queries.back(), k = keys.back();
    const auto normal = [d](std::int64_t n) { return CaseInput{n, d}; };
    cases.push_back({"attention, null slots, heads of " + std::to_string(width), {normal(q), normal(k), normal(k), normal(1), normal(1)},
                     [=](const Context& c, std::span<const Tensor> in) {
                       return attention(c, in[0], in[1], in[2], ragged(queries), ragged(keys), heads, in[3], in[4]);
                     }});
    cases.push_back({"attention of one tensor, heads of " + std::to_string(width), {normal(rows.back())},
                     [=](const Context& c, std::span<const Tensor> in) {
                       return attention(c, in[0], in[0], in[0], ragged(rows), ragged(rows), heads);
                     }});
  }
  for (const std::int64_t width : {200, 512, 516, 1030}) {
    cases.push_back({"attention, one head of " + std::to_string(width), {{few.back(), width}, {few_keys.back(), width}, {few_keys.back(), width}},
                     [=](const Context& c, std::span<const Tensor> in) {
                       return attention(c, in[0], in[1], in[2], ragged(few), ragged(few_keys), 1);
                     }});
  }
  for (const bool of_queries : {true, false}) {
    cases.push_back({of_queries ? "attention, gradient of queries alone" : "attention, no gradient of queries",
                     {CaseInput{queries.back(), 16, of_queries}, CaseInput{keys.back(), 16, !of_queries}, CaseInput{keys.back(), 16, !of_queries}},
                     [=](const Context& c, std::span<const Tensor> in) {
                       return attention(c, in[0], in[1], in[2], ragged(queries), ragged(keys), 1);
                     }});
  }
  // Scores far apart: no weight overflows, and those of earlier keys shrink to nothing.
  const auto steep = [](std::int64_t i, double x) { return x * static_cast<double>(1 + i / 16 % 8); };
  cases.push_back({"attention of steep scores", {CaseInput{rows.back(), 16, true, false, steep}}, [=](const Context& c, std::span<const Tensor> in) {
                     return attention(c, in[0], in[0], in[0], ragged(rows), ragged(rows), 1);
                   }});
  return cases;
}

// By norm; what is zero on the CPU may differ from zero by float's rounding of numbers around one.
bool close(const Values& actual, const Values& expected, double tolerance) {
  return distance(actual, expected) <= tolerance * norm(expected) + 1e-6;
}

void check_against_cpu(const Op& op, const OpCase& op_case) {
  INFO(how_to_reproduce(op, op_case, cuda_device()));
  const std::vector<Values> inputs = draw_inputs(op_case, test_seed());
  const CaseResult expected = forward_and_backward(cpu_device(), op_case, inputs, test_seed());
  const CaseResult actual = forward_and_backward(cuda_device(), op_case, inputs, test_seed());
  INFO("output: distance ", distance(actual.output, expected.output), " of ", norm(expected.output));
  CHECK(close(actual.output, expected.output, 1e-5));
  CHECK(actual.output == forward(cuda_device(), op_case, inputs));  // recording changes nothing
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    INFO("gradient of input ", i, ": distance ", distance(actual.gradients[i], expected.gradients[i]), " of ", norm(expected.gradients[i]));
    CHECK(close(actual.gradients[i], expected.gradients[i], 1e-4));
  }
}

}  // namespace
}  // namespace piano::test
