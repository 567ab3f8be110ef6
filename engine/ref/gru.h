// gru: r = s(x_r + U_r h), z = s(x_z + U_z h), n = tanh(x_n + r (U_n h + b)), h' = (1 - z) n + z h, row by row of each list.
#pragma once

#include <cmath>
#include <vector>

#include "engine/ref/matrix.h"
#include "engine/ref/scalar_functions.h"

namespace piano {
namespace {

// What one unit does at one row: its gates, and q = U_n h + b.
struct GruUnit {
  double r, z, n, q;
};

// `before`: h of the row read before, or null at the first.
template <class T>
GruUnit gru_unit(Matrix<T> x, Matrix<T> u, Matrix<T> b, std::int32_t row, const T* before, std::int64_t c) {
  const std::int64_t d = u.cols;
  const auto product = [&](std::int64_t gate) { return before == nullptr ? 0.0 : dot(u.row(gate * d + c), before, d); };
  GruUnit unit;
  unit.r = sigmoid(x(row, c) + product(0));
  unit.z = sigmoid(x(row, d + c) + product(1));
  unit.q = product(2) + b.data[c];
  unit.n = std::tanh(x(row, 2 * d + c) + unit.r * unit.q);
  return unit;
}

template <class T>
void gru_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), u = value<T>(node.inputs[1]), b = value<T>(node.inputs[2]), out = value<T>(node.output);
  const auto& a = args<GruArgs>(node);
  for (std::int32_t l = 0; l < a.lists.lists; ++l) {
    const T* before = nullptr;
    for (std::int32_t i = 0; i < a.lists.size(l); ++i) {
      const std::int32_t row = a.row(l, i);
      for (std::int64_t c = 0; c < out.cols; ++c) {
        const GruUnit unit = gru_unit(x, u, b, row, before, c);
        out(row, c) = static_cast<T>((1 - unit.z) * unit.n + (before == nullptr ? 0.0 : unit.z * before[c]));
      }
      before = out.row(row);
    }
  }
}

// From the last row that was read to the first, dh being what later rows and the output want of h':
//   dn = dh (1 - z), dz = dh (h - n);  before the activations: n: gn = dn (1 - n^2), z: gz = dz z (1 - z), r: gr = gn q r (1 - r)
//   dx += [gr ; gz ; gn], dq = gn r, db += dq, dU_r += gr h^T, dU_z += gz h^T, dU_n += dq h^T,  dh before = dh z + U^T [gr ; gz ; dq]
template <class T>
void gru_backward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), u = value<T>(node.inputs[1]), b = value<T>(node.inputs[2]), out = value<T>(node.output);
  const auto dx = grad<T>(node.inputs[0]), du = grad<T>(node.inputs[1]), db = grad<T>(node.inputs[2]), dout = grad<T>(node.output);
  const auto& a = args<GruArgs>(node);
  const std::int64_t d = out.cols;
  std::vector<double> dh(static_cast<std::size_t>(d)), g(static_cast<std::size_t>(3 * d));
  for (std::int32_t l = 0; l < a.lists.lists; ++l) {
    std::fill(dh.begin(), dh.end(), 0.0);
    for (std::int32_t i = a.lists.size(l) - 1; i >= 0; --i) {
      const std::int32_t row = a.row(l, i);
      const T* before = i > 0 ? out.row(a.row(l, i - 1)) : nullptr;
      for (std::int64_t c = 0; c < d; ++c) {
        const GruUnit unit = gru_unit(x, u, b, row, before, c);
        double& wanted = dh[static_cast<std::size_t>(c)];
        wanted += dout(row, c);
        const double gn = wanted * (1 - unit.z) * (1 - unit.n * unit.n);
        const double gz = wanted * ((before == nullptr ? 0.0 : double(before[c])) - unit.n) * unit.z * (1 - unit.z);
        const double gr = gn * unit.q * unit.r * (1 - unit.r), dq = gn * unit.r;
        if (dx) dx(row, c) += static_cast<T>(gr), dx(row, d + c) += static_cast<T>(gz), dx(row, 2 * d + c) += static_cast<T>(gn);
        if (db) db.data[c] += static_cast<T>(dq);
        g[static_cast<std::size_t>(c)] = gr, g[static_cast<std::size_t>(d + c)] = gz, g[static_cast<std::size_t>(2 * d + c)] = dq;
        wanted *= unit.z;
      }
      if (before == nullptr) continue;
      for (std::int64_t k = 0; k < 3 * d; ++k) {
        if (du) add_scaled(du.row(k), before, d, g[static_cast<std::size_t>(k)]);
        for (std::int64_t c = 0; c < d; ++c) dh[static_cast<std::size_t>(c)] += g[static_cast<std::size_t>(k)] * u(k, c);
      }
    }
  }
}

}  // namespace
}  // namespace piano
