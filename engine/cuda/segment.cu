// segment_mean, weighted_sum: a block for each list (and head) and 32 columns.
#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

constexpr int kRowsAtOnce = 8;

// Block (32, kRowsAtOnce), grid (lists, columns / 32, heads). Without w every row weighs 1 / the list's size.
__global__ void sum_lists(Lists lists, std::int64_t d, int heads, const float* x, const float* w, float* y) {
  auto* sums = shared_memory<float>();  // (kRowsAtOnce, 32)
  const std::int64_t l = blockIdx.x, h = blockIdx.z, c = std::int64_t{blockIdx.y} * 32 + threadIdx.x;
  const std::int64_t begin = lists.offsets[l], end = lists.offsets[l + 1];
  float mine = 0;
  if (c < d) {
    for (std::int64_t r = begin + threadIdx.y; r < end; r += kRowsAtOnce) mine += (w == nullptr ? 1.0f : w[r * heads + h]) * x[r * d + c];
  }
  sums[threadIdx.y * 32 + threadIdx.x] = mine;
  __syncthreads();
  if (threadIdx.y != 0 || c >= d) return;
  float sum = 0;
  for (unsigned part = 0; part < kRowsAtOnce; ++part) sum += sums[part * 32 + threadIdx.x];
  y[(l * heads + h) * d + c] = w == nullptr && begin < end ? sum / static_cast<float>(end - begin) : sum;
}

void sum_lists_into(const Context& context, const Node& node, Ragged lists, int heads, const float* w) {
  CudaMemory& memory = memory_of(context);
  const std::int64_t d = cols_of(node.output);
  launch(memory, sum_lists, dim3(static_cast<unsigned>(lists.lists), blocks_for(d, 32), static_cast<unsigned>(heads)), dim3(32, kRowsAtOnce),
         kRowsAtOnce * 32 * sizeof(float), lists_of(memory, lists), d, heads, value_of(node.inputs[0]), w, value_of(node.output));
}

__global__ void spread_means(std::int64_t n, std::int64_t d, Lists lists, const std::int32_t* list_of_row, const float* dy, Gradient dx) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const Cell at = cell_of(i, d);
    const std::int32_t l = list_of_row[at.row];
    put(dx.to + i, dy[l * d + at.column] / static_cast<float>(lists.offsets[l + 1] - lists.offsets[l]), dx.fresh);
  }
}

// dx_r += sum_h w_{r, h} dout_{l, h}
__global__ void spread_sums(std::int64_t n, std::int64_t d, int heads, const std::int32_t* list_of_row, const float* w, const float* dy, Gradient dx) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const auto [r, c] = cell_of(i, d);
    const std::int64_t l = list_of_row[r];
    float sum = 0;
    for (int h = 0; h < heads; ++h) sum += w[r * heads + h] * dy[(l * heads + h) * d + c];
    put(dx.to + i, sum, dx.fresh);
  }
}

// A warp for each row and head: dw_{r, h} += x_r . dout_{l, h}
__global__ void weigh_rows(std::int64_t n, std::int64_t d, int heads, const std::int32_t* list_of_row, const float* x, const float* dy, Gradient dw) {
  for (std::int64_t i = first_warp(); i < n; i += warp_stride()) {
    const std::int64_t r = i / heads, h = i % heads;
    const float* from = dy + (list_of_row[r] * heads + h) * d;
    float dot = 0;
    for (std::int64_t c = lane(); c < d; c += 32) dot += x[r * d + c] * from[c];
    dot = warp_sum(dot);
    if (lane() == 0) put(dw.to + i, dot, dw.fresh);
  }
}

void segment_mean_forward(const Context& context, Node& node) {
  sum_lists_into(context, node, args_of<SegmentMeanArgs>(node).lists, 1, nullptr);
}

void segment_mean_backward(const Context& context, Node& node) {
  const Ragged lists = args_of<SegmentMeanArgs>(node).lists;
  CudaMemory& memory = memory_of(context);
  const std::int64_t n = elements_of(node.inputs[0]);
  launch_elements(memory, spread_means, n, n, cols_of(node.output), lists_of(memory, lists), memory.list_of_row(lists), output_gradient(node),
                  gradient_of(node, 0));
}

void weighted_sum_forward(const Context& context, Node& node) {
  const int heads = static_cast<int>(cols_of(node.inputs[1]));
  sum_lists_into(context, node, args_of<WeightedSumArgs>(node).lists, heads, value_of(node.inputs[1]));
}

void weighted_sum_backward(const Context& context, Node& node) {
  const Ragged lists = args_of<WeightedSumArgs>(node).lists;
  const int heads = static_cast<int>(cols_of(node.inputs[1]));
  const std::int64_t rows = lists.rows(), d = cols_of(node.output);
  CudaMemory& memory = memory_of(context);
  const std::int32_t* list = memory.list_of_row(lists);
  if (const Gradient dx = gradient_of(node, 0)) {
    launch_elements(memory, spread_sums, rows * d, rows * d, d, heads, list, value_of(node.inputs[1]), output_gradient(node), dx);
  }
  if (const Gradient dw = gradient_of(node, 1)) {
    launch_warps(memory, weigh_rows, rows * heads, rows * heads, d, heads, list, value_of(node.inputs[0]), output_gradient(node), dw);
  }
}

}  // namespace

void set_segment(const Kernels& kernels) {
  kernels.set(OpId::segment_mean, segment_mean_forward, segment_mean_backward, 0b1);
  kernels.set(OpId::weighted_sum, weighted_sum_forward, weighted_sum_backward, 0b11);
}

}  // namespace piano::cuda
