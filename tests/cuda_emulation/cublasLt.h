// cuBLASLt on the host, for tests alone: the calls that engine/cuda/product.cu makes. Matrices are by columns, as there.
#pragma once

#include "tests/cuda_emulation/cuda_runtime.h"

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_NOT_SUPPORTED = 15 };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F = 68, CUBLAS_COMPUTE_32F_FAST_16BF = 75, CUBLAS_COMPUTE_32F_FAST_TF32 = 77 };
enum cudaDataType_t { CUDA_R_32F = 0 };
enum cublasOperation_t { CUBLAS_OP_N = 0, CUBLAS_OP_T = 1 };
enum cublasLtEpilogue_t { CUBLASLT_EPILOGUE_DEFAULT = 1, CUBLASLT_EPILOGUE_BIAS = 4 };
enum cublasLtMatmulDescAttributes_t {
  CUBLASLT_MATMUL_DESC_TRANSA = 3, CUBLASLT_MATMUL_DESC_TRANSB = 4, CUBLASLT_MATMUL_DESC_EPILOGUE = 7, CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8
};
enum cublasLtMatmulPreferenceAttributes_t {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8
};

enum cublasLtReductionScheme_t { CUBLASLT_REDUCTION_SCHEME_NONE = 0, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2 };

struct EmulatedMatmul {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const float* bias = nullptr;
};
struct EmulatedLayout { std::uint64_t rows, cols; std::int64_t stride; };
using cublasLtHandle_t = struct EmulatedBlas*;
using cublasLtMatmulDesc_t = EmulatedMatmul*;
using cublasLtMatrixLayout_t = EmulatedLayout*;
using cublasLtMatmulPreference_t = struct EmulatedPreference*;
struct cublasLtMatmulAlgo_t { int id; };
struct cublasLtMatmulHeuristicResult_t { cublasLtMatmulAlgo_t algo; std::size_t workspaceSize; cublasStatus_t state; };

inline const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED" : "an error of the emulation";
}
inline cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) { return *h = nullptr, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t compute, cudaDataType_t) {
  return *d = new EmulatedMatmul{.compute = compute}, CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return delete d, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t which, const void* value, std::size_t bytes) {
  switch (which) {
    case CUBLASLT_MATMUL_DESC_TRANSA: std::memcpy(&d->a, value, bytes); break;
    case CUBLASLT_MATMUL_DESC_TRANSB: std::memcpy(&d->b, value, bytes); break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE: std::memcpy(&d->epilogue, value, bytes); break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER: std::memcpy(&d->bias, value, bytes); break;
  }
  return CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType_t, std::uint64_t rows, std::uint64_t cols, std::int64_t stride) {
  if (stride < static_cast<std::int64_t>(rows)) return CUBLAS_STATUS_INVALID_VALUE;
  return *l = new EmulatedLayout{rows, cols, stride}, CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { return delete l, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) { return *p = nullptr, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t) { return CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t, const void*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
// What a version of cuBLASLt may have no way for: one column and a bias, and sums of one product. Whoever calls must get on without.
inline bool supported(const EmulatedMatmul& op, const EmulatedLayout& a, const EmulatedLayout& d) {
  return (op.a == CUBLAS_OP_N ? a.cols : a.rows) > 1 && !(d.rows == 1 && op.epilogue == CUBLASLT_EPILOGUE_BIAS);
}

inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t,
                                                     cublasLtMatrixLayout_t, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t, int,
                                                     cublasLtMatmulHeuristicResult_t* results, int* found) {
  if (!supported(*op, *a, *d)) return *found = 0, CUBLAS_STATUS_NOT_SUPPORTED;
  results[0] = {{1}, 0, CUBLAS_STATUS_SUCCESS}, *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

// An input as the tensor cores take it: so many bits of mantissa, the nearest, halves to even.
inline float rounded(float x, cublasComputeType_t compute) {
  const unsigned dropped = compute == CUBLAS_COMPUTE_32F ? 0 : compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? 13 : 16;
  if (dropped == 0) return x;
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  bits += (1u << (dropped - 1)) - 1 + (bits >> dropped & 1);
  bits = bits >> dropped << dropped;
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

// D = alpha op(A) op(B) + beta C, with the epilogue's bias for each row of D
inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t op, const void* alpha, const void* a_data, cublasLtMatrixLayout_t la,
                                     const void* b_data, cublasLtMatrixLayout_t lb, const void* beta, const void* c_data, cublasLtMatrixLayout_t lc,
                                     void* d_data, cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t*, void*, std::size_t, cudaStream_t) {
  if (capturing != nullptr) {
    const float by = *static_cast<const float*>(alpha), add = *static_cast<const float*>(beta);
    capturing->calls.push_back([=, op = *op, la = *la, lb = *lb, lc = *lc, ld = *ld]() mutable {
      cublasLtMatmul(nullptr, &op, &by, a_data, &la, b_data, &lb, &add, c_data, &lc, d_data, &ld, nullptr, nullptr, 0, nullptr);
    });
    return CUBLAS_STATUS_SUCCESS;
  }
  const auto *a = static_cast<const float*>(a_data), *b = static_cast<const float*>(b_data), *c = static_cast<const float*>(c_data);
  const std::uint64_t m = ld->rows, n = ld->cols, k = op->a == CUBLAS_OP_N ? la->cols : la->rows;
  if ((op->a == CUBLAS_OP_N ? la->rows : la->cols) != m || (op->b == CUBLAS_OP_N ? lb->rows : lb->cols) != k ||
      (op->b == CUBLAS_OP_N ? lb->cols : lb->rows) != n || lc->rows != m || lc->cols != n) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (m == 0 || n == 0 || k == 0 || !supported(*op, *la, *ld)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const auto at = [](const float* x, const EmulatedLayout* l, std::uint64_t row, std::uint64_t col) {
    return x[static_cast<std::int64_t>(col) * l->stride + static_cast<std::int64_t>(row)];
  };
  const auto input = [&](const float* x, const EmulatedLayout* l, std::uint64_t row, std::uint64_t col) { return rounded(at(x, l, row, col), op->compute); };
  for (std::uint64_t j = 0; j < n; ++j) {
    for (std::uint64_t i = 0; i < m; ++i) {
      float sum = 0;
      for (std::uint64_t x = 0; x < k; ++x) {
        sum += (op->a == CUBLAS_OP_N ? input(a, la, i, x) : input(a, la, x, i)) * (op->b == CUBLAS_OP_N ? input(b, lb, x, j) : input(b, lb, j, x));
      }
      float v = *static_cast<const float*>(alpha) * sum;
      if (*static_cast<const float*>(beta) != 0) v += *static_cast<const float*>(beta) * at(c, lc, i, j);
      if (op->epilogue == CUBLASLT_EPILOGUE_BIAS) v += op->bias[i];
      static_cast<float*>(d_data)[static_cast<std::int64_t>(j) * ld->stride + static_cast<std::int64_t>(i)] = v;
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}
