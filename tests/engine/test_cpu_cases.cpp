// Every case of every op on every kernel level that this machine can run, against the reference in double: forward and each gradient.
#include <doctest/doctest.h>

#include "tests/engine/op_case.h"

using namespace piano;
using namespace piano::test;

namespace {

// By norm; what is zero in the reference may differ from zero by float's rounding of numbers around one.
bool close(const Values& actual, const Values& expected) { return distance(actual, expected) <= 1e-4 * norm(expected) + 1e-6; }

}  // namespace

TEST_CASE("every kernel agrees with the reference") {
  const std::uint64_t seed = test_seed();
  std::vector<const Device*> devices(cpu_levels().begin(), cpu_levels().end());
  devices.push_back(&reference_device(DType::f32));
  REQUIRE(devices.size() >= 2);
  for (const Op& op : op_table()) {
    for (const OpCase& op_case : op.cases()) {
      const std::vector<Values> inputs = draw_inputs(op_case, seed);
      const CaseResult expected = forward_and_backward(reference_device(DType::f64), op_case, inputs, seed);
      for (const Device* device : devices) {
        INFO(how_to_reproduce(op, op_case, *device));
        const CaseResult actual = forward_and_backward(*device, op_case, inputs, seed);
        CHECK(close(actual.output, expected.output));
        CHECK(actual.output == forward(*device, op_case, inputs));  // recording changes nothing
        for (std::size_t i = 0; i < inputs.size(); ++i) {
          INFO("gradient of input ", i, ": distance ", distance(actual.gradients[i], expected.gradients[i]), " of ", norm(expected.gradients[i]));
          CHECK(close(actual.gradients[i], expected.gradients[i]));
        }
      }
    }
  }
}
