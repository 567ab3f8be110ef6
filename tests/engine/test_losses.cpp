// The losses far out, where naive formulas give infinities and NaN, and against values known in closed form.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "engine/core/device.h"
#include "engine/ops/ops.h"

using namespace piano;

namespace {

struct LossAt {
  double loss;
  std::vector<double> slopes;  // by each input
};

// A loss of one row with the given inputs.
LossAt evaluate(const Device& device, const std::vector<double>& inputs, const std::function<Tensor(const Context&, const std::vector<Tensor>&)>& loss) {
  Arena arena;
  Tape tape;
  Context context;
  context.device = &device;
  context.arena = &arena;
  context.tape = &tape;
  std::vector<Tensor> x;
  for (const double& v : inputs) x.push_back(context.variable({&v, 1}, {1, 1}));
  const Tensor result = loss(context, x);
  tape.backward(context, result);
  LossAt at{result.item(), {}};
  for (const Tensor& t : x) {
    at.slopes.push_back(device.dtype == DType::f64 ? t.grads<double>()[0] : static_cast<double>(t.grads<float>()[0]));
  }
  return at;
}

Tensor column(const Context& context, double value) { return context.constant(std::span<const double>(&value, 1), {1, 1}); }

LossAt product(const Device& device, double a, double b, double y) {
  return evaluate(device, {a, b}, [y](const Context& context, const std::vector<Tensor>& x) {
    return product_bce(context, x[0], x[1], column(context, y), column(context, 1));
  });
}

std::vector<const Device*> devices() {
  std::vector<const Device*> all(cpu_levels().begin(), cpu_levels().end());
  all.push_back(&reference_device(DType::f32));
  all.push_back(&reference_device(DType::f64));
  return all;
}

// Equal up to rounding, relative to the value even when that is tiny.
doctest::Approx relative(double value) { return doctest::Approx(value).epsilon(1e-11).scale(0); }

}  // namespace

TEST_CASE("product_bce is finite everywhere") {
  for (const Device* device : devices()) {
    for (const double a : {-1e4, -100.0, -40.0, -1.0, 0.0, 1.0, 40.0, 100.0, 1e4}) {
      for (const double b : {-1e4, -100.0, -40.0, -1.0, 0.0, 1.0, 40.0, 100.0, 1e4}) {
        for (const double y : {0.0, 0.3, 1.0}) {
          INFO(device->name, " a=", a, " b=", b, " y=", y);
          const LossAt at = product(*device, a, b, y);
          CHECK(std::isfinite(at.loss));
          CHECK(at.loss >= -1e-2);
          for (const double slope : at.slopes) {
            CHECK(std::isfinite(slope));
            CHECK(std::abs(slope) <= 1.001);
          }
        }
      }
    }
  }
}

TEST_CASE("product_bce has the limits that the formula has") {
  const Device& device = reference_device(DType::f64);
  const double at_zero = std::log(4.0 / 3.0);  // P = 1/4
  CHECK(product(device, 0, 0, 0).loss == relative(at_zero));
  CHECK(product(device, 0, 0, 1).loss == relative(std::log(4.0)));
  CHECK(product(device, 0, 0, 0).slopes[0] == relative(1.0 / 6.0));
  CHECK(product(device, 0, 0, 1).slopes[0] == relative(-0.5));
  // Both certain and wrong: 1 - P = 2 exp(-40), so the loss is 40 - log 2, and half of its slope is each one's.
  CHECK(product(device, 40, 40, 0).loss == relative(40 - std::log(2.0)));
  CHECK(product(device, 40, 40, 0).slopes[0] == relative(0.5));
  CHECK(product(device, 1e4, 1e4, 0).loss == relative(1e4 - std::log(2.0)));
  CHECK(product(device, 1e4, 1e4, 0).slopes[1] == relative(0.5));
  CHECK(product(device, 40, 40, 1).slopes[0] == relative(-std::exp(-40.0)));
  CHECK(product(device, -40, -40, 1).loss == relative(80));
  CHECK(product(device, -40, -40, 0).slopes[0] == relative(std::exp(-80.0)));
}

TEST_CASE("the other losses are finite for logits of both signs up to 10,000") {
  for (const Device* device : devices()) {
    for (const double x : {-1e4, -100.0, -40.0, 0.0, 40.0, 100.0, 1e4}) {
      for (const double y : {0.0, 1.0, 3.0}) {
        INFO(device->name, " x=", x, " y=", y);
        for (const auto loss : {bce_with_logits, poisson_nll}) {
          const LossAt at = evaluate(*device, {x}, [&](const Context& context, const std::vector<Tensor>& in) {
            return loss(context, in[0], column(context, y), column(context, 1));
          });
          CHECK(std::isfinite(at.loss));
          CHECK(std::isfinite(at.slopes[0]));
        }
        const LossAt at = evaluate(*device, {x}, [&](const Context& context, const std::vector<Tensor>& in) { return log_sigmoid(context, in[0]); });
        CHECK(at.loss == doctest::Approx(x < -50 ? x : -std::log1p(std::exp(-x))).epsilon(1e-5));
        CHECK(std::isfinite(at.slopes[0]));
      }
    }
  }
}

TEST_CASE("poisson_nll keeps its slope where the rate vanishes") {  // the rate is exp(x) there: the derivative of -y x is -y
  const LossAt at = evaluate(reference_device(DType::f64), {-800}, [](const Context& context, const std::vector<Tensor>& in) {
    return poisson_nll(context, in[0], column(context, 2), column(context, 1));
  });
  CHECK(at.loss == 1600);
  CHECK(at.slopes[0] == -2);
}

TEST_CASE("attention_rank_loss in one pass is the sum over all pairs of rows, also where one row has nearly all of the list") {
  for (const double lead : {0.0, 2.0, 40.0, 800.0}) {
    CAPTURE(lead);
    const std::vector<double> s{0.3, -1.2, 0.3 + lead, 2.0, -0.5, 0.3}, t{0, 1, 2, 0, 0, 1};
    const std::size_t n = s.size();
    const auto log_sum = [&](std::size_t without) {  // over the rows but one; n: over all
      double highest = -INFINITY, sum = 0;
      for (std::size_t j = 0; j < n; ++j) highest = std::max(highest, j == without ? -INFINITY : s[j]);
      for (std::size_t j = 0; j < n; ++j) sum += j == without ? 0 : std::exp(s[j] - highest);
      return highest + std::log(sum);
    };
    double loss = 0;
    std::vector<double> slope(n, 0.0);
    for (std::size_t i = 0; i < n; ++i) {
      const double a = t[i] / 4;
      loss -= a * (s[i] - log_sum(n)) + (1 - a) * (log_sum(i) - log_sum(n));
      for (std::size_t j = 0; j < n; ++j) {
        const double p = std::exp(s[j] - log_sum(n));
        slope[j] -= a * ((i == j ? 1 : 0) - p) + (1 - a) * ((i == j ? 0 : std::exp(s[j] - log_sum(i))) - p);
      }
    }
    Arena arena;
    Tape tape;
    Context context;
    context.device = &reference_device(DType::f64);
    context.arena = &arena;
    context.tape = &tape;
    const std::vector<std::int32_t> offsets{0, static_cast<std::int32_t>(n)};
    const Tensor scores = context.variable(s, {static_cast<std::int64_t>(n), 1});
    const Tensor result = attention_rank_loss(context, scores, context.constant(t, {static_cast<std::int64_t>(n), 1}), {offsets.data(), 1});
    tape.backward(context, result);
    CHECK(result.item() == doctest::Approx(loss).epsilon(1e-12));
    for (std::size_t j = 0; j < n; ++j) CHECK(scores.grads<double>()[j] == doctest::Approx(slope[j]).epsilon(1e-10));
  }
}
