// Times the kernels at the model's shapes: GFLOP/s of linear forward and backward, and of one transformer block, on every kernel level.
//   bench_ops [rows]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "engine/base/random.h"
#include "engine/core/context.h"
#include "engine/core/device.h"
#include "engine/ops/ops.h"

using namespace piano;

namespace {

std::vector<double> normals(std::int64_t n, double scale) {
  static RandomStream random(1, "bench");
  std::vector<double> values(static_cast<std::size_t>(n));
  for (double& v : values) v = scale * random.normal();
  return values;
}

// A matrix that outlives the arena's resets. With its own gradient it stands for a parameter, without for an activation.
struct Leaf {
  std::vector<float> value, grad;
  TensorRecord record;
  Leaf(std::int64_t rows, std::int64_t cols, bool differentiable) {
    const auto drawn = normals(padded_rows(rows) * cols, 0.1);
    value.assign(drawn.begin(), drawn.end());
    grad.resize(value.size());
    record = {.shape = {rows, cols}, .dtype = DType::f32, .requires_grad = differentiable, .value = value.data()};
    if (differentiable) record.grad = grad.data();
  }
  Tensor tensor(const Arena& arena) { return {&record, arena.epoch()}; }
};

// Seconds a call of `work`: the best of several rounds.
double seconds(const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  for (int round = 0; round < 15; ++round) {
    int calls = 0;
    const auto start = Clock::now();
    std::chrono::duration<double> elapsed{};
    do {
      work();
      ++calls;
      elapsed = Clock::now() - start;
    } while (elapsed.count() < 0.01);
    best = std::min(best, elapsed.count() / calls);
  }
  return best;
}

struct Bench {
  const Device& device;
  std::int64_t rows;
  Arena arena{std::size_t{1} << 24};

  Context context(Tape* tape) {
    Context c;
    c.device = &device;
    c.arena = &arena;
    c.tape = tape;
    c.random = {1, 1};
    c.training = tape != nullptr;
    return c;
  }

  // Seconds of forward and of backward of what `make` records; backward starts from a gradient of ones.
  double time(bool backward, const std::function<Tensor(const Context&)>& make) {
    return seconds([&] {
      Tape tape;
      const Context c = context(backward ? &tape : nullptr);
      const Tensor out = make(c);
      if (backward) {
        static std::vector<double> ones;
        ones.resize(static_cast<std::size_t>(out.shape().elements()), 1.0);
        tape.backward(c, out, ones);
      }
      arena.reset();
    });
  }

  void linear(std::int64_t in, std::int64_t out, Activation activation) {
    Leaf x(rows, in, true), x_constant(rows, in, false), w(out, in, true), w_constant(out, in, false), b(1, out, true);
    b.record.shape = {out};
    const double flops = 2.0 * static_cast<double>(rows * in * out) * 1e-9;
    const auto run = [&](bool backward, Leaf& x_leaf, Leaf& w_leaf) {
      return time(backward, [&](const Context& c) { return piano::linear(c, x_leaf.tensor(arena), w_leaf.tensor(arena), b.tensor(arena), activation); });
    };
    const double forward = run(false, x, w), bias_only = run(true, x_constant, w_constant);
    const double dx = run(true, x, w_constant) - bias_only, dw = run(true, x_constant, w) - bias_only;
    std::printf("  linear%s %4lld -> %4lld: forward %6.1f us %6.1f GFLOP/s, dX %6.1f, dW %6.1f GFLOP/s, forward + backward %6.1f us\n",
                activation == Activation::gelu ? "+gelu" : "     ", static_cast<long long>(in), static_cast<long long>(out), forward * 1e6,
                flops / forward, flops / dx, flops / dw, run(true, x, w) * 1e6);
  }

  void block(std::int64_t d, int heads, double dropout_rate) {
    Leaf x(rows, d, true), gamma(1, d, true), beta(1, d, true), wqkv(d, d, true), bias(1, d, true), w1(4 * d, d, true), b1(1, 4 * d, true),
        w2(d, 4 * d, true);
    for (Leaf* leaf : {&gamma, &beta, &bias}) leaf->record.shape = {d};
    b1.record.shape = {4 * d};
    const std::vector<std::int32_t> offsets{0, static_cast<std::int32_t>(rows / 2), static_cast<std::int32_t>(rows)};
    const Ragged lists{offsets.data(), 2};
    const auto run = [&](const Context& c) {
      const auto t = [&](Leaf& leaf) { return leaf.tensor(arena); };
      Tensor h = layer_norm(c, t(x), t(gamma), t(beta));
      const Tensor q = piano::linear(c, h, t(wqkv), t(bias)), k = piano::linear(c, h, t(wqkv), t(bias)), v = piano::linear(c, h, t(wqkv), t(bias));
      h = piano::linear(c, attention(c, q, k, v, lists, lists, heads), t(wqkv), t(bias));
      const Tensor y = add(c, t(x), dropout_rate > 0 ? dropout(c, h, dropout_rate, 7, lists) : h);
      h = layer_norm(c, y, t(gamma), t(beta));
      h = piano::linear(c, piano::linear(c, h, t(w1), t(b1), Activation::gelu), t(w2), t(bias));
      return add(c, y, dropout_rate > 0 ? dropout(c, h, dropout_rate, 8, lists) : h);
    };
    const double n = static_cast<double>(rows), w = static_cast<double>(d);
    const double flops = (24 * n * w * w + 4 * n * (n / 2) * w) * 1e-9;
    const double forward = time(false, run), both = time(true, run);
    std::printf("  block d=%lld, 2 lists, dropout %.1f: forward %6.1f us %6.1f GFLOP/s, forward + backward %6.1f us %6.1f GFLOP/s\n",
                static_cast<long long>(d), dropout_rate, forward * 1e6, flops / forward, both * 1e6, 3 * flops / both);
  }

  void attention_only(std::int64_t d, int heads) {
    Leaf q(rows, d, true), k(rows, d, true), v(rows, d, true);
    const std::vector<std::int32_t> offsets{0, static_cast<std::int32_t>(rows)};
    const Ragged lists{offsets.data(), 1};
    const auto run = [&](const Context& c) { return attention(c, q.tensor(arena), k.tensor(arena), v.tensor(arena), lists, lists, heads); };
    const double n = static_cast<double>(rows), flops = 4 * n * n * static_cast<double>(d) * 1e-9;
    const double forward = time(false, run), both = time(true, run);
    std::printf("  attention d=%lld, heads %d, one list: forward %6.1f us %6.1f GFLOP/s, forward + backward %6.1f us\n", static_cast<long long>(d), heads,
                forward * 1e6, flops / forward, both * 1e6);
  }
};

}  // namespace

int main(int argc, char** argv) {
  const std::int64_t rows = argc > 1 ? std::atoll(argv[1]) : 100;
  for (const Device* device : cpu_levels()) {
    std::printf("%s, rows = %lld\n", device->name.c_str(), static_cast<long long>(rows));
    Bench bench{*device, rows};
    for (const auto& [in, out] : {std::pair{64, 64}, {64, 256}, {256, 64}, {128, 512}, {420, 64}, {64, 1}}) bench.linear(in, out, Activation::none);
    bench.linear(64, 256, Activation::gelu);
    bench.attention_only(64, 4);
    bench.block(64, 4, 0);
    bench.block(64, 4, 0.1);
    bench.block(128, 4, 0);
  }
}
