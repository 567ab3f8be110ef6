// Golden files: what PyTorch computed in float64 (tools/golden/make_golden.py), and how far from it a device is.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "engine/base/safetensors.h"
#include "engine/core/device.h"
#include "engine/core/parameters.h"
#include "engine/core/tensor.h"

namespace golden {

using namespace piano;

inline std::string path(const std::string& name) { return "tests/golden/" + name; }  // tests run in the root of the source tree

// A float tensor of either width as doubles.
inline std::vector<double> numbers(const SafetensorsFile& file, const std::string& name) {
  if (file.at(name).dtype == DType::f64) {
    const auto v = file.values<double>(name);
    return {v.begin(), v.end()};
  }
  const auto v = file.values<float>(name);
  return {v.begin(), v.end()};
}

inline std::vector<float> floats(const SafetensorsFile& file, const std::string& name) {
  if (file.find(name) == nullptr) return {};
  const auto v = file.values<float>(name);
  return {v.begin(), v.end()};
}

inline std::vector<std::int32_t> ints(const SafetensorsFile& file, const std::string& name) {
  const auto v = file.values<std::int32_t>(name);
  return {v.begin(), v.end()};
}

inline Shape shape(const TensorInfo& t) {
  switch (t.shape.size()) {
    case 1: return {t.shape[0]};
    case 2: return {t.shape[0], t.shape[1]};
    default: return {};
  }
}

inline double norm(std::span<const double> v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

// |got - expected| / |expected| by norm; infinite when a number is missing or is not finite.
inline double error(std::span<const double> got, std::span<const double> expected) {
  if (got.size() != expected.size()) return INFINITY;
  std::vector<double> difference(got.size());
  for (std::size_t i = 0; i < got.size(); ++i) difference[i] = got[i] - expected[i];
  const double d = norm(difference);
  if (!std::isfinite(d)) return INFINITY;
  return d == 0 ? 0 : d / norm(expected);
}

// The same for the gradient of one parameter. One that is zero in exact arithmetic (a key's bias without a null slot: the softmax does not
// see it) consists of rounding alone, and is measured by 1 % of `whole`, the norm of the whole gradient.
inline double gradient_error(std::span<const double> got, std::span<const double> expected, double whole) {
  if (norm(expected) > 1e-12 * whole) return error(got, expected);
  return got.size() == expected.size() && std::isfinite(norm(got)) ? norm(got) / (0.01 * whole) : INFINITY;
}

inline std::vector<double> values(Tensor t) {
  if (t.dtype() == DType::f64) {
    const auto v = t.values<double>();
    return {v.begin(), v.end()};
  }
  const auto v = t.values<float>();
  return {v.begin(), v.end()};
}

inline std::vector<double> grads(Tensor t) {
  if (t.dtype() == DType::f64) {
    const auto v = t.grads<double>();
    return {v.begin(), v.end()};
  }
  const auto v = t.grads<float>();
  return {v.begin(), v.end()};
}

inline std::vector<double> values(const ParameterStore& store, const Parameter& p) {
  if (store.dtype() == DType::f64) {
    const auto v = store.values<double>(p);
    return {v.begin(), v.end()};
  }
  const auto v = store.values<float>(p);
  return {v.begin(), v.end()};
}

inline void set_values(ParameterStore& store, const Parameter& p, std::span<const double> values) {
  if (store.dtype() == DType::f64) {
    std::copy(values.begin(), values.end(), store.values<double>(p).begin());
  } else {
    std::transform(values.begin(), values.end(), store.values<float>(p).begin(), [](double v) { return static_cast<float>(v); });
  }
}

// The gradient of one parameter, of its full shape: a table's rows are added up.
template <class T>
std::vector<double> gradient_as(Gradients& gradients, const Parameter& p) {
  const auto n = static_cast<std::size_t>(p.shape.elements());
  if (!p.is_table) {
    const auto dense = gradients.dense_as<T>().subspan(p.offset, n);
    return {dense.begin(), dense.end()};
  }
  std::vector<double> sum(n, 0.0);
  const RowGradients& rows = gradients.tables[p.table];
  const auto columns = static_cast<std::size_t>(p.shape.cols());
  for (std::size_t r = 0; r < rows.rows().size(); ++r) {
    for (std::size_t c = 0; c < columns; ++c) {
      sum[static_cast<std::size_t>(rows.rows()[r]) * columns + c] += static_cast<double>(rows.values<T>()[r * columns + c]);
    }
  }
  return sum;
}

inline std::vector<double> gradient(const ParameterStore& store, Gradients& gradients, const Parameter& p) {
  return store.dtype() == DType::f64 ? gradient_as<double>(gradients, p) : gradient_as<float>(gradients, p);
}

// The devices that golden numbers are checked on, and how near they must come by norm.
struct Check {
  const Device* device;
  double tolerance;
};

inline std::vector<Check> devices() {
  std::vector<Check> all{{&reference_device(DType::f64), 1e-9}, {&reference_device(DType::f32), 1e-5}};
  for (const Device* device : cpu_levels()) all.push_back({device, 1e-5});
  return all;
}

}  // namespace golden
