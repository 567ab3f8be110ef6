// Every case of every op on a GPU against the CPU's kernels, twice: the same bits. Not part of the test suite, which runs where there is no GPU.
// Predictions and training are tests/cuda's.
#include <doctest/doctest.h>

#include "tests/cuda/case_checks.h"
#include "tests/cuda_emulation/emulation.h"

using namespace piano;
using namespace piano::test;

void piano::emulation::shuffle_threads(std::uint64_t) {}  // a GPU's threads come as they like

TEST_CASE("every kernel on the GPU agrees with the CPU's, forward to 1e-5 and backward to 1e-4, and gives the same bits twice") {
  MESSAGE(cuda_device().name);
  const auto check = [](const Op& op, const OpCase& op_case) {
    check_against_cpu(op, op_case);
    const std::vector<Values> inputs = draw_inputs(op_case, test_seed());
    const CaseResult once = forward_and_backward(cuda_device(), op_case, inputs, test_seed());
    const CaseResult again = forward_and_backward(cuda_device(), op_case, inputs, test_seed());
    INFO(how_to_reproduce(op, op_case, cuda_device()));
    CHECK(once.output == again.output);
    CHECK(once.gradients == again.gradients);
  };
  for (const Op& op : op_table()) {
    for (const OpCase& op_case : op.cases()) check(op, op_case);
  }
  for (const OpCase& op_case : large_cases()) check(op_info(OpId::add), op_case);
  for (const OpCase& op_case : attention_cases()) check(op_info(OpId::attention), op_case);
}
