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
  CHECK(emulation::launches() > before);
}

TEST_CASE("the bits do not depend on the order in which threads and blocks run") {
  for (const Op& op : op_table()) {
    for (const OpCase& op_case : op.cases()) check_order_of_threads(op, op_case);
  }
  for (const OpCase& op_case : large_cases()) check_order_of_threads(op_info(OpId::add), op_case);
}
