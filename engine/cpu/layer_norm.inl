// layer_norm: (x - mean) / sqrt(variance + epsilon) * gamma + beta over each row.
//
// Four rows at a time, two in backward: their sums across lanes, roots and divisions overlap, and gamma, beta and their gradients are loaded once.
// Each row's arithmetic is the same among others as alone.
#pragma once

#include "engine/cpu/math.inl"
#include "engine/cpu/node.inl"

namespace piano {
namespace {

struct RowMoments {
  float mean, reciprocal_deviation;
};

// Calls body(row, rows) for all rows, `rows` an integral constant: `block` or 1.
template <int block, class Body>
inline void for_norm_rows(std::int64_t n, Body body) {
  std::int64_t r = 0;
  for (; r + block <= n; r += block) body(r, Count<block>{});
  for (; r < n; ++r) body(r, Count<1>{});
}

// inputs: x (rows, d), gamma (d), beta (d). Saves RowMoments (rows).
void layer_norm_forward(const Context& context, Node& node) {
  const std::int64_t n_rows = rows_of(node.output), d = cols_of(node.output);
  const float* gamma = value_of(node.inputs[1]);
  const float* beta = value_of(node.inputs[2]);
  RowMoments* saved = nullptr;
  if (context.tape != nullptr) {
    saved = static_cast<RowMoments*>(context.arena->allocate(static_cast<std::size_t>(n_rows) * sizeof(RowMoments)));
  }
  node.saved = saved;
  const float per_column = 1.0f / static_cast<float>(d);

  for_norm_rows<4>(n_rows, [&](std::int64_t first, auto row_count) {
    constexpr int rows = decltype(row_count)::value;
    const float* x = value_of(node.inputs[0]) + first * d;
    float* y = value_of(node.output) + first * d;
    F total[rows] = {}, squares[rows] = {};
    float mean[rows], reciprocal[rows];
    for_vectors(d, [&](std::int64_t i, std::int64_t n) {
      for (int r = 0; r < rows; ++r) total[r] += get(x + r * d + i, n);
    });
    for (int r = 0; r < rows; ++r) mean[r] = sum(total[r]) * per_column;
    for_vectors(d, [&](std::int64_t i, std::int64_t n) {
      for (int r = 0; r < rows; ++r) {
        const F centred = get(x + r * d + i, n) - mean[r], counted = n == kLanes ? centred : first_of(centred, n);
        squares[r] = fma(counted, counted, squares[r]);
      }
    });
    for (int r = 0; r < rows; ++r) {
      reciprocal[r] = 1.0f / __builtin_sqrtf(sum(squares[r]) * per_column + static_cast<float>(kLayerNormEpsilon));
      if (saved != nullptr) saved[first + r] = {mean[r], reciprocal[r]};
    }
    for_vectors(d, [&](std::int64_t i, std::int64_t n) {
      const F gamma_i = get(gamma + i, n), beta_i = get(beta + i, n);
      for (int r = 0; r < rows; ++r) put(y + r * d + i, fma((get(x + r * d + i, n) - mean[r]) * reciprocal[r], gamma_i, beta_i), n);
    });
  });
}

// With u = (x - mean) / deviation and g = dy * gamma: dx += (g - mean(g) - u * mean(g * u)) / deviation, dgamma += dy * u, dbeta += dy
void layer_norm_backward(const Context&, Node& node) {
  const std::int64_t n_rows = rows_of(node.output), d = cols_of(node.output);
  const float* gamma = value_of(node.inputs[1]);
  float* dx = grad_of(node.inputs[0]);
  float* dgamma = grad_of(node.inputs[1]);
  float* dbeta = grad_of(node.inputs[2]);
  const auto* saved = static_cast<const RowMoments*>(node.saved);
  const float per_column = 1.0f / static_cast<float>(d);
  const bool fresh = is_fresh(node, 0);

  for_norm_rows<2>(n_rows, [&](std::int64_t first, auto row_count) {
    constexpr int rows = decltype(row_count)::value;
    const float* x = value_of(node.inputs[0]) + first * d;
    const float* dy = static_cast<const float*>(node.output->grad) + first * d;
    const RowMoments* moments = saved + first;
    F total_g[rows] = {}, total_gu[rows] = {};
    for_vectors(d, [&](std::int64_t i, std::int64_t n) {
      const F gamma_i = get(gamma + i, n);
      F dgamma_i = dgamma != nullptr ? get(dgamma + i, n) : F{}, dbeta_i = dbeta != nullptr ? get(dbeta + i, n) : F{};
      for (int r = 0; r < rows; ++r) {
        const F dy_i = get(dy + r * d + i, n), u = (get(x + r * d + i, n) - moments[r].mean) * moments[r].reciprocal_deviation;
        const F g = dy_i * gamma_i;  // zero beyond the row
        total_g[r] += g;
        total_gu[r] = fma(g, u, total_gu[r]);
        dgamma_i = fma(dy_i, u, dgamma_i);
        dbeta_i += dy_i;
      }
      if (dgamma != nullptr) put(dgamma + i, dgamma_i, n);
      if (dbeta != nullptr) put(dbeta + i, dbeta_i, n);
    });
    if (dx == nullptr) return;
    float mean_g[rows], mean_gu[rows];
    for (int r = 0; r < rows; ++r) mean_g[r] = sum(total_g[r]) * per_column, mean_gu[r] = sum(total_gu[r]) * per_column;
    for_vectors(d, [&](std::int64_t i, std::int64_t n) {
      const F gamma_i = get(gamma + i, n);
      for (int r = 0; r < rows; ++r) {
        const F u = (get(x + r * d + i, n) - moments[r].mean) * moments[r].reciprocal_deviation, g = get(dy + r * d + i, n) * gamma_i;
        float* to = dx + (first + r) * d + i;
        put(to, fma(g - mean_g[r] - u * mean_gu[r], splat(moments[r].reciprocal_deviation), fresh ? F{} : get(to, n)), n);
      }
    });
  });
}

}  // namespace
}  // namespace piano
