// Ops that move rows: gather_rows, concat, prepend_row.
#pragma once

#include "engine/ref/matrix.h"

namespace piano {
namespace {

// out_r = x_{index_r}
template <class T>
void gather_rows_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), out = value<T>(node.output);
  const auto index = args<GatherRowsArgs>(node).index;
  for (std::int64_t r = 0; r < out.rows; ++r) std::copy_n(x.row(index[static_cast<std::size_t>(r)]), out.cols, out.row(r));
}

template <class T>
void gather_rows_backward(const Context&, Node& node) {
  const auto dx = grad<T>(node.inputs[0]), dout = grad<T>(node.output);
  const auto index = args<GatherRowsArgs>(node).index;
  for (std::int64_t r = 0; r < dout.rows; ++r) add_scaled(dx.row(index[static_cast<std::size_t>(r)]), dout.row(r), dout.cols, 1);
}

// out_r = [x0_r ; x1_r ; ...]
template <class T>
void concat_forward(const Context&, Node& node) {
  const auto out = value<T>(node.output);
  std::int64_t column = 0;
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    const auto x = value<T>(node.inputs[i]);
    for (std::int64_t r = 0; r < x.rows; ++r) std::copy_n(x.row(r), x.cols, out.row(r) + column);
    column += x.cols;
  }
}

template <class T>
void concat_backward(const Context&, Node& node) {
  const auto dout = grad<T>(node.output);
  std::int64_t column = 0;
  for (std::int32_t i = 0; i < node.input_count; ++i) {
    if (const auto dx = grad<T>(node.inputs[i])) {
      for (std::int64_t r = 0; r < dx.rows; ++r) add_scaled(dx.row(r), dout.row(r) + column, dx.cols, 1);
    }
    column += node.inputs[i]->shape.cols();
  }
}

// List l of the output is first_l, then the rows of list l of x: it begins one row later for each list before it.
template <class T>
void prepend_row_forward(const Context&, Node& node) {
  const auto first = value<T>(node.inputs[0]), x = value<T>(node.inputs[1]), out = value<T>(node.output);
  const Ragged lists = args<PrependRowArgs>(node).lists;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    T* to = out.row(lists.begin(l) + l);
    std::copy_n(first.row(l), out.cols, to);
    std::copy_n(x.row(lists.begin(l)), lists.size(l) * out.cols, to + out.cols);
  }
}

template <class T>
void prepend_row_backward(const Context&, Node& node) {
  const auto dfirst = grad<T>(node.inputs[0]), dx = grad<T>(node.inputs[1]), dout = grad<T>(node.output);
  const Ragged lists = args<PrependRowArgs>(node).lists;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    const T* from = dout.row(lists.begin(l) + l);
    if (dfirst) add_scaled(dfirst.row(l), from, dout.cols, 1);
    if (dx) add_scaled(dx.row(lists.begin(l)), from + dout.cols, lists.size(l) * dout.cols, 1);
  }
}

}  // namespace
}  // namespace piano
