// All kernels of one instruction set level, included once by each level_*.cpp. Kernels call no function template of the standard library: the
// linker keeps one copy of a weak function, and it might be one compiled for a newer machine.
#pragma once

#include "engine/cpu/adamw.inl"
#include "engine/cpu/attention.inl"
#include "engine/cpu/dropout.inl"
#include "engine/cpu/elementwise.inl"
#include "engine/cpu/gru.inl"
#include "engine/cpu/layer_norm.inl"
#include "engine/cpu/linear.inl"
#include "engine/cpu/mixture.inl"
#include "engine/cpu/query_attention.inl"
#include "engine/cpu/reduce.inl"
#include "engine/cpu/rows.inl"
#include "engine/ops/ops.h"

namespace piano {
namespace {

void set_kernels(Device& device) {
  prepare_products();
  const auto set = [&](OpId id, Kernel forward, Kernel backward) {
    device.forward[static_cast<int>(id)] = forward;
    device.backward[static_cast<int>(id)] = backward;
  };
  set(OpId::embedding_sum, embedding_sum_forward, embedding_sum_backward);
  set(OpId::gather_rows, gather_rows_forward, gather_rows_backward);
  set(OpId::concat, concat_forward, concat_backward);
  set(OpId::prepend_row, prepend_row_forward, prepend_row_backward);
  set(OpId::linear, linear_forward, linear_backward);
  set(OpId::matmul, matmul_forward, matmul_backward);
  set(OpId::add, add_forward, add_backward);
  set(OpId::mul, mul_forward, mul_backward);
  set(OpId::scale, scale_forward, scale_backward);
  set(OpId::blend, blend_forward, blend_backward);
  set(OpId::dropout, dropout_forward, dropout_backward);
  set(OpId::layer_norm, layer_norm_forward, layer_norm_backward);
  set(OpId::attention, attention_forward, attention_backward);
  set(OpId::split_heads, split_heads_forward, split_heads_backward);
  set(OpId::merge_heads, merge_heads_forward, merge_heads_backward);
  set(OpId::attention_weights, attention_weights_forward, attention_weights_backward);
  set(OpId::match_sum, match_sum_forward, match_sum_backward);
  set(OpId::segment_mean, segment_mean_forward, segment_mean_backward);
  set(OpId::weighted_sum, weighted_sum_forward, weighted_sum_backward);
  set(OpId::mixture, mixture_forward, mixture_backward);
  set(OpId::gru, gru_forward, gru_backward);
  set(OpId::tanh, tanh_forward, tanh_backward);
  set(OpId::log_sigmoid, log_sigmoid_forward, log_sigmoid_backward);
  device.writes_fresh[static_cast<int>(OpId::linear)] = 0b1111;
  device.writes_fresh[static_cast<int>(OpId::matmul)] = 0b11;
  device.writes_fresh[static_cast<int>(OpId::concat)] = (1u << Node::kMaxInputs) - 1;
  device.writes_fresh[static_cast<int>(OpId::prepend_row)] = 0b11;
  device.writes_fresh[static_cast<int>(OpId::add)] = 0b11;
  device.writes_fresh[static_cast<int>(OpId::layer_norm)] = 0b1;
  device.optimiser = {adamw, add_arrays, sum_of_squares};
  if (kPacksWeights) {
    device.packing.elements = packed_elements;
    device.packing.pack = [](std::int64_t out, std::int64_t in, const void* w, void* packed) {
      pack_weights(out, in, static_cast<const float*>(w), static_cast<float*>(packed));
    };
  }
}

}  // namespace
}  // namespace piano
