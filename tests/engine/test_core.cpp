// Shape, arena, tensor, tape, context and parameter store.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "engine/core/device.h"
#include "engine/ops/checks.h"
#include "engine/ops/ops.h"

using namespace piano;

namespace {

// A context on the reference device in double, with everything that training needs.
struct Bench {
  Arena arena;
  Tape tape;
  Gradients gradients;
  Context context;

  explicit Bench(const ParameterStore* store = nullptr) {
    context.device = &reference_device(DType::f64);
    context.arena = &arena;
    context.tape = &tape;
    context.parameters = store;
    context.gradients = store == nullptr ? nullptr : &gradients;
    if (store != nullptr) store->prepare(gradients);
  }
  Tensor variable(std::vector<double> values, Shape shape) { return context.variable(values, shape); }
};

std::vector<double> grads(const Tensor& t) { return {t.grads<double>().begin(), t.grads<double>().end()}; }

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("shapes") {
  CHECK(to_string(Shape{3, 64}) == "(3, 64)");
  CHECK(to_string(Shape{}) == "()");
  CHECK(Shape{2, 3, 4}.rows() == 6);
  CHECK(Shape{5}.rows() == 1);
  CHECK(Shape{0, 5}.elements() == 0);
  CHECK(Shape{1, 2} == Shape{1, 2});
  CHECK_FALSE(Shape{1, 2} == Shape{2, 1});
}

TEST_CASE("an arena aligns, grows, and merges what it grew by at the next reset") {
  Arena arena(1 << 10);
  for (const std::size_t bytes : {1u, 63u, 64u, 65u, 100'000u, 300'000u}) {
    void* p = arena.allocate(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(p) % Arena::kAlignment == 0);
    std::memset(p, 1, bytes);
  }
  const std::size_t used = arena.used();
  CHECK(used >= 400'000);
  const std::uint32_t epoch = *arena.epoch();
  arena.reset();
  CHECK(*arena.epoch() == epoch + 1);
  CHECK(arena.used() == 0);
  auto* first = static_cast<std::byte*>(arena.allocate(64));
  auto* last = static_cast<std::byte*>(arena.allocate(used - 64));
  CHECK(last == first + 64);  // one chunk now holds what needed several
}

TEST_CASE("an arena hands out again what was given back, the last first, to who wants as much") {
  Arena arena(1 << 12);
  void* const a = arena.allocate(100);
  void* const b = arena.allocate(128);  // as much, rounded up to lines
  void* const c = arena.allocate(300);
  const std::size_t used = arena.used();
  arena.give_back(a, 100);
  arena.give_back(b, 128);
  arena.give_back(c, 300);
  CHECK(arena.allocate(64) != a);
  CHECK(arena.allocate(65) == b);
  CHECK(arena.allocate(128) == a);
  CHECK(arena.allocate(257) == c);
  CHECK(arena.used() == used + 64);

  arena.begin_loan();
  void* const lent = arena.allocate(500);
  arena.end_loan();
  CHECK(arena.allocate(500) == lent);
  arena.give_back(lent, 500);
  arena.reset();  // forgets it: all memory is free
  CHECK(arena.allocate(500) == a);
}

#ifndef NDEBUG
TEST_CASE("a tensor from before the arena's reset is found") {
  Bench bench;
  const Tensor kept = bench.variable({1, 2}, {1, 2});
  CHECK(kept.rows() == 1);
  bench.arena.reset();
  CHECK_THROWS_AS(static_cast<void>(kept.shape()), Error);
}
#endif

TEST_CASE("tensors refuse another element type and more than one item") {
  Bench bench;
  const Tensor x = bench.variable({1, 2}, {1, 2});
  CHECK_THROWS_AS(x.values<float>(), Error);
  CHECK_THROWS_AS(static_cast<void>(x.item()), Error);
  CHECK(bench.variable({7}, {1, 1}).item() == 7);
}

TEST_CASE("backward follows every path once and leaves what the loss does not depend on alone") {
  Bench bench;
  const Context& context = bench.context;
  const Tensor x = bench.variable({2}, {1, 1}), unused = bench.variable({3}, {1, 1});
  const Tensor square = mul(context, x, x);
  const Tensor beside = mul(context, unused, unused);
  const Tensor loss = add(context, square, scale(context, x, 10));  // x^2 + 10 x
  bench.tape.backward(context, loss);
  CHECK(loss.item() == 24);
  CHECK(grads(x) == std::vector<double>{14});
  CHECK(unused.grads<double>().empty());
  CHECK(beside.grads<double>().empty());
}

TEST_CASE("backward may give back what it needs no more: the leaves' gradients are the same, in less memory") {
  const auto run = [](Spent spent) {
    ParameterStore store(DType::f64);
    const ParameterId w = store.add("w", {2, 2}, true);
    store.allocate();
    std::ranges::copy(std::vector<double>{1, 2, 3, 4}, store.dense<double>().begin());
    Bench bench(&store);
    const Tensor x = bench.variable({1, -1, 2, 0.5}, {2, 2});
    Tensor y = x;
    for (int i = 0; i < 5; ++i) y = add(bench.context, mul(bench.context, linear(bench.context, y, bench.context.parameter(w), {}), x), y);
    bench.tape.backward(bench.context, y, std::vector<double>{1, 2, 3, 4}, spent);
    std::vector<double> all = grads(x);
    const auto dw = bench.gradients.dense_as<double>();
    all.insert(all.end(), dw.begin(), dw.end());
    return std::pair{all, bench.arena.used()};
  };
  const auto [kept, most] = run(Spent::kept);
  const auto [again, less] = run(Spent::given_back);
  CHECK(kept == again);
  CHECK(less < most);
}

TEST_CASE("constants get no gradient, and a loss of constants is no error") {
  Bench bench;
  const double two = 2;
  const Tensor c = bench.context.constant(std::span<const double>(&two, 1), {1, 1}), x = bench.variable({3}, {1, 1});
  bench.tape.backward(bench.context, mul(bench.context, c, x));
  CHECK(grads(x) == std::vector<double>{2});
  CHECK(c.grads<double>().empty());
  bench.tape.backward(bench.context, mul(bench.context, c, c));
}

TEST_CASE("backward wants one element, or a seed for each") {
  Bench bench;
  const Tensor x = bench.variable({1, 2}, {1, 2}), y = scale(bench.context, x, 3);
  CHECK_THROWS_AS(bench.tape.backward(bench.context, y), Error);
  const std::vector<double> seed{1, -1};
  bench.tape.backward(bench.context, y, seed);
  CHECK(grads(x) == std::vector<double>{3, -3});
}

TEST_CASE("without a tape nothing is recorded and nothing wants a gradient") {
  ParameterStore store(DType::f64);
  const ParameterId w = store.add("w", {1, 1}, true);
  store.allocate();
  Bench bench(&store);
  CHECK(bench.context.parameter(w).record()->requires_grad);
  bench.context.tape = nullptr;
  const Tensor x = bench.variable({1}, {1, 1});
  CHECK_FALSE(x.record()->requires_grad);
  CHECK_FALSE(bench.context.parameter(w).record()->requires_grad);
  CHECK_FALSE(mul(bench.context, x, bench.context.parameter(w)).record()->requires_grad);
  CHECK(bench.tape.last() == nullptr);
  bench.context.tape = &bench.tape;
  bench.context.gradients = nullptr;
  CHECK_FALSE(bench.context.parameter(w).record()->requires_grad);
}

TEST_CASE("the op that first made a number non-finite is named") {
  Bench bench;
  const Context& context = bench.context;
  const Tensor x = bench.variable({1, 1e200}, {1, 2});
  const Tensor fine = scale(context, x, 2);
  CHECK(bench.tape.first_non_finite() == nullptr);
  const Tensor infinite = mul(context, fine, fine);
  add(context, infinite, fine);
  REQUIRE(bench.tape.first_non_finite() != nullptr);
  CHECK(bench.tape.first_non_finite()->op == OpId::mul);

  bench.tape.clear();  // finite values, an infinite gradient
  const Tensor y = bench.variable({1e-200}, {1, 1});
  const Tensor big = scale(context, scale(context, y, 1e200), 1e200);
  CHECK(bench.tape.first_non_finite() == nullptr);
  bench.tape.backward(context, big);
  REQUIRE(bench.tape.first_non_finite() != nullptr);
  CHECK(bench.tape.first_non_finite() == bench.tape.last()->previous);
}

TEST_CASE("parameters: dense ones share an array, gradients lie in the accumulator, tables get each touched row once") {
  ParameterStore store(DType::f64);
  const ParameterId a = store.add("a", {1, 2}, true), t = store.add_table("t", 4, 2), b = store.add("b", {1, 2}, false);
  store.allocate();
  CHECK(store.dense_elements() == 4);
  CHECK(store.elements() == 12);
  CHECK(store[b].offset == 2);
  store.values<double>(store[a])[0] = 1, store.values<double>(store[a])[1] = 2;
  store.values<double>(store[b])[0] = 3, store.values<double>(store[b])[1] = 4;
  store.values<double>(store[t])[5] = 7;
  CHECK(store.dense<double>()[3] == 4);
  CHECK(store.table<double>(0)[5] == 7);

  Bench bench(&store);
  const Context& context = bench.context;
  const std::vector<std::int32_t> ids{2, 0, 2};
  const Tensor rows = embedding_sum(context, context.parameter(t), {nullptr, ids.data(), 3}, Pooling::sum);  // (3, 2)
  const std::vector<std::int32_t> zeros{0, 0, 0};
  const Tensor product = mul(context, mul(context, context.parameter(a), context.parameter(b)), context.parameter(a));  // a^2 b
  const Tensor out = add(context, gather_rows(context, product, zeros), rows);
  const std::vector<double> seed{1, 1, 10, 10, 100, 100};
  bench.tape.backward(context, out, seed);
  const auto dense = bench.gradients.dense_as<double>();
  CHECK(std::vector<double>(dense.begin(), dense.end()) == std::vector<double>{111 * 6, 111 * 16, 111 * 1, 111 * 4});
  const RowGradients& touched = bench.gradients.tables[0];
  CHECK(std::vector<std::int32_t>(touched.rows().begin(), touched.rows().end()) == std::vector<std::int32_t>{2, 0});
  CHECK(touched.values<double>()[0] == 101);
  CHECK(touched.values<double>()[2] == 10);
  CHECK(touched.touches() == 3);
  CHECK(touched.find(0) == &touched.values<double>()[2]);
  CHECK(touched.find(1) == nullptr);

  store.zero(bench.gradients);
  CHECK(bench.gradients.dense_as<double>()[0] == 0);
  CHECK(touched.rows().empty());
}

TEST_CASE("parameters: between start() and finish() the first gradient is written over what was there, all others are added") {
  std::vector<const Device*> devices{&reference_device(DType::f32)};
  for (const Device* level : cpu_levels()) devices.push_back(level);
  for (const Device* device : devices) {
    CAPTURE(device->name);
    ParameterStore store(DType::f32);
    const ParameterId w = store.add("w", {20, 20}, true), b = store.add("b", {20}, false), gamma = store.add("gamma", {20}, false);
    const ParameterId beta = store.add("beta", {20}, false), unused = store.add("unused", {3}, false);
    store.allocate();
    RandomStream random(1, "weights");
    for (float& v : store.dense<float>()) v = static_cast<float>(random.normal());
    Bench bench(&store);
    bench.context.device = device;
    const Context& context = bench.context;
    const auto backward = [&] {  // w and b twice, and twice over: as two micro-batches of one accumulator
      for (int micro = 0; micro < 2; ++micro) {
        bench.tape.clear();
        const Tensor x = context.constant(store.dense<float>().first(140), {7, 20});
        Tensor h = linear(context, x, context.parameter(w), context.parameter(b));                                             // (7, 20)
        h = layer_norm(context, linear(context, h, context.parameter(w), context.parameter(b)), context.parameter(gamma), context.parameter(beta));
        bench.tape.backward(context, h, std::vector<double>(140, 0.5));
      }
    };
    store.zero(bench.gradients);
    backward();
    const std::vector<std::byte> expected = bench.gradients.dense;
    const auto values = bench.gradients.dense_as<float>();
    std::fill(values.begin(), values.end(), NAN);
    store.start(bench.gradients);
    backward();
    CHECK(std::isnan(values[store[unused].offset]));
    store.finish(bench.gradients);
    CHECK(values[store[unused].offset] == 0);
    CHECK(bench.gradients.dense == expected);
  }
}

TEST_CASE("row gradients: a map that grows, and sums as a plain one does") {
  RowGradients rows;
  rows.reset(3, DType::f32);
  CHECK(rows.find(5) == nullptr);
  std::map<std::int32_t, float> expected;
  std::vector<std::int32_t> order;
  RandomStream random(1, "rows");
  for (int i = 0; i < 5000; ++i) {
    const auto row = static_cast<std::int32_t>(random.below(i % 2 == 0 ? 20 : 1'000'000)) * 64;  // few often, many once; all alike in the low bits
    if (!expected.contains(row)) order.push_back(row);
    expected[row] += static_cast<float>(i);
    static_cast<float*>(rows.at(row))[1] += static_cast<float>(i);
  }
  CHECK(std::equal(order.begin(), order.end(), rows.rows().begin(), rows.rows().end()));
  for (const auto& [row, sum] : expected) {
    const auto* values = static_cast<const float*>(rows.find(row));
    REQUIRE(values != nullptr);
    CHECK(values[0] == 0.0f);
    CHECK(values[1] == sum);
  }
  rows.reset(3, DType::f32);
  CHECK(rows.rows().empty());
  CHECK(rows.find(order[0]) == nullptr);
}

TEST_CASE("parameters: names are unique, values convert, tables can be borrowed") {
  ParameterStore store(DType::f64);
  store.add("w", {1, 3}, true);
  CHECK_THROWS_AS(store.add("w", {2}, true), Error);
  CHECK_THROWS_AS(store.add_table("w", 2, 2), Error);
  const ParameterId t = store.add_table("t", 2, 2);
  store.allocate();
  CHECK_THROWS_AS(store.add("late", {1}, true), Error);
  store.dense<double>()[1] = 0.1;

  ParameterStore single(DType::f32);
  single.add("w", {1, 3}, true);
  const ParameterId borrowed = single.add_table("t", 2, 2);
  single.allocate();
  single.copy_values_from(store);
  CHECK(single.dense<float>()[1] == 0.1f);
  const std::vector<float> elsewhere{1, 2, 3, 4};
  single.borrow_table(0, elsewhere.data());
  CHECK(single.value(single[borrowed]) == elsewhere.data());
  store.copy_values_from(single);
  CHECK(store.values<double>(store[t])[3] == 4);
  CHECK(store.dense<double>()[1] == static_cast<double>(0.1f));

  ParameterStore other(DType::f32);
  other.add("v", {1, 3}, true);
  other.allocate();
  CHECK_THROWS_AS(other.copy_values_from(single), Error);
}

TEST_CASE("checks: each index and each list counts, wherever it stands") {
  const CheckedOp op{"op", "hint"};
  constexpr std::int32_t kLeast = INT32_MIN, kMost = INT32_MAX;
  std::vector<std::int32_t> index(37, 3);
  for (std::int32_t& i : index) {
    for (const std::int32_t good : {0, 4}) {
      i = good;
      CHECK_NOTHROW(op.indices("indices", index, 5));
    }
    for (const std::int32_t bad : {-1, 5, kLeast, kMost}) {
      i = bad;
      CHECK(message_of([&] { op.indices("indices", index, 5); }) == "[op] expected indices in 0 .. 4, got " + std::to_string(bad) + ": hint");
    }
    i = kMost;
    CHECK_NOTHROW(op.indices("indices", index, std::int64_t{1} << 31));
    CHECK_NOTHROW(op.indices("indices", index, std::int64_t{1} << 40));
    i = 3;
  }
  CHECK_NOTHROW(op.indices("indices", {}, 0));
  CHECK_THROWS_AS(op.indices("indices", index, 0), Error);

  std::vector<std::int32_t> offsets(38);
  for (std::int32_t l = 0; l < 38; ++l) offsets[static_cast<std::size_t>(l)] = l / 2;
  CHECK_NOTHROW(op.lists("lists", {offsets.data(), 37}, 18));
  CHECK_THROWS_AS(op.lists("lists", {offsets.data(), 37}, 19), Error);
  CHECK_NOTHROW(op.lists("lists", {nullptr, 0}, 0));
  for (std::size_t l = 0; l < 37; ++l) {
    const std::int32_t right = offsets[l];
    offsets[l] = offsets[l + 1] + 1;
    CHECK_THROWS_AS(op.lists("lists", {offsets.data(), 37}, 18), Error);
    offsets[l] = right;
  }
  offsets[0] = -1;
  CHECK_THROWS_AS(op.lists("lists", {offsets.data(), 37}, 18), Error);
}

TEST_CASE("ops say what they expected, what they got and what to do") {
  Bench bench;
  const Context& context = bench.context;
  const Tensor a = bench.variable({1, 2, 3, 4}, {2, 2}), b = bench.variable({1, 2, 3, 4, 5, 6}, {2, 3});
  const std::vector<std::int32_t> two{0, 2}, three{0, 3}, backwards{0, 3, 2}, index{0, 2};
  const Ragged lists{two.data(), 1};
  CHECK(message_of([&] { attention(context, a, b, b, lists, lists, 1); }) ==
        "[attention] expected k with 2 columns, got 3: project q, k and v to the same width, and give queries and keys the same lists");
  CHECK(message_of([&] { add(context, a, b); }) == "[add] expected b of shape (2, 2), got (2, 3): both must have the same shape");
  CHECK(message_of([&] { gather_rows(context, a, index); }) == "[gather_rows] expected indices in 0 .. 1, got 2: every index must be a row of x");
  CHECK_THROWS_AS(linear(context, a, b, {}), Error);
  ParameterStore store(DType::f64);
  const ParameterId three_rows = store.add("three", {3, 2}, true), eight_rows = store.add("eight", {8, 2}, true);
  store.allocate();
  Bench with(&store);
  const Tensor short_of_a_block = with.context.parameter(three_rows), whole = with.context.parameter(eight_rows);
  CHECK(message_of([&] { matmul(with.context, short_of_a_block, with.variable({1, 2, 3, 4}, {2, 2})); }) ==
        "[matmul] expected x in memory with room for whole blocks of rows, got a parameter of 3 rows (gather_rows copies it): "
        "w is (out, in) and x (rows, out): the result is (rows, in)");
  CHECK_THROWS_AS(linear(with.context, short_of_a_block, with.variable({1, 2, 3, 4}, {2, 2}), {}), Error);
  CHECK(matmul(with.context, whole, with.variable({1, 2, 3, 4}, {2, 2})).rows() == 8);
  CHECK_THROWS_AS(mul(context, a, {}), Error);
  CHECK_THROWS_AS(segment_mean(context, a, {three.data(), 1}), Error);
  CHECK_THROWS_AS(segment_mean(context, a, {backwards.data(), 2}), Error);
  CHECK_THROWS_AS(attention(context, a, a, a, lists, lists, 3), Error);
  CHECK_THROWS_AS(attention(context, a, a, a, lists, lists, 1, gather_rows(context, a, std::span(index.data(), 1))), Error);
  CHECK_THROWS_AS(concat(context, {}), Error);
  CHECK_THROWS_AS(concat(context, {a, gather_rows(context, b, std::span(index.data(), 1))}), Error);
  CHECK_THROWS_AS(dropout(context, a, 1.0, 0, lists), Error);
  CHECK_THROWS_AS(embedding_sum(context, a, {nullptr, index.data(), 1}, Pooling::sum), Error);
}
