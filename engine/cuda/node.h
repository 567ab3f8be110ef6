// What the host's side of a kernel reads of a node.
#pragma once

#include "engine/core/device.h"
#include "engine/core/tape.h"
#include "engine/cuda/launch.h"
#include "engine/ops/args.h"

namespace piano::cuda {

inline float* value_of(const TensorRecord* t) { return t == nullptr ? nullptr : static_cast<float*>(t->value); }

// Where the gradient of an input goes; null when nobody asks for it.
struct Gradient {
  float* to = nullptr;
  std::int64_t fresh = 0;  // 1: it holds nothing yet: to be written, not added to
  explicit operator bool() const { return to != nullptr; }
};

inline Gradient gradient_of(const Node& node, int i) {
  const TensorRecord* t = node.inputs[i];
  if (t == nullptr || !t->requires_grad) return {};
  return {static_cast<float*>(t->grad), (node.fresh >> i & 1) != 0};
}

inline const float* output_gradient(const Node& node) { return static_cast<const float*>(node.output->grad); }

inline std::int64_t rows_of(const TensorRecord* t) { return t->shape.rows(); }
inline std::int64_t cols_of(const TensorRecord* t) { return t->shape.cols(); }
inline std::int64_t elements_of(const TensorRecord* t) { return t->shape.elements(); }

template <class Args>
const Args& args_of(const Node& node) { return *static_cast<const Args*>(node.args); }

inline float* floats(const Context& context, std::int64_t n) {
  return static_cast<float*>(context.allocate(static_cast<std::size_t>(n) * sizeof(float)));
}

// Lists on the device; without any, offsets is null.
struct Lists {
  const std::int32_t* offsets;
  std::int64_t lists;
};

inline Lists lists_of(CudaMemory& memory, Ragged r) { return {r.lists > 0 ? memory.copy_of(r.offsets, r.lists + 1) : nullptr, r.lists}; }

// Each family says which kernels it has, and which gradients they can write afresh.
struct Kernels {
  Device& device;
  void set(OpId id, Kernel forward, Kernel backward, std::uint32_t writes_fresh) const {
    const auto i = static_cast<std::size_t>(id);
    device.forward[i] = forward, device.backward[i] = backward, device.writes_fresh[i] = writes_fresh;
  }
};

void set_attention(const Kernels& kernels);        // attention.cu
void set_dropout(const Kernels& kernels);          // dropout.cu
void set_elementwise(const Kernels& kernels);      // elementwise.cu
void set_embedding(const Kernels& kernels);        // embedding.cu
void set_gru(const Kernels& kernels);              // gru.cu
void set_linear(const Kernels& kernels);           // linear.cu
void set_losses(const Kernels& kernels);           // losses.cu
void set_list_losses(const Kernels& kernels);      // list_losses.cu
void set_mixture(const Kernels& kernels);          // mixture.cu
void set_norm(const Kernels& kernels);             // norm.cu
void set_query_attention(const Kernels& kernels);  // query_attention.cu
void set_rows(const Kernels& kernels);             // rows.cu
void set_segment(const Kernels& kernels);          // segment.cu

}  // namespace piano::cuda
