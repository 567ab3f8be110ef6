#include "engine/core/tape.h"

#include <cmath>

#include "engine/core/context.h"
#include "engine/core/device.h"

namespace piano {
namespace {

// Nobody wrote the gradient yet: it has no memory, or it is a parameter's part of an accumulator and holds what an earlier step left there.
bool unwritten(const TensorRecord& record) {
  return record.grad == nullptr || (record.grad_written != nullptr && *record.grad_written == 0);
}

// Zeroed, or (fresh) the padding rows alone, which kernels of a device with memory of its own leave alone.
void allocate_grad(const Context& context, TensorRecord& record, bool fresh) {
  const auto row_bytes = static_cast<std::size_t>(record.shape.cols()) * size_of(record.dtype);
  const auto bytes = static_cast<std::size_t>(record.shape.rows()) * row_bytes, padded = context.memory != nullptr ? bytes : padded_bytes(record);
  const std::size_t kept = fresh ? bytes : 0;
  record.grad = context.allocate(padded);
  if (kept < padded) context.zero(static_cast<std::byte*>(record.grad) + kept, padded - kept);
}

// All that read this value have had their backward, and its own is over.
void give_back(const Context& context, TensorRecord& record) {
  for (void** memory : {&record.value, &record.grad}) {  // the gradient last: it was read last, and goes first
    context.arena->give_back(*memory, padded_bytes(record));
    *memory = nullptr;
  }
}

template <class T>
void add_seed(const Context& context, TensorRecord& record, std::span<const double> seed) {
  if (context.memory != nullptr) {
    const auto staged = context.memory->stage(seed.size() * sizeof(T));
    for (std::size_t i = 0; i < seed.size(); ++i) static_cast<T*>(staged.host)[i] = static_cast<T>(seed[i]);
    return context.memory->add(record.grad, staged.device, static_cast<std::int64_t>(seed.size()));
  }
  for (std::size_t i = 0; i < seed.size(); ++i) static_cast<T*>(record.grad)[i] += static_cast<T>(seed[i]);
}

template <class T>
bool finite(const void* values, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(static_cast<const T*>(values)[i])) return false;
  }
  return true;
}

bool finite(const void* values, const TensorRecord& record) {
  if (values == nullptr) return true;
  const std::int64_t n = record.shape.elements();
  return record.dtype == DType::f64 ? finite<double>(values, n) : finite<float>(values, n);
}

bool finite_input_grads(const Node& node) {
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    if (node.inputs[i] != nullptr && !finite(node.inputs[i]->grad, *node.inputs[i])) return false;
  }
  return true;
}

}  // namespace

void Tape::backward(const Context& context, Tensor loss, Spent spent) {
  const double one = 1;
  backward(context, loss, {&one, 1}, spent);
}

void Tape::backward(const Context& context, Tensor output, std::span<const double> seed, Spent spent) {
  TensorRecord& root = *output.record();
  PIANO_ASSERT(spent == Spent::kept || context.memory == nullptr, "a device with memory of its own computes later, and keeps what it will read");
  PIANO_CHECK(static_cast<std::int64_t>(seed.size()) == root.shape.elements(),
              "[backward] expected a loss of one element, or a seed of its shape, got shape " + to_string(root.shape));
  if (!root.requires_grad) return;
  if (root.grad == nullptr) allocate_grad(context, root, false);
  root.dtype == DType::f64 ? add_seed<double>(context, root, seed) : add_seed<float>(context, root, seed);

  for (Node* node = last_; node != nullptr; node = node->previous) {
    if (!node->output->requires_grad || node->output->grad == nullptr) continue;  // the loss does not depend on it
    for (std::int32_t i = 0; i < node->input_count; ++i) {
      TensorRecord* input = node->inputs[i];
      const bool wanted = input != nullptr && input->requires_grad && input->row_grads == nullptr;
      if (!wanted || !unwritten(*input)) continue;
      const bool fresh = (context.device->writes_fresh[static_cast<std::size_t>(node->op)] >> i & 1) != 0;
      if (input->grad == nullptr) {
        allocate_grad(context, *input, fresh);
      } else {
        if (!fresh) context.zero(input->grad, static_cast<std::size_t>(input->shape.elements()) * size_of(input->dtype));
        *input->grad_written = 1;
      }
      if (fresh) node->fresh |= 1u << i;
    }
    const Kernel backward_kernel = context.device->backward[static_cast<std::size_t>(node->op)];
    PIANO_CHECK(backward_kernel != nullptr,
                "[backward] op " + std::to_string(static_cast<int>(node->op)) + " has no backward on " + context.device->name);
    if (spent == Spent::kept) {
      backward_kernel(context, *node);
      continue;
    }
    context.arena->begin_loan();
    backward_kernel(context, *node);
    context.arena->end_loan();
    give_back(context, *node->output);
  }
}

const Node* Tape::first_non_finite() const {
  const Node* earliest = nullptr;
  for (const Node* node = last_; node != nullptr; node = node->previous) {
    if (!finite(node->output->value, *node->output)) earliest = node;
  }
  if (earliest != nullptr) return earliest;
  for (const Node* node = last_; node != nullptr; node = node->previous) {
    if (node->output->requires_grad && !finite_input_grads(*node)) return node;
  }
  return nullptr;
}

}  // namespace piano
