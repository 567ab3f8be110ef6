// The op table: everything there is to know of an op. Tests, benchmarks, device parity and docs are made from it.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/core/context.h"
#include "engine/core/device.h"
#include "engine/ops/ops.h"

namespace piano {

struct OpCost {
  double flops = 0;  // multiply-add = 2
  double bytes = 0;  // read and written once
};

// One input of a case: a matrix of random normals (or of values drawn otherwise, by `fill`).
struct CaseInput {
  std::int64_t rows = 0, cols = 0;
  bool differentiable = true;
  bool table = false;                                     // an embedding table: its gradient arrives as rows
  std::function<double(std::int64_t index, double normal)> fill = {};  // value of element `index` from a standard normal; default: the normal
};

// A shape that an op is checked and timed on. `run` gets one tensor per input, made on whichever device.
struct OpCase {
  std::string name;                 // "rows=0", "odd widths", "empty history", ...
  std::vector<CaseInput> inputs;
  std::function<Tensor(const Context&, std::span<const Tensor>)> run;
};

// How a forward can be cut into ranges of its output's rows, for several threads: the same kernel, on a node whose output and some of whose
// inputs are those rows alone. Ranges begin at multiples of kRowBlock, so that padded rows belong to one range only.
struct RowCut {
  bool possible = false;
  std::uint32_t inputs = 0;  // a bit for each input that is cut with the output; the others stay whole
  // Node::args for the rows begin .. end-1, in the arena; null: as they are.
  const void* (*args)(const Node&, std::int64_t begin, std::int64_t end, Arena&) = nullptr;
};

struct Op {
  OpId id{};
  const char* name = "";
  const char* no_gradient = nullptr;         // why there is no backward, or null: differentiable
  const char* specification = "";            // the formula, as text; the scalar reference (engine/ref) is the executable form
  OpCost (*cost)(const Node&) = nullptr;     // of one forward
  RowCut cut{};
  std::vector<OpCase> (*cases)() = nullptr;
};

std::span<const Op> op_table();              // one row per OpId, in order
const Op& op_info(OpId id);

// For the ops' sources: allocates the output and the node, runs the device's forward kernel, records.
// requires_grad of the output: any input's, and only when there is a tape. With context.shared the forward is noted down, not run.
Tensor run_op(const Context&, OpId id, Shape output, std::span<const Tensor> inputs, const void* args);

}  // namespace piano
