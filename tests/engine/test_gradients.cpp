// Every case of every op: the tape's gradient in double against finite differences along random directions.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "tests/engine/op_case.h"

using namespace piano;
using namespace piano::test;

namespace {

// The loss sum(seed * output) after a step of h along `direction` of input i.
double loss_at(const OpCase& op_case, std::vector<Values> inputs, std::size_t i, const Values& direction, double h, std::uint64_t seed) {
  for (std::size_t k = 0; k < direction.size(); ++k) inputs[i][k] += h * direction[k];
  const Values output = forward(reference_device(DType::f64), op_case, inputs);
  const Values weights = draw_output_seed(static_cast<std::int64_t>(output.size()), seed);
  double loss = 0;
  for (std::size_t k = 0; k < output.size(); ++k) loss += weights[k] * output[k];
  return loss;
}

// Central differences of fourth order: the error is h^4 f^(5) / 30.
double finite_difference(const OpCase& op_case, const std::vector<Values>& inputs, std::size_t i, const Values& direction, std::uint64_t seed) {
  const double h = 1e-3;
  const auto f = [&](double step) { return loss_at(op_case, inputs, i, direction, step, seed); };
  return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h);
}

}  // namespace

TEST_CASE("gradients agree with finite differences in double") {
  const std::uint64_t seed = test_seed();
  const Device& device = reference_device(DType::f64);
  for (const Op& op : op_table()) {
    if (op.no_gradient != nullptr) continue;
    for (const OpCase& op_case : op.cases()) {
      INFO(how_to_reproduce(op, op_case, device));
      const std::vector<Values> inputs = draw_inputs(op_case, seed);
      const CaseResult result = forward_and_backward(device, op_case, inputs, seed);
      CHECK(result.output == forward(device, op_case, inputs));  // recording changes nothing
      RandomStream stream(seed, "directions");
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const Values& gradient = result.gradients[i];
        Values direction;
        double along = 0;
        for (const double g : gradient) along += g * direction.emplace_back(stream.normal());
        const double expected = gradient.empty() ? 0.0 : finite_difference(op_case, inputs, i, direction, seed);
        const double size = std::max({std::abs(expected), std::abs(along), 1e-3 * norm(gradient), 1e-6});
        INFO("input ", i, ": tape ", along, ", finite differences ", expected);
        CHECK(std::abs(along - expected) <= 1e-6 * size);
      }
    }
  }
}
