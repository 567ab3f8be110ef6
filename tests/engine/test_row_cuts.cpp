// A forward in ranges of rows has the bits of the whole one: every op that says it can be cut, on every device.
#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "engine/ops/shared_forward.h"
#include "tests/engine/op_case.h"
#include "tests/support/allocation_counter.h"

using namespace piano;
using namespace piano::test;

namespace {

std::vector<const Device*> all_devices() {
  std::vector<const Device*> devices(cpu_levels().begin(), cpu_levels().end());
  devices.push_back(&reference_device(DType::f32));
  devices.push_back(&reference_device(DType::f64));
  return devices;
}

std::vector<char> bytes_of(const TensorRecord& x) {
  const auto* begin = static_cast<const char*>(x.value);
  return {begin, begin + static_cast<std::size_t>(x.shape.elements()) * size_of(x.dtype)};
}

// Computes the node again from `step` rows at a time, over bytes that are no number.
std::vector<char> in_pieces(const Device& device, const Node& node, std::int64_t step) {
  Arena arena;
  Context context;
  context.device = &device;
  context.arena = &arena;
  std::memset(node.output->value, 0xFF, bytes_of(*node.output).size());
  const std::int64_t rows = node.output->shape.rows();
  for (std::int64_t begin = 0; begin < rows; begin += step) forward_rows(context, node, begin, std::min(begin + step, rows));
  return bytes_of(*node.output);
}

}  // namespace

TEST_CASE("an op cut into ranges of rows gives the bits of the whole") {
  std::set<std::string> cut;  // into two pieces or more
  for (const Device* device : all_devices()) {
    for (const Op& op : op_table()) {
      for (const OpCase& op_case : op.cases()) {
        INFO(how_to_reproduce(op, op_case, *device));
        for_each_node(*device, op_case, [&](const Node& node) {
          if (node.op != op.id || !op.cut.possible) return;
          const std::vector<char> whole = bytes_of(*node.output);
          if (node.output->shape.rows() > kRowBlock) cut.insert(op.name);
          for (const std::int64_t step : {kRowBlock, 3 * kRowBlock}) CHECK(in_pieces(*device, node, step) == whole);
        });
      }
    }
  }
  std::string names;
  for (const std::string& name : cut) names += name + " ";
  CHECK(names == "add attention blend concat embedding_sum gather_rows layer_norm linear log_sigmoid matmul mixture mul scale tanh ");
}

TEST_CASE("a shared forward gives the bits of one thread, for any number of threads, and does not allocate") {
  const std::int64_t rows = 131, d = 24;
  RandomStream random(5, "shared");
  const auto normals = [&](std::int64_t n) {
    std::vector<double> values(static_cast<std::size_t>(n));
    for (double& v : values) v = random.normal();
    return values;
  };
  const auto x_values = normals(rows * d), w_values = normals(d * d), g_values = normals(d);
  const std::vector<std::int32_t> lists{0, 40, 131}, ends{39, 130};
  const Ragged ragged{lists.data(), 2};
  Arena arena;
  const auto pass = [&](const Device& device, SharedForward* shared) {
    arena.reset();
    Context c;
    c.device = &device;
    c.arena = &arena;
    c.shared = shared;
    if (shared != nullptr) shared->begin();
    const Tensor x = c.constant(x_values, {rows, d}), w = c.constant(w_values, {d, d}), g = c.constant(g_values, {d});
    const Tensor h = linear(c, layer_norm(c, x, g, g), w, g, Activation::gelu);
    const Tensor a = add(c, x, attention(c, h, h, linear(c, h, w, {}), ragged, ragged, 2));    // meets before the attention
    const Tensor mean = segment_mean(c, a, ragged), last = gather_rows(c, a, ends);            // small: each one member's
    return add(c, linear(c, mean, w, g), linear(c, last, w, g));
  };
  for (const Device* device : cpu_levels()) {
    const Tensor alone = pass(*device, nullptr);
    const std::vector<float> expected(alone.values<float>().begin(), alone.values<float>().end());
    for (const int threads : {1, 2, 3, 7}) {
      SharedForward shared(threads);
      std::int64_t allocated = 0;
      for (int repeat = 0; repeat < 20; ++repeat) {
        const std::int64_t before = allocation_count();
        const Tensor out = pass(*device, &shared);
        Context c;
        c.device = device;
        c.arena = &arena;
        shared.run(c);
        if (repeat > 1) allocated += allocation_count() - before;
        INFO(device->name, ", ", threads, " threads");
        CHECK(std::memcmp(out.values<float>().data(), expected.data(), expected.size() * sizeof(float)) == 0);
      }
      CHECK(allocated == 0);
      CHECK(shared.meetings() >= 2);
      CHECK(shared.meetings() <= 3);
    }
  }
}
