#include "engine/ops/op_table.h"
#include "engine/ops/shared_forward.h"

namespace piano {

Tensor run_op(const Context& context, OpId id, Shape output, std::span<const Tensor> inputs, const void* args) {
  const auto index = static_cast<std::size_t>(id);
  PIANO_CHECK(inputs.size() <= Node::kMaxInputs, std::string("[") + op_info(id).name + "] expected at most 16 inputs: join them in steps");
  PIANO_CHECK(context.device->forward[index] != nullptr, std::string("[") + op_info(id).name + "] has no kernel on " + context.device->name);

  const Tensor out = context.empty(output);
  Node* node = context.arena->make<Node>();
  node->op = id;
  node->args = args;
  node->output = out.record();
  for (const Tensor& input : inputs) {
    TensorRecord* record = input.record();
    node->inputs[node->input_count++] = record;
    if (record == nullptr) continue;
    PIANO_CHECK(record->dtype == context.dtype(), std::string("[") + op_info(id).name + "] expected inputs of the device's element type");
    if (context.tape != nullptr && record->requires_grad) out.record()->requires_grad = true;
  }
  if (op_info(id).no_gradient != nullptr) out.record()->requires_grad = false;
  if (context.shared != nullptr) {
    PIANO_ASSERT(context.tape == nullptr, "a shared forward is for inference");
    context.shared->add(node);
    return out;
  }
  context.device->forward[index](context, *node);
  if (context.tape != nullptr) context.tape->push(node);
  return out;
}

}  // namespace piano
