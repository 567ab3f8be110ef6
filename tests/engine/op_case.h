// Runs a case of the op table on a device, forward and backward, and hands back plain vectors of doubles.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/core/device.h"
#include "engine/ops/op_table.h"

namespace piano::test {

using Values = std::vector<double>;

struct CaseResult {
  Values output;
  std::vector<Values> gradients;  // of sum(seed * output), one per input; empty for inputs without one; a table's as a dense matrix
};

// Random inputs of a case, rounded to float so that every device sees the same numbers.
std::vector<Values> draw_inputs(const OpCase& op_case, std::uint64_t seed);
// The n numbers that the output is multiplied by to make a scalar loss.
Values draw_output_seed(std::int64_t n, std::uint64_t seed);

// Forward alone, as in inference (without a tape) but with dropout on.
Values forward(const Device& device, const OpCase& op_case, const std::vector<Values>& inputs);
// Forward and backward, twice into the same gradients, which are then halved: a backward that overwrites what it should add to is found.
CaseResult forward_and_backward(const Device& device, const OpCase& op_case, const std::vector<Values>& inputs, std::uint64_t seed);

// Runs a case and calls f for each node that it recorded (dropout with p = 0 records none).
void for_each_node(const Device& device, const OpCase& op_case, const std::function<void(const Node&)>& f);

// The seed of random inputs: 1, or PIANO_TEST_SEED.
std::uint64_t test_seed();
// One line that says how to see a failure again.
std::string how_to_reproduce(const Op& op, const OpCase& op_case, const Device& device);

double norm(const Values& v);
double distance(const Values& a, const Values& b);

}  // namespace piano::test
