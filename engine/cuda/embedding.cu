// embedding_sum: a warp for each bag; in training a thread for each has dropped ids before. Backward notes down what was touched; the rows' gradients
// are added up once, for all ops that read a table (CudaMemory::table_gradients).
#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

__global__ void sum_bags(std::int64_t rows, std::int64_t d, const float* table, const std::int32_t* offsets, const std::int32_t* ids, bool mean,
                         float* y) {
  for (std::int64_t r = first_warp(); r < rows; r += warp_stride()) {
    const std::int64_t begin = offsets != nullptr ? offsets[r] : r, end = offsets != nullptr ? offsets[r + 1] : r + 1;
    const float factor = mean && end > begin ? 1.0f / static_cast<float>(end - begin) : 1.0f;
    for (std::int64_t c = lane(); c < d; c += 32) {
      float sum = 0;
      for (std::int64_t i = begin; i < end; ++i) sum += table[ids[i] * d + c];
      y[r * d + c] = factor * sum;
    }
  }
}

// A thread for each bag.
__global__ void drop_ids(std::int64_t rows, const IdDraws* draws, Lists lists, const std::int32_t* list_of_row, const std::int32_t* offsets,
                         const std::int32_t* ids, std::int32_t* kept) {
  const IdDraws here = *draws;
  for (std::int64_t r = first_element(); r < rows; r += element_stride()) {
    const std::int64_t begin = offsets != nullptr ? offsets[r] : r, end = offsets != nullptr ? offsets[r + 1] : r + 1;
    const std::int32_t list = list_of_row[r];
    here.drop(list, static_cast<std::int32_t>(r - lists.offsets[list]), static_cast<std::int32_t>(end - begin), ids + begin, kept + begin);
  }
}

void embedding_sum_forward(const Context& context, Node& node) {
  const auto& args = args_of<EmbeddingSumArgs>(node);
  const Bags& bags = args.bags;
  if (bags.rows == 0) return;
  CudaMemory& memory = memory_of(context);
  const std::int32_t* offsets = bags.offsets == nullptr ? nullptr : memory.copy_of(bags.offsets, bags.rows + 1);
  const std::int64_t n = bags.offsets == nullptr ? bags.rows : bags.offsets[bags.rows];
  auto table = memory.table_rows(node.inputs[0]->value, bags.ids, n);
  if (args.draws.p > 0) {
    auto* kept = static_cast<std::int32_t*>(context.allocate(static_cast<std::size_t>(memory.room_for(n)) * sizeof(std::int32_t)));
    launch_elements(memory, drop_ids, bags.rows, bags.rows, memory.copy_of(&args.draws, 1), lists_of(memory, args.rows), memory.list_of_row(args.rows),
                    offsets, table.places, kept);
    node.saved = kept, table.places = kept;
  }
  launch_warps(memory, sum_bags, bags.rows, bags.rows, cols_of(node.output), table.rows, offsets, table.places, args.pooling == Pooling::mean,
               value_of(node.output));
}

void embedding_sum_backward(const Context& context, Node& node) {
  const auto& args = args_of<EmbeddingSumArgs>(node);
  const TensorRecord* table = node.inputs[0];
  if (!table->requires_grad) return;
  memory_of(context).touch({static_cast<std::size_t>(table->row_grads - context.gradients->tables.data()), args.bags.offsets, args.bags.ids,
                            args.bags.rows, args.touching, args.pooling == Pooling::mean, output_gradient(node), cols_of(node.output),
                            static_cast<const std::int32_t*>(node.saved)});
}

}  // namespace

void set_embedding(const Kernels& kernels) { kernels.set(OpId::embedding_sum, embedding_sum_forward, embedding_sum_backward, 0); }

}  // namespace piano::cuda
