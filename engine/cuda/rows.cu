// gather_rows, concat, prepend_row.
#include <algorithm>

#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

__global__ void copy_rows(std::int64_t n, std::int64_t d, const float* x, const std::int32_t* index, float* y) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const Cell at = cell_of(i, d);
    y[i] = x[index[at.row] * d + at.column];
  }
}

void gather_rows_forward(const Context& context, Node& node) {
  const auto& index = args_of<GatherRowsArgs>(node).index;
  CudaMemory& memory = memory_of(context);
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory, copy_rows, n, n, cols_of(node.output), value_of(node.inputs[0]),
                  memory.copy_of(index.data(), static_cast<std::int64_t>(index.size())), value_of(node.output));
}

void gather_rows_backward(const Context& context, Node& node) {
  const auto& index = args_of<GatherRowsArgs>(node).index;
  const Gradient dx = gradient_of(node, 0);
  CudaMemory& memory = memory_of(context);
  const RowSums& plan = memory.row_sums(index.data(), static_cast<std::int64_t>(index.size()), rows_of(node.inputs[0]));
  sum_rows(memory, plan, output_gradient(node), cols_of(node.output), dx.to, dx.fresh);
}

// Some of the matrices that lie side by side in a wide one: x[i] is its columns begin[i] .. begin[i] + width[i] - 1.
struct Columns {
  std::int64_t count = 0;
  const float* x[Node::kMaxInputs] = {};
  Gradient dx[Node::kMaxInputs];
  std::int32_t begin[Node::kMaxInputs] = {}, width[Node::kMaxInputs] = {};
};

// A warp for each row, its lanes along a matrix's columns; blockIdx.y is the matrix.
__global__ void join_columns(std::int64_t rows, std::int64_t d, Columns parts, float* y) {
  const int i = static_cast<int>(blockIdx.y);
  for (std::int64_t r = first_warp(); r < rows; r += warp_stride()) {
    for (std::int64_t c = lane(); c < parts.width[i]; c += 32) y[r * d + parts.begin[i] + c] = parts.x[i][r * parts.width[i] + c];
  }
}

__global__ void split_columns(std::int64_t rows, std::int64_t d, const float* dy, Columns parts) {
  const int i = static_cast<int>(blockIdx.y);
  for (std::int64_t r = first_warp(); r < rows; r += warp_stride()) {
    for (std::int64_t c = lane(); c < parts.width[i]; c += 32) {
      put(parts.dx[i].to + r * parts.width[i] + c, dy[r * d + parts.begin[i] + c], parts.dx[i].fresh);
    }
  }
}

template <class... P, class... A>
void launch_columns(const Context& context, void (*kernel)(P...), std::int64_t rows, std::int64_t parts, A... args) {
  launch(memory_of(context), kernel, dim3(blocks_for(rows, kThreads / kWarp), static_cast<unsigned>(parts)), dim3(kThreads), 0, rows, args...);
}

// inputs: any number of (rows, d_i) -> (rows, sum d_i)
void concat_forward(const Context& context, Node& node) {
  Columns parts;
  std::int32_t column = 0;
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    const auto width = static_cast<std::int32_t>(cols_of(node.inputs[i]));
    parts.x[parts.count] = value_of(node.inputs[i]), parts.begin[parts.count] = column, parts.width[parts.count++] = width;
    column += width;
  }
  launch_columns(context, join_columns, rows_of(node.output), parts.count, cols_of(node.output), parts, value_of(node.output));
}

// A tensor may be there twice: its gradients are added one after another.
void concat_backward(const Context& context, Node& node) {
  Columns parts;
  std::int32_t column = 0;
  const auto hand_out = [&] {
    launch_columns(context, split_columns, rows_of(node.output), parts.count, cols_of(node.output), output_gradient(node), parts);
    parts = {};
  };
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    const auto width = static_cast<std::int32_t>(cols_of(node.inputs[i]));
    if (const Gradient dx = gradient_of(node, i)) {
      if (std::any_of(parts.dx, parts.dx + parts.count, [&](const Gradient& other) { return other.to == dx.to; })) hand_out();
      parts.dx[parts.count] = dx, parts.begin[parts.count] = column, parts.width[parts.count++] = width;
    }
    column += width;
  }
  hand_out();
}

// Element i of x, whose row r belongs to list l, is in row r + l + 1 of the result; behind x come the elements of `first`.
struct Prepended {
  std::int64_t rows, d;
  Lists lists;
  const std::int32_t* list_of_row;
  __device__ std::int64_t elements() const { return (rows + lists.lists) * d; }
  __device__ std::int64_t place(std::int64_t i) const {
    const auto [row, column] = cell_of(i, d);
    const std::int64_t list = row < rows ? list_of_row[row] : row - rows;
    return (row < rows ? row + list + 1 : lists.offsets[list] + list) * d + column;
  }
};

__global__ void prepend_values(Prepended at, const float* first, const float* x, float* y) {
  const std::int64_t own = at.rows * at.d;
  for (std::int64_t i = first_element(); i < at.elements(); i += element_stride()) y[at.place(i)] = i < own ? x[i] : first[i - own];
}

__global__ void prepend_gradients(Prepended at, const float* dy, Gradient dfirst, Gradient dx) {
  const std::int64_t own = at.rows * at.d;
  for (std::int64_t i = first_element(); i < at.elements(); i += element_stride()) {
    if (i < own && dx.to != nullptr) put(dx.to + i, dy[at.place(i)], dx.fresh);
    if (i >= own && dfirst.to != nullptr) put(dfirst.to + i - own, dy[at.place(i)], dfirst.fresh);
  }
}

Prepended prepended(CudaMemory& memory, const Node& node) {
  const Ragged lists = args_of<PrependRowArgs>(node).lists;
  return {rows_of(node.inputs[1]), cols_of(node.output), lists_of(memory, lists), memory.list_of_row(lists)};
}

void prepend_row_forward(const Context& context, Node& node) {
  CudaMemory& memory = memory_of(context);
  launch_elements(memory, prepend_values, elements_of(node.output), prepended(memory, node), value_of(node.inputs[0]), value_of(node.inputs[1]),
                  value_of(node.output));
}

void prepend_row_backward(const Context& context, Node& node) {
  CudaMemory& memory = memory_of(context);
  launch_elements(memory, prepend_gradients, elements_of(node.output), prepended(memory, node), output_gradient(node), gradient_of(node, 0),
                  gradient_of(node, 1));
}

}  // namespace

void set_rows(const Kernels& kernels) {
  kernels.set(OpId::gather_rows, gather_rows_forward, gather_rows_backward, 0b1);
  kernels.set(OpId::concat, concat_forward, concat_backward, (1u << Node::kMaxInputs) - 1);
  kernels.set(OpId::prepend_row, prepend_row_forward, prepend_row_backward, 0b11);
}

}  // namespace piano::cuda
