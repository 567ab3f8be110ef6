// Attention at sizes that the op table's cases leave out: every edge of a tile, very long lists, scores that no float power could hold.
#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "engine/core/context.h"
#include "tests/engine/op_case.h"

using namespace piano;
using namespace piano::test;

namespace {

using Fill = std::function<double(std::int64_t, double)>;

// One list. fill_q and fill_k give a query's and a key's elements from their index and a standard normal.
OpCase one_list(std::int32_t queries, std::int32_t keys, std::int64_t d, int heads, bool null_slot, Fill fill_q = {}, Fill fill_k = {}) {
  OpCase c;
  c.name = std::to_string(queries) + " queries, " + std::to_string(keys) + " keys, d=" + std::to_string(d);
  c.inputs = {{queries, d, true, false, std::move(fill_q)}, {keys, d, true, false, std::move(fill_k)}, {keys, d}};
  if (null_slot) c.inputs.insert(c.inputs.end(), 2, CaseInput{1, d});
  const std::vector<std::int32_t> q_offsets{0, queries}, k_offsets{0, keys};
  c.run = [=](const Context& context, std::span<const Tensor> in) {
    return attention(context, in[0], in[1], in[2], {q_offsets.data(), 1}, {k_offsets.data(), 1}, heads, null_slot ? in[3] : Tensor{},
                     null_slot ? in[4] : Tensor{});
  };
  return c;
}

void check_levels(const OpCase& op_case, double tolerance) {
  const std::vector<Values> inputs = draw_inputs(op_case, test_seed());
  const CaseResult expected = forward_and_backward(reference_device(DType::f64), op_case, inputs, test_seed());
  for (const Device* device : cpu_levels()) {
    INFO(device->name, ", ", op_case.name);
    const CaseResult actual = forward_and_backward(*device, op_case, inputs, test_seed());
    CHECK(distance(actual.output, expected.output) <= tolerance * norm(expected.output));
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      INFO("gradient of input ", i, ": distance ", distance(actual.gradients[i], expected.gradients[i]), " of ", norm(expected.gradients[i]));
      CHECK(distance(actual.gradients[i], expected.gradients[i]) <= tolerance * norm(expected.gradients[i]) + 3e-5);
    }
  }
}

}  // namespace

TEST_CASE("attention at the edges of its tiles") {
  for (const std::int32_t n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 17, 25, 31, 32, 33, 48, 49, 51, 64, 65, 97, 129}) {
    check_levels(one_list(n, n, 32, 2, false), 2e-6);
    check_levels(one_list(n, 130 - n, 33, 1, n % 2 == 0), 2e-6);
    check_levels(one_list(130 - n, n, 10, 2, n % 2 == 1), 2e-6);
  }
}

TEST_CASE("attention over a list of 3,000 rows") { check_levels(one_list(3000, 3000, 4, 1, false), 1e-5); }

TEST_CASE("attention's scratch does not grow with queries times keys") {
  const std::int32_t n = 10'000;
  const std::vector<std::int32_t> offsets{0, n};
  const std::vector<float> x(static_cast<std::size_t>(n) * 8, 0.5f);
  for (const Device* device : cpu_levels()) {
    Arena arena;
    Context context;
    context.device = device;
    context.arena = &arena;
    const Tensor t = context.constant(x, {n, 8});
    const std::size_t before = arena.used();
    const Tensor out = attention(context, t, t, t, {offsets.data(), 1}, {offsets.data(), 1}, 1);
    CHECK(arena.used() - before < std::size_t{n} * 64 * sizeof(float));
    CHECK(std::all_of(out.values<float>().begin(), out.values<float>().end(), [](float v) { return std::abs(v - 0.5f) < 5e-4f; }));  // 10,000 equal terms in one sum
  }
}

TEST_CASE("attention with scores far outside of float's powers") {
  const auto times = [](double factor) { return [=](std::int64_t, double normal) { return factor * normal; }; };
  const auto positive = [](double factor) { return [=](std::int64_t, double normal) { return factor * (1 + 0.05 * normal); }; };
  const auto one_in_three_large = [](std::int64_t i, double normal) { return (i / 16 % 3 == 0 ? 40 : 1) * normal; };
  check_levels(one_list(29, 50, 16, 1, false, times(40)), 1e-4);                  // scores of +-40 and more
  check_levels(one_list(29, 50, 16, 1, false, positive(8), positive(8)), 1e-4);   // all near 256
  check_levels(one_list(29, 50, 16, 1, false, positive(8), positive(-8)), 1e-4);  // all near -256
  check_levels(one_list(29, 50, 16, 1, false, one_in_three_large), 1e-4);         // beside usual ones
}

TEST_CASE("a query has the same bits beside one with scores outside of float's powers") {
  const std::int32_t n = 14;
  const Fill mixed = [](std::int64_t i, double normal) { return (i / 16 % 4 == 1 ? 60 : 1) * normal; };
  const OpCase all = one_list(n, 21, 16, 1, false, mixed), one = one_list(1, 21, 16, 1, false);
  const std::vector<Values> inputs = draw_inputs(all, test_seed());
  for (const Device* device : cpu_levels()) {
    const Values together = forward(*device, all, inputs);
    for (std::ptrdiff_t i = 0; i < n; ++i) {
      INFO(device->name, ", query ", i);
      const Values query(inputs[0].begin() + 16 * i, inputs[0].begin() + 16 * (i + 1));
      CHECK(forward(*device, one, {query, inputs[1], inputs[2]}) == Values(together.begin() + 16 * i, together.begin() + 16 * (i + 1)));
    }
  }
}
