// Sizes of a tensor: up to four dimensions, row-major, in PyTorch's order.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "engine/base/check.h"

namespace piano {

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
    PIANO_CHECK(dims.size() <= 4, "[shape] at most 4 dimensions");
    int i = 0;
    for (const std::int64_t d : dims) dims_[static_cast<std::size_t>(i++)] = d;
  }

  int rank() const { return rank_; }
  std::int64_t operator[](int i) const { return dims_[static_cast<std::size_t>(i)]; }
  std::int64_t elements() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n *= (*this)[i];
    return n;
  }
  // A tensor seen as a matrix: the last dimension is the columns, all others together are the rows.
  std::int64_t cols() const { return rank_ == 0 ? 1 : (*this)[rank_ - 1]; }
  std::int64_t rows() const { return cols() == 0 ? 0 : elements() / cols(); }

  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<std::int64_t, 4> dims_{};
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "(3, 64)"

}  // namespace piano
