// dropout: masks from the keyed random numbers of engine/base/random.h, the CPU's own. Backward draws them again: nothing is saved.
#include "engine/cuda/device_code.h"
#include "engine/cuda/elements.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

struct Mask {
  const RandomKey* key;
  std::uint32_t site, first_list;
  float p, factor;
};

// One thread for four columns of a row, which share a draw. to = mask * from, or +=. wide: rows are whole quads
__global__ void mask_quads(std::int64_t rows, std::int64_t d, Mask mask, Lists lists, const std::int32_t* list_of_row, const float* from, Gradient to,
                           bool wide) {
  const std::int64_t quads = (d + 3) / 4;
  for (std::int64_t i = first_element(); i < rows * quads; i += element_stride()) {
    const auto [r, quad] = cell_of(i, quads);
    const std::int32_t list = list_of_row[r];
    const auto words = random_quad(*mask.key, mask.site, mask.first_list + static_cast<std::uint32_t>(list),
                                   static_cast<std::uint32_t>(r - lists.offsets[list]), static_cast<std::uint32_t>(quad));
    const std::int64_t at = r * d + 4 * quad;
    const int here = d - 4 * quad < 4 ? static_cast<int>(d - 4 * quad) : 4;
    float v[4];
    if (wide) load_quad(from + at, v);
    for (int c = 0; c < here; ++c) {
      const bool kept = uniform_from_bits(words[static_cast<std::size_t>(c)]) >= mask.p;
      v[c] = kept ? mask.factor * (wide ? v[c] : from[at + c]) : 0.0f;
      if (!wide) put(to.to + at + c, v[c], to.fresh);
    }
    if (wide) put_quad(to.to + at, v, to.fresh);
  }
}

void apply_mask(const Context& context, const Node& node, const float* from, Gradient to) {
  const auto& args = args_of<DropoutArgs>(node);
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  CudaMemory& memory = memory_of(context);
  const Mask mask{memory.copy_of(&args.key, 1), args.site, static_cast<std::uint32_t>(args.first_list), args.p, static_cast<float>(args.factor)};
  launch_elements(memory, mask_quads, rows * ((d + 3) / 4), rows, d, mask, lists_of(memory, args.lists), memory.list_of_row(args.lists), from, to,
                  d % 4 == 0 && can_be_quads(from) && can_be_quads(to.to));
}

void dropout_forward(const Context& context, Node& node) { apply_mask(context, node, value_of(node.inputs[0]), {value_of(node.output), true}); }

void dropout_backward(const Context& context, Node& node) { apply_mask(context, node, output_gradient(node), gradient_of(node, 0)); }

}  // namespace

void set_dropout(const Kernels& kernels) { kernels.set(OpId::dropout, dropout_forward, dropout_backward, 0b1); }

}  // namespace piano::cuda
