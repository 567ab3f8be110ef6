// segment_mean: out_l = the mean of the rows of list l, or zeros. weighted_sum: out_{l * heads + h} = the sum of w_{r, h} x_r
// over the rows r of list l.
#pragma once

#include "engine/ref/matrix.h"

namespace piano {
namespace {

template <class T>
void segment_mean_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), out = value<T>(node.output);
  const Ragged lists = args<SegmentMeanArgs>(node).lists;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    for (std::int64_t c = 0; c < x.cols; ++c) {
      double sum = 0;
      for (std::int32_t r = lists.begin(l); r < lists.end(l); ++r) sum += x(r, c);
      out(l, c) = lists.size(l) > 0 ? static_cast<T>(sum / lists.size(l)) : T(0);
    }
  }
}

template <class T>
void segment_mean_backward(const Context&, Node& node) {
  const auto dx = grad<T>(node.inputs[0]), dout = grad<T>(node.output);
  const Ragged lists = args<SegmentMeanArgs>(node).lists;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    for (std::int32_t r = lists.begin(l); r < lists.end(l); ++r) add_scaled(dx.row(r), dout.row(l), dx.cols, 1.0 / lists.size(l));
  }
}

template <class T>
void weighted_sum_forward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), w = value<T>(node.inputs[1]), out = value<T>(node.output);
  const Ragged lists = args<WeightedSumArgs>(node).lists;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    for (std::int64_t h = 0; h < w.cols; ++h) {
      for (std::int64_t c = 0; c < x.cols; ++c) {
        double sum = 0;
        for (std::int32_t r = lists.begin(l); r < lists.end(l); ++r) sum += double(w(r, h)) * x(r, c);
        out(l * w.cols + h, c) = static_cast<T>(sum);
      }
    }
  }
}

// dx_r += sum_h w_{r, h} dout_{l, h};  dw_{r, h} += x_r . dout_{l, h}
template <class T>
void weighted_sum_backward(const Context&, Node& node) {
  const auto x = value<T>(node.inputs[0]), w = value<T>(node.inputs[1]), dx = grad<T>(node.inputs[0]), dw = grad<T>(node.inputs[1]);
  const auto dout = grad<T>(node.output);
  const Ragged lists = args<WeightedSumArgs>(node).lists;
  for (std::int32_t l = 0; l < lists.lists; ++l) {
    for (std::int32_t r = lists.begin(l); r < lists.end(l); ++r) {
      for (std::int64_t h = 0; h < w.cols; ++h) {
        const T* from = dout.row(l * w.cols + h);
        if (dx) add_scaled(dx.row(r), from, x.cols, w(r, h));
        if (dw) dw(r, h) += static_cast<T>(dot(x.row(r), from, x.cols));
      }
    }
  }
}

}  // namespace
}  // namespace piano
