// For the ops' sources: short ways to write a table row's cases and costs.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/ops/args.h"
#include "engine/ops/op_table.h"

namespace piano {

using Offsets = std::vector<std::int32_t>;
using CaseRun = std::function<Tensor(const Context&, std::span<const Tensor>)>;
using CaseFill = std::function<double(std::int64_t index, double normal)>;

inline Ragged ragged(const Offsets& offsets) { return {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}; }

inline CaseInput matrix(std::int64_t rows, std::int64_t cols) { return {rows, cols}; }
inline CaseInput matrix(std::int64_t rows, std::int64_t cols, CaseFill fill) { return {rows, cols, true, false, std::move(fill)}; }
inline CaseInput table(std::int64_t rows, std::int64_t cols) { return {rows, cols, true, true}; }
// Labels, weights and other inputs without a gradient: the value of each element by its index.
inline CaseInput given(std::int64_t rows, std::function<double(std::int64_t)> element) {
  return {rows, 1, false, false, [element = std::move(element)](std::int64_t i, double) { return element(i); }};
}

// Every input and the output read or written once.
inline double bytes_of(const Node& node) {
  std::int64_t n = node.output->shape.elements();
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    if (node.inputs[i] != nullptr) n += node.inputs[i]->shape.elements();
  }
  return static_cast<double>(n) * static_cast<double>(size_of(node.output->dtype));
}

inline double output_elements(const Node& node) { return static_cast<double>(node.output->shape.elements()); }
inline double output_bytes(const Node& node) { return output_elements(node) * static_cast<double>(size_of(node.output->dtype)); }

// An op that does `flops` of work for each element of its first input.
template <int flops>
OpCost elementwise_cost(const Node& node) {
  return {flops * static_cast<double>(node.inputs[0]->shape.elements()), bytes_of(node)};
}

template <class Args>
const Args& args_of(const Node& node) {
  return *static_cast<const Args*>(node.args);
}

}  // namespace piano
