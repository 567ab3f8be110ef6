// From the second round on a training step allocates nothing on the heap, the largest list last or not.
#include <doctest/doctest.h>

#include <vector>

#include "engine/core/device.h"
#include "engine/ops/op_table.h"
#include "tests/support/allocation_counter.h"

using namespace piano;

namespace {

// A small model with every kind of memory: dense parameters, a table, saved values, scratch.
struct SmallModel {
  ParameterStore store;
  ParameterId table, wq, gamma, beta, null_k, null_v, w;
  Arena arena;
  Tape tape;
  Gradients gradients;
  Context context;

  explicit SmallModel(const Device& device) : store(device.dtype) {
    table = store.add_table("table", 100, 32);
    wq = store.add("wq", {32, 32}, true);
    gamma = store.add("gamma", {32}, false), beta = store.add("beta", {32}, false);
    null_k = store.add("null_k", {32}, false), null_v = store.add("null_v", {32}, false);
    w = store.add("w", {1, 32}, true);
    store.allocate();
    RandomStream random(1, "weights");
    for (float& v : store.dense<float>()) v = static_cast<float>(0.1 * random.normal());
    for (float& v : store.table<float>(0)) v = static_cast<float>(random.normal());
    store.prepare(gradients);
    context.device = &device;
    context.arena = &arena;
    context.tape = &tape;
    context.parameters = &store;
    context.gradients = &gradients;
    context.training = true;
  }

  float step(const std::vector<std::int32_t>& ids, const std::vector<std::int32_t>& offsets, const std::vector<float>& labels) {
    arena.reset();
    tape.clear();
    store.zero(gradients);
    const Ragged lists{offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1};
    const auto parameter = [&](ParameterId id) { return context.parameter(id); };
    const Tensor e = embedding_sum(context, parameter(table), {nullptr, ids.data(), lists.rows()}, Pooling::sum);
    const Tensor q = linear(context, layer_norm(context, e, parameter(gamma), parameter(beta)), parameter(wq), {}, Activation::gelu);
    const Tensor h = attention(context, q, e, e, lists, lists, 4, parameter(null_k), parameter(null_v));
    const Tensor x = dropout(context, add(context, mul(context, h, q), e), 0.1, 1, lists);
    const Tensor logits = linear(context, x, parameter(w), {});
    const Tensor y = context.constant(labels, {lists.rows(), 1});
    const Tensor loss = add(context, product_bce(context, logits, logits, y, y), softmax_cross_entropy(context, logits, y, lists));
    tape.backward(context, loss);
    return loss.values<float>()[0];
  }
};

}  // namespace

TEST_CASE("the allocation counter counts new, an arena and malloc") {
  const std::int64_t before = allocation_count();
  REQUIRE(before >= 0);
  int* volatile numbers = new int[10];  // volatile: a pair of new and delete that nobody looks at may be left out
  delete[] numbers;
  CHECK(allocation_count() - before >= 1);
  const std::int64_t between = allocation_count();
  Arena arena(1000);
  void* volatile p = std::malloc(10);
  std::free(p);
  CHECK(allocation_count() - between >= 2);
  const std::int64_t after = allocation_count();
  CHECK(allocation_count() == after);
}

TEST_CASE("a warmed-up training step allocates nothing") {
  std::vector<const Device*> devices(cpu_levels().begin(), cpu_levels().end());
  devices.push_back(&reference_device(DType::f32));
  const std::vector<std::int32_t> ids(60, 3), small{0, 2, 3}, large{0, 40, 60};
  const std::vector<float> small_labels(3, 1.0f), large_labels(60, 1.0f);
  for (const Device* device : devices) {
    INFO(device->name);
    SmallModel model(*device);
    model.step(ids, large, large_labels);  // warms up: the arena grows
    model.step(ids, small, small_labels);  // its reset merges the chunks
    const float expected = model.step(ids, large, large_labels);
    const std::int64_t before = allocation_count();
    model.step(ids, small, small_labels);
    const float loss = model.step(ids, large, large_labels);
    const std::int64_t allocations = allocation_count() - before;
    CHECK(allocations == 0);
    CHECK(loss == expected);
  }
}

TEST_CASE("with arena and row gradients reserved the first step allocates nothing either") {
  const std::vector<std::int32_t> ids(60, 3), lists{0, 40, 60};
  const std::vector<float> labels(60, 1.0f);
  SmallModel model(reference_device(DType::f32));
  model.arena.reserve(std::size_t{1} << 22);
  model.gradients.tables[0].reserve(60);
  op_table();  // made at the first use
  const std::int64_t before = allocation_count();
  model.step(ids, lists, labels);
  const std::int64_t allocations = allocation_count() - before;
  CHECK(allocations == 0);
}
