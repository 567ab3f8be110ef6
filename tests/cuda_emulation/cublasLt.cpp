#include "tests/cuda_emulation/cublasLt.h"

#include "tests/cuda_emulation/order.h"

namespace piano::emulation {
namespace {

// An input as the tensor cores take it: so many bits of mantissa, the nearest, halves to even.
float rounded(float x, cublasComputeType_t compute) {
  const unsigned dropped = compute == CUBLAS_COMPUTE_32F ? 0 : compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? 13 : 16;
  if (dropped == 0) return x;
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits += (1u << (dropped - 1)) - 1 + (bits >> dropped & 1);
  bits = bits >> dropped << dropped;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

struct Product {
  EmulatedMatmul op;
  float alpha, beta;
  const float *a, *b, *c;
  float* d;
  EmulatedLayout la, lb, lc, ld;

  bool fits() const {
    return (op.a == CUBLAS_OP_N ? la.rows : la.cols) == ld.rows && (op.b == CUBLAS_OP_N ? lb.rows : lb.cols) == k() &&
           (op.b == CUBLAS_OP_N ? lb.cols : lb.rows) == ld.cols && lc.rows == ld.rows && lc.cols == ld.cols;
  }
  std::uint64_t k() const { return op.a == CUBLAS_OP_N ? la.cols : la.rows; }
  static std::size_t place(const EmulatedLayout& l, std::uint64_t row, std::uint64_t column) {
    return static_cast<std::size_t>(column) * static_cast<std::size_t>(l.stride) + static_cast<std::size_t>(row);
  }

  void run() const {
    for (std::uint64_t j = 0; j < la.cols; ++j) reads(a + place(la, 0, j), la.rows * sizeof(float));
    for (std::uint64_t j = 0; j < lb.cols; ++j) reads(b + place(lb, 0, j), lb.rows * sizeof(float));
    if (op.epilogue == CUBLASLT_EPILOGUE_BIAS) reads(op.bias, ld.rows * sizeof(float));
    for (std::uint64_t j = 0; j < ld.cols; ++j) {
      if (beta != 0) reads(c + place(lc, 0, j), lc.rows * sizeof(float));
      writes(d + place(ld, 0, j), ld.rows * sizeof(float));
    }
    std::vector<float> left(ld.rows * k()), right(k());  // op(A) by rows, and a column of op(B), rounded
    for (std::uint64_t i = 0; i < ld.rows; ++i) {
      for (std::uint64_t x = 0; x < k(); ++x) left[i * k() + x] = rounded(a[op.a == CUBLAS_OP_N ? place(la, i, x) : place(la, x, i)], op.compute);
    }
    for (std::uint64_t j = 0; j < ld.cols; ++j) {
      for (std::uint64_t x = 0; x < k(); ++x) right[x] = rounded(b[op.b == CUBLAS_OP_N ? place(lb, x, j) : place(lb, j, x)], op.compute);
      for (std::uint64_t i = 0; i < ld.rows; ++i) {
        float sum = 0;
        for (std::uint64_t x = 0; x < k(); ++x) sum += left[i * k() + x] * right[x];
        float v = alpha * sum;
        if (beta != 0) v += beta * c[place(lc, i, j)];
        if (op.epilogue == CUBLASLT_EPILOGUE_BIAS) v += op.bias[i];
        d[place(ld, i, j)] = v;
      }
    }
  }
};

}  // namespace
}  // namespace piano::emulation

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t op, const void* alpha, const void* a, cublasLtMatrixLayout_t la, const void* b,
                              cublasLtMatrixLayout_t lb, const void* beta, const void* c, cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t*, void*, std::size_t, cudaStream_t stream) {
  const piano::emulation::Product product{*op, *static_cast<const float*>(alpha), *static_cast<const float*>(beta), static_cast<const float*>(a),
                                          static_cast<const float*>(b), static_cast<const float*>(c), static_cast<float*>(d), *la, *lb, *lc, *ld};
  if (!product.fits()) return CUBLAS_STATUS_INVALID_VALUE;
  if (ld->rows == 0 || ld->cols == 0 || product.k() == 0 || !supported(*op, *la, *ld)) return CUBLAS_STATUS_NOT_SUPPORTED;
  do_or_capture(stream, [=](cudaStream_t in) { piano::emulation::act_in(in, [&] { product.run(); }); });
  return CUBLAS_STATUS_SUCCESS;
}
