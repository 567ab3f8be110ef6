// The op table is complete: nothing is skipped in silence.
#include <doctest/doctest.h>

#include <string>

#include "tests/engine/op_case.h"

using namespace piano;
using namespace piano::test;

namespace {

// What an op's row lacks, or "".
std::string missing(const Op& op) {
  if (op.name == nullptr || std::string(op.name).empty()) return "a name";
  if (op.specification == nullptr || std::string(op.specification).empty()) return "a specification";
  if (op.cost == nullptr) return "a cost";
  if (op.cases == nullptr || op.cases().size() < 2) return "two cases or more";
  return "";
}

// Which of its kernels a device lacks, or "".
std::string missing(const Op& op, const Device& device) {
  if (device.forward[static_cast<std::size_t>(op.id)] == nullptr) return "forward on " + device.name;
  const bool backward = device.backward[static_cast<std::size_t>(op.id)] != nullptr;
  if (!backward && op.no_gradient == nullptr) return "backward on " + device.name + " (or the reason in no_gradient)";
  return "";
}

}  // namespace

TEST_CASE("every op has a name, a specification, a cost, cases and kernels on every device") {
  REQUIRE(op_table().size() == static_cast<std::size_t>(OpId::count));
  std::vector<const Device*> devices(cpu_levels().begin(), cpu_levels().end());
  devices.push_back(&reference_device(DType::f32));
  devices.push_back(&reference_device(DType::f64));
  for (std::size_t i = 0; i < op_table().size(); ++i) {
    const Op& op = op_table()[i];
    INFO(op.name);
    CHECK(static_cast<std::size_t>(op.id) == i);
    CHECK(missing(op) == "");
    for (const Device* device : devices) CHECK(missing(op, *device) == "");
  }
}

TEST_CASE("what is missing in a row or on a device is found") {
  const Op whole = op_info(OpId::linear);
  Op op = whole;
  CHECK(missing(op) == "");
  op.specification = "";
  CHECK(missing(op) == "a specification");
  op = whole;
  op.cost = nullptr;
  CHECK(missing(op) == "a cost");
  op = whole;
  op.cases = []() -> std::vector<OpCase> { return {OpCase{}}; };
  CHECK(missing(op) == "two cases or more");

  op = whole;
  Device device = reference_device(DType::f64);
  CHECK(missing(op, device) == "");
  device.backward[static_cast<std::size_t>(op.id)] = nullptr;
  CHECK(missing(op, device) != "");
  op.no_gradient = "a rounding has none";
  CHECK(missing(op, device) == "");
  device.forward[static_cast<std::size_t>(op.id)] = nullptr;
  CHECK(missing(op, device) != "");
}

TEST_CASE("every case's cost is finite and counts at least what is written") {
  const Device& device = reference_device(DType::f32);
  for (const Op& op : op_table()) {
    for (const OpCase& op_case : op.cases()) {
      INFO(how_to_reproduce(op, op_case, device));
      for_each_node(device, op_case, [&](const Node& node) {
        const OpCost cost = op.cost(node);
        CHECK(node.op == op.id);
        CHECK(cost.flops >= 0);
        CHECK(cost.flops < 1e9);
        CHECK(cost.bytes >= static_cast<double>(node.output->shape.elements()) * 4);
        CHECK(cost.bytes < 1e9);
      });
    }
  }
}
