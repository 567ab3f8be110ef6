// The linear tape: an op computes at once and pushes one node. Creation order is topological order, so backward is one walk in reverse.
#pragma once

#include <cstdint>
#include <span>

#include "engine/core/tensor.h"

namespace piano {

struct Context;
enum class OpId : std::uint8_t;

// What a kernel gets, forward and backward. `inputs` may hold null for an optional input that is absent.
// Backward reads the outputs' grad and adds to the grad (or row_grads) of each input whose requires_grad is set.
struct Node {
  static constexpr int kMaxInputs = 16;
  OpId op{};
  std::int32_t input_count = 0;
  TensorRecord* inputs[kMaxInputs] = {};
  TensorRecord* output = nullptr;
  const void* args = nullptr;     // the op's plain argument struct, in the arena
  void* saved = nullptr;          // what forward keeps for backward, in the arena; null in inference
  std::uint32_t fresh = 0;        // backward: bit i is set when the grad of input i holds nothing yet and is to be written, not added to
  Node* previous = nullptr;
};

// What backward does with the memory of values and gradients that it needs no more. Given back, a gradient is written where another just
// was read, in the cache: for a training step, which looks at nothing but the leaves' gradients afterwards.
enum class Spent { kept, given_back };

class Tape {
 public:
  void push(Node* node) { node->previous = last_, last_ = node; }
  void clear() { last_ = nullptr; }
  const Node* last() const { return last_; }

  // Gradients of `loss` (one element) with respect to everything recorded, added into the leaves' grads.
  void backward(const Context& context, Tensor loss, Spent spent = Spent::kept);
  // The same for the scalar sum(seed * output): a vector-Jacobian product. `seed` has output's elements.
  void backward(const Context& context, Tensor output, std::span<const double> seed, Spent spent = Spent::kept);

  // Where a NaN or an infinity came from: the earliest op with a non-finite output, else the first in backward's order that handed a
  // non-finite gradient to an input; null when everything is finite. For error messages: it reads every activation.
  const Node* first_non_finite() const;

 private:
  Node* last_ = nullptr;
};

}  // namespace piano
