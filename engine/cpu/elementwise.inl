// Elementwise ops: add, mul, scale, dropout, log_sigmoid.
#pragma once

#include "engine/cpu/math.inl"
#include "engine/cpu/node.inl"

namespace piano {
namespace {

void add_forward(const Context&, Node& node) {
  const float* a = value_of(node.inputs[0]);
  const float* b = value_of(node.inputs[1]);
  float* y = value_of(node.output);
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) y[i] = a[i] + b[i];
}

void add_backward(const Context&, Node& node) {
  const float* dy = static_cast<const float*>(node.output->grad);
  for (int side = 0; side < 2; ++side) {
    if (float* dx = grad_of(node.inputs[side]); dx != nullptr) add_to(dx, dy, elements_of(node.output));
  }
}

void mul_forward(const Context&, Node& node) {
  const float* a = value_of(node.inputs[0]);
  const float* b = value_of(node.inputs[1]);
  float* y = value_of(node.output);
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) y[i] = a[i] * b[i];
}

void mul_backward(const Context&, Node& node) {
  const float* dy = static_cast<const float*>(node.output->grad);
  for (int side = 0; side < 2; ++side) {
    const float* other = value_of(node.inputs[1 - side]);
    float* dx = grad_of(node.inputs[side]);
    if (dx == nullptr) continue;
    for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) dx[i] += dy[i] * other[i];
  }
}

void scale_forward(const Context&, Node& node) {
  const float factor = static_cast<float>(args_of<ScaleArgs>(node).factor);
  const float* x = value_of(node.inputs[0]);
  float* y = value_of(node.output);
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) y[i] = factor * x[i];
}

void scale_backward(const Context&, Node& node) {
  const float factor = static_cast<float>(args_of<ScaleArgs>(node).factor);
  if (float* dx = grad_of(node.inputs[0]); dx != nullptr) {
    add_scaled_to(dx, static_cast<const float*>(node.output->grad), factor, elements_of(node.output));
  }
}

// Philox4x32-10 (engine/base/random.h) for kQuads quads of columns at once. words[w][q]: word w of quad first_quad + q.
constexpr int kQuads = 8;

inline void random_quads(const DropoutArgs& args, std::uint32_t list, std::uint32_t row, std::uint32_t first_quad,
                         std::uint32_t words[4][kQuads]) {
  for (int q = 0; q < kQuads; ++q) {
    words[0][q] = first_quad + static_cast<std::uint32_t>(q);
    words[1][q] = row;
    words[2][q] = list;
    words[3][q] = args.key.step;
  }
  std::uint32_t key0 = static_cast<std::uint32_t>(args.key.seed), key1 = static_cast<std::uint32_t>(args.key.seed >> 32) ^ args.site;
  for (int round = 0; round < 10; ++round) {
    for (int q = 0; q < kQuads; ++q) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * words[0][q];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * words[2][q];
      words[0][q] = static_cast<std::uint32_t>(p1 >> 32) ^ words[1][q] ^ key0;
      words[2][q] = static_cast<std::uint32_t>(p0 >> 32) ^ words[3][q] ^ key1;
      words[1][q] = static_cast<std::uint32_t>(p1);
      words[3][q] = static_cast<std::uint32_t>(p0);
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// inputs: x (rows, d). Saves each element's multiplier (rows, d): 0 or 1 / (1 - p).
void dropout_forward(const Context& context, Node& node) {
  const auto& args = args_of<DropoutArgs>(node);
  const std::int64_t d = cols_of(node.output);
  const float* x = value_of(node.inputs[0]);
  float* y = value_of(node.output);
  const float factor = static_cast<float>(args.factor);
  float* multiplier = scratch(context, elements_of(node.output));
  node.saved = multiplier;

  for (std::int32_t l = 0; l < args.lists.lists; ++l) {
    const std::int32_t begin = args.lists.offsets[l];
    for (std::int32_t r = begin; r < args.lists.offsets[l + 1]; ++r) {
      float* to = multiplier + r * d;
      for (std::int64_t first = 0; first < d; first += 4 * kQuads) {
        std::uint32_t words[4][kQuads];
        random_quads(args, static_cast<std::uint32_t>(args.first_list + l), static_cast<std::uint32_t>(r - begin),
                     static_cast<std::uint32_t>(first / 4), words);
        float block[4 * kQuads];
        for (int q = 0; q < kQuads; ++q) {
          for (int w = 0; w < 4; ++w) {
            const float uniform = static_cast<float>(static_cast<std::int32_t>(words[w][q] >> 8)) * (1.0f / 16777216.0f);
            block[4 * q + w] = uniform >= args.p ? factor : 0.0f;
          }
        }
        copy(to + first, block, d - first < 4 * kQuads ? d - first : 4 * kQuads);
      }
    }
  }
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) y[i] = x[i] * multiplier[i];
}

void dropout_backward(const Context&, Node& node) {
  const float* dy = static_cast<const float*>(node.output->grad);
  const float* multiplier = static_cast<const float*>(node.saved);
  float* dx = grad_of(node.inputs[0]);
  if (dx == nullptr) return;
  for (std::int64_t i = 0, n = elements_of(node.output); i < n; ++i) dx[i] += dy[i] * multiplier[i];
}

void log_sigmoid_forward(const Context&, Node& node) {
  const float* x = value_of(node.inputs[0]);
  float* y = value_of(node.output);
  for_vectors(elements_of(node.output), [&](std::int64_t i, std::int64_t n) { put(y + i, log_sigmoid(get(x + i, n)), n); });
}

// d log s(x) / dx = s(-x)
void log_sigmoid_backward(const Context&, Node& node) {
  const float* x = value_of(node.inputs[0]);
  const float* dy = static_cast<const float*>(node.output->grad);
  float* dx = grad_of(node.inputs[0]);
  if (dx == nullptr) return;
  for_vectors(elements_of(node.output), [&](std::int64_t i, std::int64_t n) {
    put(dx + i, fma(get(dy + i, n), sigmoid(-get(x + i, n)), get(dx + i, n)), n);
  });
}

}  // namespace
}  // namespace piano
