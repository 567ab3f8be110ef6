// The vector functions over the whole range of float, at the bounds that engine/cpu/math.inl states, against double: exp as this file compiles
// it, the others through the ops of every kernel level.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "engine/core/context.h"
#include "engine/core/device.h"
#include "engine/cpu/math.inl"
#include "engine/ops/ops.h"

using namespace piano;

namespace {

constexpr double kSmallestNormal = 0x1p-126;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// About 500 floats of every exponent and sign, subnormals, infinities and the edges of the functions' branches with their neighbours.
const std::vector<float>& all_kinds() {
  static const std::vector<float> values = [] {
    std::vector<float> v;
    for (std::uint64_t bits = 0; bits < (std::uint64_t{1} << 32); bits += 16'411) {
      const auto word = static_cast<std::uint32_t>(bits);
      float x = 0;
      std::memcpy(&x, &word, sizeof x);
      if (!std::isnan(x)) v.push_back(x);
    }
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float edge : {0.0f, 0x1p-149f, 0x1p-126f, 1.0f, 17.0f, 69.3f, 87.0f, 87.3365479f, 88.7228394f, 103.972084f, 3.4e38f, infinity}) {
      for (const float x : {edge, std::nextafter(edge, 0.0f), std::nextafter(edge, infinity)}) v.push_back(x), v.push_back(-x);
    }
    return v;
  }();
  return values;
}

// |actual - exact| in units of the last place of a float of exact's size; below the smallest normal number anything as small will do.
double ulps(float actual, double exact) {
  if (std::isinf(exact)) return static_cast<double>(actual) == exact ? 0 : kInfinity;
  if (std::abs(exact) < kSmallestNormal) return std::abs(static_cast<double>(actual)) <= kSmallestNormal ? 0 : kInfinity;
  int exponent = 0;
  std::frexp(exact, &exponent);
  return std::abs(static_cast<double>(actual) - exact) / std::ldexp(1.0, exponent - 24);
}

struct Worst {
  double error = 0;
  float at = 0;
  void see(double e, float x) {
    if (!(e <= error)) error = e, at = x;
  }
};

struct Curve {
  std::vector<float> value, slope;
};

// f at each x, and its derivative as backward computes it.
Curve run(const Device& device, const std::vector<float>& x, const std::function<Tensor(const Context&, Tensor)>& f) {
  Arena arena;
  Tape tape;
  Context context;
  context.device = &device;
  context.arena = &arena;
  context.tape = &tape;
  const auto n = static_cast<std::int64_t>(x.size());
  const Tensor in = context.variable(std::vector<double>(x.begin(), x.end()), {n, 1});
  const Tensor out = f(context, in);
  tape.backward(context, out, std::vector<double>(x.size(), 1.0));
  const auto values = out.values<float>(), slopes = in.grads<float>();
  return {{values.begin(), values.end()}, {slopes.begin(), slopes.end()}};
}

double sigmoid_of(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }

bool is_nan(F v) { return std::isnan(v[0]) && std::isnan(v[kLanes - 1]); }

}  // namespace

TEST_CASE("exp of everything up to zero is within 1 ulp; a softmax's 2^x within 1.9e-7") {
  Worst of_exp, of_exp2;
  for (const float x : all_kinds()) {
    if (x <= 0) of_exp.see(ulps(exp(splat(x))[0], std::exp(static_cast<double>(x))), x);
    if (std::abs(x) <= 100) of_exp2.see(std::abs(softmax_exp2(splat(x))[0] / std::exp2(static_cast<double>(x)) - 1), x);
    if (x < -100) CHECK(softmax_exp2(splat(x))[0] == 0x1p-100f);
    if (x > 126) CHECK(softmax_exp2(splat(x))[0] >= 0x1p126f);
  }
  INFO("exp at ", of_exp.at, ", 2^x at ", of_exp2.at);
  CHECK(of_exp.error <= 1);
  CHECK(of_exp2.error <= 1.9e-7);
  CHECK(exp(splat(-0.0f))[0] == 1);
  CHECK(softmax_exp2(splat(0.0f))[0] == 1);
  for (const std::uint32_t payload : {0u, 1u, 0x1FFu, 0x3FFFFFu}) {  // what lies in a NaN's low bits must not turn it into a number
    const std::uint32_t bits = 0x7FC00000u | payload;
    float nan = 0;
    std::memcpy(&nan, &bits, sizeof nan);
    CHECK(is_nan(exp(splat(nan))));
    CHECK(is_nan(softmax_exp2(splat(nan))));
    CHECK(is_nan(sigmoid(splat(nan))));
    CHECK(is_nan(log_sigmoid(splat(nan))));
    CHECK(is_nan(normal(splat(nan)).distribution));
  }
}

TEST_CASE("log sigmoid is within 4 ulp and sigmoid within 2.5 everywhere, on every level") {
  const auto& x = all_kinds();
  for (const Device* device : cpu_levels()) {
    const Curve curve = run(*device, x, [](const Context& c, Tensor t) { return log_sigmoid(c, t); });
    Worst of_log, of_sigmoid;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double z = x[i];
      of_log.see(ulps(curve.value[i], std::min(z, 0.0) - std::log1p(std::exp(-std::abs(z)))), x[i]);
      of_sigmoid.see(ulps(curve.slope[i], sigmoid_of(-z)), x[i]);
    }
    INFO(device->name, ": log sigmoid at ", of_log.at, ", sigmoid at ", -of_sigmoid.at);
    CHECK(of_log.error <= 4);
    CHECK(of_sigmoid.error <= 2.5);
  }
}

TEST_CASE("gelu and its slope are within 3e-7 of the normal distribution's scale, on every level") {
  std::vector<float> x;
  for (const float z : all_kinds()) {
    if (std::isfinite(z)) x.push_back(z);
  }
  for (const Device* device : cpu_levels()) {
    const Curve curve = run(*device, x, [](const Context& c, Tensor t) {
      return linear(c, t, c.constant(std::vector<float>{1}, {1, 1}), {}, Activation::gelu);
    });
    Worst of_gelu, of_tail, of_slope;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double z = x[i], phi = 0.39894228040143267794 * std::exp(-0.5 * z * z), distribution = 0.5 * std::erfc(-z * std::sqrt(0.5));
      const double tiny = 2 * kSmallestNormal;
      of_gelu.see((std::abs(curve.value[i] - z * distribution) - tiny) / (std::abs(z) + tiny), x[i]);
      if (z > -12.5) of_tail.see((std::abs(curve.value[i] - z * distribution) - tiny) / (std::abs(z * distribution) + tiny), x[i]);
      of_slope.see(std::abs(curve.slope[i] - (distribution + z * phi)), x[i]);
    }
    INFO(device->name, ": gelu at ", of_gelu.at, ", its tail at ", of_tail.at, ", slope at ", of_slope.at);
    CHECK(of_gelu.error <= 3.6e-7);  // Phi's 3e-7 and a rounding
    CHECK(of_tail.error <= 5e-6);
    CHECK(of_slope.error <= 4.5e-7);
  }
}

TEST_CASE("a softmax over two keys is a sigmoid, on every level") {
  std::vector<float> x;
  for (const float z : all_kinds()) {
    if (std::abs(z) < 1e6f) x.push_back(z);
  }
  const auto n = static_cast<std::int32_t>(x.size());
  std::vector<std::int32_t> queries{0}, keys{0};
  std::vector<float> values;
  for (std::int32_t i = 0; i < n; ++i) queries.push_back(i + 1), keys.push_back(2 * i + 2), values.push_back(0), values.push_back(1);
  for (const Device* device : cpu_levels()) {
    Arena arena;
    Context context;
    context.device = device;
    context.arena = &arena;
    std::vector<float> key_values;
    for (const float z : x) key_values.push_back(0), key_values.push_back(z);
    const Tensor q = context.constant(std::vector<float>(x.size(), 1.0f), {n, 1}), k = context.constant(key_values, {2 * n, 1});
    const Tensor out = attention(context, q, k, context.constant(values, {2 * n, 1}), {queries.data(), n}, {keys.data(), n}, 1);
    Worst worst;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = sigmoid_of(x[i]), allowed = 6e-7 + 1.5e-7 * std::abs(x[i]);  // the exponent is rounded
      worst.see((std::abs(out.values<float>()[i] - exact) - 1e-29) / exact / allowed, x[i]);
    }
    INFO(device->name, " at ", worst.at);
    CHECK(worst.error <= 1);
  }
}
