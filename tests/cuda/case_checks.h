// Cases run on the CPU and on CUDA, and compared: by test_cuda on the emulation, by test_gpu on a GPU.
#pragma once

#include <doctest/doctest.h>

#include "tests/engine/op_case.h"

namespace piano::test {
namespace {

using Offsets = std::vector<std::int32_t>;

Ragged ragged(const Offsets& offsets) { return {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}; }

// Sizes at which the work is cut into pieces that the op table's cases do not reach: hundreds of rows to one sum, several blocks, lists whose keys
// do not fit into shared memory.
std::vector<OpCase> large_cases() {
  const auto normal = [](std::int64_t rows, std::int64_t cols) { return CaseInput{rows, cols}; };
  std::vector<std::int32_t> few(500), skewed(400), bags{0};
  for (std::size_t i = 0; i < few.size(); ++i) few[i] = i % 7 == 0 ? 2 : 0;
  for (std::size_t i = 0; i < skewed.size(); ++i) skewed[i] = static_cast<std::int32_t>(i % 5 == 0 ? i % 30 : 3);
  for (std::int32_t b = 4; b <= 400; b += 4) bags.push_back(b);
  const Offsets short_and_long{0, 4, 4, 1604, 1630}, few_and_many{0, 5, 7, 107, 1620};  // kept and staged, staged, neither
  // 1500 matches of 130 rows with 90 keys, some keys with many, each (row, column) that has any with several.
  Offsets match_rows(1500), match_keys(1500), match_columns(1500);
  const Offsets all_matches{0, 1500};
  for (std::size_t x = 0; x < 1500; ++x) {
    match_rows[x] = static_cast<std::int32_t>(x / 4 % 130), match_columns[x] = static_cast<std::int32_t>(x % 2);
    match_keys[x] = static_cast<std::int32_t>(x % 5 == 0 ? 7 : x * x % 90);
  }
  const Offsets halves{0, 200, 400};
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
      {"linear of many rows", {normal(700, 20), normal(40, 28), normal(1, 40), normal(4, 8)}, [=](const Context& c, std::span<const Tensor> in) {
         std::vector<std::int32_t> index(700);
         for (std::size_t r = 0; r < index.size(); ++r) index[r] = static_cast<std::int32_t>(r % 4);
         auto* kept = c.arena->array<std::int32_t>(700);
         std::copy(index.begin(), index.end(), kept);
         return linear(c, in[0], in[1], in[2], Activation::gelu, in[3], {kept, 700});
       }},
      {"norm of many rows", {normal(1500, 40), normal(1, 40), normal(1, 40)},
       [](const Context& c, std::span<const Tensor> in) { return layer_norm(c, in[0], in[1], in[2]); }},
      {"attention in shared memory", {normal(431, 8), normal(690, 8), normal(690, 8), normal(1, 8), normal(1, 8)},
       [=](const Context& c, std::span<const Tensor> in) { return attention(c, in[0], in[1], in[2], ragged(queries), ragged(keys), 2, in[3], in[4]); }},
      {"attention beyond shared memory", {normal(431, 40), normal(690, 40), normal(690, 40), normal(1, 40), normal(1, 40)},
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
