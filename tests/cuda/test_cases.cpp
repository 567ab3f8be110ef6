// Every case of every op: the CUDA kernels on the host (tests/cuda_emulation) against the CPU's. That is what a machine without a GPU can prove of
// them; test_gpu runs the same on a GPU.
#include <doctest/doctest.h>

#include "tests/cuda/case_checks.h"
#include "tests/cuda_emulation/emulation.h"

using namespace piano;
using namespace piano::test;

namespace {

void check_order_of_threads(const Op& op, const OpCase& op_case) {
  INFO(how_to_reproduce(op, op_case, cuda_device()));
  const std::vector<Values> inputs = draw_inputs(op_case, test_seed());
  const CaseResult in_order = forward_and_backward(cuda_device(), op_case, inputs, test_seed());
  emulation::shuffle_threads(7);
  const CaseResult shuffled = forward_and_backward(cuda_device(), op_case, inputs, test_seed());
  emulation::shuffle_threads(0);
  CHECK(in_order.output == shuffled.output);
  CHECK(in_order.gradients == shuffled.gradients);
}

}  // namespace

TEST_CASE("every op has CUDA kernels") {
  for (const Op& op : op_table()) {
    INFO(op.name);
    const bool forward = cuda_device().forward[static_cast<std::size_t>(op.id)] != nullptr;
    const bool backward = cuda_device().backward[static_cast<std::size_t>(op.id)] != nullptr;
    CHECK(forward);
    CHECK((backward || op.no_gradient != nullptr));
  }
}

TEST_CASE("every CUDA kernel agrees with the CPU's, forward to 1e-5 and backward to 1e-4") {
  const std::int64_t before = emulation::launches();
  for (const Op& op : op_table()) {
    for (const OpCase& op_case : op.cases()) check_against_cpu(op, op_case);
  }
  for (const OpCase& op_case : large_cases()) check_against_cpu(op_info(OpId::add), op_case);
  for (const OpCase& op_case : attention_cases()) check_against_cpu(op_info(OpId::attention), op_case);
  CHECK(emulation::launches() > before);
}

TEST_CASE("the bits do not depend on the order in which threads and blocks run") {
  for (const Op& op : op_table()) {
    for (const OpCase& op_case : op.cases()) check_order_of_threads(op, op_case);
  }
  for (const OpCase& op_case : large_cases()) check_order_of_threads(op_info(OpId::add), op_case);
  for (const OpCase& op_case : attention_cases()) check_order_of_threads(op_info(OpId::attention), op_case);
}

TEST_CASE("attention: a list's bits are the same alone and beside a long one") {
  for (const std::int32_t queries : {1, 5, 51, 65}) {
    for (const std::int32_t keys : {3, 51, 127, 300}) {
      for (const int width : {16, 40}) {
        INFO(queries, " queries, ", keys, " keys, width ", width);
        const auto run = [&](std::int32_t more_queries, std::int32_t more_keys) {
          const Offsets q = offsets_of({queries, more_queries}), k = offsets_of({keys, more_keys});
          const OpCase op_case{"", {{q.back(), width}, {k.back(), width}, {k.back(), width}}, [=](const Context& c, std::span<const Tensor> in) {
                                 return attention(c, in[0], in[1], in[2], ragged(q), ragged(k), 1);
                               }};
          std::vector<Values> inputs;
          for (const std::uint64_t i : {0u, 1u, 2u}) inputs.push_back(draw_output_seed((i == 0 ? q : k).back() * width, i));
          return forward_and_backward(cuda_device(), op_case, inputs, 1);
        };
        const auto first = [](const Values& v, const Values& of) { return Values(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(of.size())); };
        const CaseResult alone = run(0, 0), beside = run(150, 200);
        CHECK(alone.output == first(beside.output, alone.output));
        for (std::size_t i = 0; i < 3; ++i) CHECK(alone.gradients[i] == first(beside.gradients[i], alone.gradients[i]));
      }
    }
  }
}

TEST_CASE("attention: heads of more columns than a warp has are an error that says so") {
  const OpCase op_case{"", {{1, 4100}}, [](const Context& c, std::span<const Tensor> in) {
                         static const Offsets one{0, 1};
                         return attention(c, in[0], in[0], in[0], ragged(one), ragged(one), 1);
                       }};
  CHECK_THROWS_WITH_AS(forward(cuda_device(), op_case, draw_inputs(op_case, 1)), doctest::Contains("heads of at most 4096 columns, got 4100"), Error);
}
