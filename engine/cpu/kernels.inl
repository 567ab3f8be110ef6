// All kernels of one instruction set level. Included once by each level_*.cpp, which names its own copy of Eigen first:
//   #define Eigen Eigen_<level>      so that no function of Eigen compiled for one level is linked into another
// Kernels call no function template of the standard library, for the same reason.
#pragma once

#ifndef Eigen
#error "a level names its copy of Eigen before it includes the kernels"
#endif
#define EIGEN_DONT_PARALLELIZE                        // a micro-batch runs on one thread
#define EIGEN_STACK_ALLOCATION_LIMIT (4 * 1024 * 1024)  // packed panels lie on the stack: no heap allocation in a product
#define EIGEN_GEMM_TO_COEFFBASED_THRESHOLD 1          // one algorithm for every number of rows

#include "engine/cpu/adamw.inl"
#include "engine/cpu/attention.inl"
#include "engine/cpu/dropout.inl"
#include "engine/cpu/elementwise.inl"
#include "engine/cpu/layer_norm.inl"
#include "engine/cpu/linear.inl"
#include "engine/cpu/rows.inl"
#include "engine/ops/ops.h"

namespace piano {
namespace {

void set_kernels(Device& device) {
  // Eigen cuts products into blocks by the size of the caches: fixed sizes, so that bits do not depend on the machine.
  Eigen::setCpuCacheSizes(32 * 1024, 1024 * 1024, 8 * 1024 * 1024);
  const auto set = [&](OpId id, Kernel forward, Kernel backward) {
    device.forward[static_cast<int>(id)] = forward;
    device.backward[static_cast<int>(id)] = backward;
  };
  set(OpId::embedding_sum, embedding_sum_forward, embedding_sum_backward);
  set(OpId::gather_rows, gather_rows_forward, gather_rows_backward);
  set(OpId::concat, concat_forward, concat_backward);
  set(OpId::prepend_row, prepend_row_forward, prepend_row_backward);
  set(OpId::linear, linear_forward, linear_backward);
  set(OpId::add, add_forward, add_backward);
  set(OpId::mul, mul_forward, mul_backward);
  set(OpId::scale, scale_forward, scale_backward);
  set(OpId::dropout, dropout_forward, dropout_backward);
  set(OpId::layer_norm, layer_norm_forward, layer_norm_backward);
  set(OpId::attention, attention_forward, attention_backward);
  set(OpId::segment_mean, segment_mean_forward, segment_mean_backward);
  set(OpId::log_sigmoid, log_sigmoid_forward, log_sigmoid_backward);
  device.optimiser.adamw = adamw;
}

}  // namespace
}  // namespace piano
