#include "engine/ops/checks.h"

#include <string>

namespace piano {
namespace {

[[noreturn]] void fail(const CheckedOp& checked, const std::string& expected, const std::string& got) {
  throw Error(ErrorCode::internal,
              "[" + std::string(checked.op) + "] expected " + expected + ", got " + got + ": " + std::string(checked.hint));
}

}  // namespace

void CheckedOp::present(const char* name, const Tensor& x) const {
  if (!x) fail(*this, name, "no tensor");
}

void CheckedOp::rows(const char* name, const Tensor& x, std::int64_t rows) const {
  present(name, x);
  if (x.rows() != rows) fail(*this, name + (" with " + std::to_string(rows)) + " rows", std::to_string(x.rows()));
}

void CheckedOp::cols(const char* name, const Tensor& x, std::int64_t cols) const {
  present(name, x);
  if (x.cols() != cols) fail(*this, name + (" with " + std::to_string(cols)) + " columns", std::to_string(x.cols()));
}

void CheckedOp::padded(const char* name, const Tensor& x) const {
  if (x && !x.record()->padded && padded_rows(x.rows()) != x.rows()) {
    fail(*this, name + std::string(" in memory with room for whole blocks of rows"), "a parameter of " + std::to_string(x.rows()) + " rows (gather_rows copies it)");
  }
}

void CheckedOp::elements(const char* name, const Tensor& x, std::int64_t n) const {
  present(name, x);
  if (x.shape().elements() != n) fail(*this, name + (" with " + std::to_string(n)) + " elements", to_string(x.shape()));
}

void CheckedOp::same_shape(const char* name, const Tensor& x, const Tensor& as) const {
  present(name, x);
  if (!(x.shape() == as.shape())) fail(*this, name + (" of shape " + to_string(as.shape())), to_string(x.shape()));
}

void CheckedOp::lists(const char* name, Ragged lists, std::int64_t rows) const {
  const bool from_0 = lists.lists == 0 || lists.offsets[0] == 0;
  std::int32_t signs = 0;  // of the sizes
#pragma omp simd reduction(| : signs)
  for (std::int32_t l = 0; l < lists.lists; ++l) signs |= lists.size(l);
  if (!from_0 || signs < 0) fail(*this, name + std::string(" offsets that start at 0 and do not decrease"), "others");
  if (lists.rows() != rows) fail(*this, name + (" lists over " + std::to_string(rows)) + " rows", std::to_string(lists.rows()));
}

void CheckedOp::indices(const char* name, std::span<const std::int32_t> index, std::int64_t n) const {
  // All at once, as nearly always nothing is wrong: the sign of an index, or of what is left up to the last.
  const auto last = static_cast<std::uint32_t>(n - 1);
  std::uint32_t signs = 0;
  const std::int32_t* begin = index.data();
#pragma omp simd reduction(| : signs)
  for (std::size_t i = 0; i < index.size(); ++i) signs |= static_cast<std::uint32_t>(begin[i]) | (last - static_cast<std::uint32_t>(begin[i]));
  if (signs >> 31 == 0) return;
  for (const std::int32_t i : index) {
    if (i < 0 || i >= n) fail(*this, name + (" in 0 .. " + std::to_string(n - 1)), std::to_string(i));
  }
}

}  // namespace piano
