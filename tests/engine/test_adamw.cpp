// AdamW on every device against the formula of Loshchilov & Hutter 2019, algorithm 2, written out once more.
#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "engine/base/random.h"
#include "engine/core/device.h"

using namespace piano;

namespace {

constexpr int kElements = 37;  // no multiple of a vector register

double gradient(int step, int i) { return std::sin(1.0 + step * 0.7 + i * 1.3); }

template <class T>
std::vector<double> run(const Device& device, const std::vector<double>& start, double weight_decay, double gradient_scale) {
  std::vector<T> value(start.begin(), start.end()), grad(start.size()), m(start.size()), v(start.size());
  for (int step = 1; step <= 20; ++step) {
    for (int i = 0; i < kElements; ++i) grad[static_cast<std::size_t>(i)] = static_cast<T>(gradient(step, i));
    const AdamWArgs args{1e-2, 0.9, 0.999, 1e-8, weight_decay, 1 - std::pow(0.9, step), 1 - std::pow(0.999, step), gradient_scale};
    device.optimiser.adamw(args, kElements, value.data(), grad.data(), m.data(), v.data());
  }
  return {value.begin(), value.end()};
}

std::vector<double> expected(std::vector<double> value, double weight_decay, double gradient_scale) {
  for (int i = 0; i < kElements; ++i) {
    double m = 0, v = 0, &x = value[static_cast<std::size_t>(i)];
    for (int step = 1; step <= 20; ++step) {
      const double g = gradient_scale * gradient(step, i);
      m = 0.9 * m + 0.1 * g;
      v = 0.999 * v + 0.001 * g * g;
      const double m_hat = m / (1 - std::pow(0.9, step)), v_hat = v / (1 - std::pow(0.999, step));
      x -= 1e-2 * (m_hat / (std::sqrt(v_hat) + 1e-8) + weight_decay * x);
    }
  }
  return value;
}

}  // namespace

TEST_CASE("AdamW") {
  RandomStream random(3, "start");
  std::vector<double> start;
  for (int i = 0; i < kElements; ++i) start.push_back(static_cast<double>(static_cast<float>(random.normal())));
  for (const double weight_decay : {0.0, 0.1}) {
    for (const double gradient_scale : {1.0, 0.25}) {
      const std::vector<double> want = expected(start, weight_decay, gradient_scale);
      const std::vector<double> f64 = run<double>(reference_device(DType::f64), start, weight_decay, gradient_scale);
      for (std::size_t i = 0; i < start.size(); ++i) CHECK(std::abs(f64[i] - want[i]) <= 1e-13);
      std::vector<const Device*> devices(cpu_levels().begin(), cpu_levels().end());
      devices.push_back(&reference_device(DType::f32));
      for (const Device* device : devices) {
        INFO(device->name);
        const std::vector<double> f32 = run<float>(*device, start, weight_decay, gradient_scale);
        for (std::size_t i = 0; i < start.size(); ++i) CHECK(std::abs(f32[i] - want[i]) <= 1e-5);
      }
    }
  }
}
