// layer_norm: (x - mean) / sqrt(variance + epsilon) * gamma + beta over each row.
#pragma once

#include "engine/cpu/node.inl"

namespace piano {
namespace {

struct RowMoments {
  float mean, reciprocal_deviation;
};

// inputs: x (rows, d), gamma (d), beta (d). Saves RowMoments (rows).
void layer_norm_forward(const Context& context, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  const float* gamma = value_of(node.inputs[1]);
  const float* beta = value_of(node.inputs[2]);
  RowMoments* saved = nullptr;
  if (context.tape != nullptr) {
    saved = static_cast<RowMoments*>(context.arena->allocate(static_cast<std::size_t>(rows) * sizeof(RowMoments)));
  }
  node.saved = saved;
  const float per_column = 1.0f / static_cast<float>(d);

  for (std::int64_t r = 0; r < rows; ++r) {
    const float* x = value_of(node.inputs[0]) + r * d;
    float* y = value_of(node.output) + r * d;
    F total{};
    for_vectors(d, [&](std::int64_t i, std::int64_t n) { total += get(x + i, n); });
    const float mean = sum(total) * per_column;
    F squares{};
    for_vectors(d, [&](std::int64_t i, std::int64_t n) {
      F centred{};
      if (n == kLanes) {
        centred = load(x + i) - mean;
      } else {
        for (std::int64_t lane = 0; lane < n; ++lane) centred[lane] = x[i + lane] - mean;
      }
      squares = fma(centred, centred, squares);
    });
    const float variance = sum(squares) * per_column;
    const float reciprocal = 1.0f / __builtin_sqrtf(variance + static_cast<float>(kLayerNormEpsilon));
    for_vectors(d, [&](std::int64_t i, std::int64_t n) {
      put(y + i, fma((get(x + i, n) - mean) * reciprocal, get(gamma + i, n), get(beta + i, n)), n);
    });
    if (saved != nullptr) saved[r] = {mean, reciprocal};
  }
}

// With u = (x - mean) / deviation and g = dy * gamma: dx += (g - mean(g) - u * mean(g * u)) / deviation, dgamma += dy * u, dbeta += dy
void layer_norm_backward(const Context&, Node& node) {
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  const float* gamma = value_of(node.inputs[1]);
  float* dx = grad_of(node.inputs[0]);
  float* dgamma = grad_of(node.inputs[1]);
  float* dbeta = grad_of(node.inputs[2]);
  const auto* saved = static_cast<const RowMoments*>(node.saved);
  const float per_column = 1.0f / static_cast<float>(d);

  for (std::int64_t r = 0; r < rows; ++r) {
    const float* x = value_of(node.inputs[0]) + r * d;
    const float* dy = static_cast<const float*>(node.output->grad) + r * d;
    const float mean = saved[r].mean, reciprocal = saved[r].reciprocal_deviation;
    F total_g{}, total_gu{};
    for_vectors(d, [&](std::int64_t i, std::int64_t n) {
      const F dy_i = get(dy + i, n);
      const F u = (get(x + i, n) - mean) * reciprocal;
      const F g = dy_i * get(gamma + i, n);  // zero beyond the row
      total_g += g;
      total_gu = fma(g, u, total_gu);
      if (dgamma != nullptr) put(dgamma + i, fma(dy_i, u, get(dgamma + i, n)), n);
      if (dbeta != nullptr) put(dbeta + i, get(dbeta + i, n) + dy_i, n);
    });
    if (dx == nullptr) continue;
    const float mean_g = sum(total_g) * per_column, mean_gu = sum(total_gu) * per_column;
    for_vectors(d, [&](std::int64_t i, std::int64_t n) {
      const F u = (get(x + i, n) - mean) * reciprocal;
      const F g = get(dy + i, n) * get(gamma + i, n);
      put(dx + r * d + i, fma(g - mean_g - u * mean_gu, splat(reciprocal), get(dx + r * d + i, n)), n);
    });
  }
}

}  // namespace
}  // namespace piano
