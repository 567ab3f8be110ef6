// AdamW (Loshchilov & Hutter 2019, algorithm 2). Plain loops: without contraction every element gets the same bits wherever it lies.
#pragma once

#include <cstdint>

#include "engine/core/device.h"

namespace piano {
namespace {

void adamw(const AdamWArgs& args, std::int64_t n, void* value_data, const void* grad_data, void* m_data, void* v_data) {
  auto* __restrict value = static_cast<float*>(value_data);
  const auto* __restrict grad = static_cast<const float*>(grad_data);
  auto* __restrict m = static_cast<float*>(m_data);
  auto* __restrict v = static_cast<float*>(v_data);
  const auto scale = static_cast<float>(args.gradient_scale), epsilon = static_cast<float>(args.epsilon);
  const auto keep_m = static_cast<float>(args.beta1), take_m = static_cast<float>(1 - args.beta1);
  const auto keep_v = static_cast<float>(args.beta2), take_v = static_cast<float>(1 - args.beta2);
  const auto unbias_m = static_cast<float>(1 / args.bias1), unbias_v = static_cast<float>(1 / args.bias2);
  const auto rate = static_cast<float>(args.learning_rate), decay = static_cast<float>(args.learning_rate * args.weight_decay);
  for (std::int64_t i = 0; i < n; ++i) {
    const float g = grad[i] * scale;
    m[i] = keep_m * m[i] + take_m * g;
    v[i] = keep_v * v[i] + take_v * (g * g);
    const float step = m[i] * unbias_m / (__builtin_sqrtf(v[i] * unbias_v) + epsilon);
    value[i] -= rate * step + decay * value[i];
  }
}

}  // namespace
}  // namespace piano
