// The precision of products: the emulation rounds their inputs as the tensor cores would, so a product that ignores the option is found here.
#include <doctest/doctest.h>

#include <algorithm>

#include "tests/engine/op_case.h"

using namespace piano;
using namespace piano::test;

TEST_CASE("precision: products round to 10 and to 7 bits of mantissa, forward and backward, and to none unless asked") {
  for (const char* const name : {"linear", "matmul"}) {
    for (const Op& op : op_table()) {
      if (std::string(op.name) != name) continue;
      double most[2] = {};  // tf32, bf16
      for (const OpCase& op_case : op.cases()) {
        const std::vector<Values> inputs = draw_inputs(op_case, test_seed());
        const CaseResult exact = forward_and_backward(cuda_device(), op_case, inputs, test_seed());
        for (const Precision precision : {Precision::tf32, Precision::bf16}) {
          INFO(how_to_reproduce(op, op_case, cuda_device(precision)));
          const double bits = precision == Precision::tf32 ? 0x1p-10 : 0x1p-7;
          const CaseResult rounded = forward_and_backward(cuda_device(precision), op_case, inputs, test_seed());
          double& gap = most[precision == Precision::bf16];
          gap = std::max(gap, distance(rounded.output, exact.output) / std::max(norm(exact.output), 1e-30) / bits);
          CHECK(distance(rounded.output, exact.output) <= 4 * bits * norm(exact.output));
          for (std::size_t i = 0; i < inputs.size(); ++i) {
            CHECK(distance(rounded.gradients[i], exact.gradients[i]) <= 8 * bits * norm(exact.gradients[i]) + 1e-6);
          }
        }
      }
      CHECK(most[0] > 0.05);
      CHECK(most[1] > 0.05);
    }
  }
}
