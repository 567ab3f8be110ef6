#include "engine/cuda/product.h"

#include <algorithm>
#include <cstdint>

namespace piano::cuda {
namespace {

// As many bytes as the address is a multiple of, up to what the widest loads want.
std::uint32_t alignment_of(const void* p, std::int64_t stride) {
  const auto bits = reinterpret_cast<std::uintptr_t>(p) | static_cast<std::uintptr_t>(stride) * sizeof(float) | 256u;
  return static_cast<std::uint32_t>(bits & (~bits + 1));
}

// cuBLASLt's view of a row-major (rows, cols) matrix.
struct Layout {
  Layout(std::int64_t rows, std::int64_t cols, std::int64_t stride) {
    check(cublasLtMatrixLayoutCreate(&handle, CUDA_R_32F, static_cast<std::uint64_t>(cols), static_cast<std::uint64_t>(rows), stride), "layout");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(handle); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  cublasLtMatrixLayout_t handle{};
};

struct Description {
  Description() { check(cublasLtMatmulDescCreate(&handle, CUBLAS_COMPUTE_32F, CUDA_R_32F), "product"); }
  ~Description() { cublasLtMatmulDescDestroy(handle); }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;
  template <class T>
  void set(cublasLtMatmulDescAttributes_t which, T value) {
    check(cublasLtMatmulDescSetAttribute(handle, which, &value, sizeof value), "product");
  }
  cublasLtMatmulDesc_t handle{};
};

struct Preference {
  Preference() { check(cublasLtMatmulPreferenceCreate(&handle), "product"); }
  ~Preference() { cublasLtMatmulPreferenceDestroy(handle); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t which, T value) {
    check(cublasLtMatmulPreferenceSetAttribute(handle, which, &value, sizeof value), "product");
  }
  cublasLtMatmulPreference_t handle{};
};

}  // namespace

// c^T (n, m) = b^T a^T: cuBLASLt's first operand is b, and a matrix that lies transposed for us lies plainly for it.
void product(CudaMemory& memory, std::int64_t m, std::int64_t n, std::int64_t k, Operand a, Operand b, const float* bias, float* c,
             std::int64_t stride, bool added) {
  if (m == 0 || n == 0) return;
  PIANO_CHECK(k > 0, "[cuda] a product over no elements");
  memory.note([=, &memory](cudaStream_t stream) {
    Description op;
    op.set(CUBLASLT_MATMUL_DESC_TRANSA, b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    op.set(CUBLASLT_MATMUL_DESC_TRANSB, a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (bias != nullptr) {
      op.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      op.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    const Layout first(b.transposed ? n : k, b.transposed ? k : n, b.stride), second(a.transposed ? k : m, a.transposed ? m : k, a.stride);
    const Layout result(m, n, stride);
    const ProductKey key{m, n, k, a.stride, b.stride, stride, a.transposed | b.transposed << 1 | (bias != nullptr) << 2 | added << 3,
                         alignment_of(a.data, a.stride), alignment_of(b.data, b.stride), alignment_of(c, stride)};
    const auto& algorithm = memory.algorithm(key, [&]() -> CudaMemory::Algorithm {
      Preference wanted;
      wanted.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, CudaMemory::kWorkspace);
      wanted.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(b.data, b.stride));
      wanted.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(a.data, a.stride));
      wanted.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(c, stride));
      wanted.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(c, stride));
      cublasLtMatmulHeuristicResult_t best{};
      int found = 0;
      check(cublasLtMatmulAlgoGetHeuristic(memory.blas(), op.handle, first.handle, second.handle, result.handle, result.handle, wanted.handle, 1,
                                           &best, &found), "choice of a product");
      PIANO_CHECK(found > 0, "[cuda] cuBLASLt knows no way to multiply these matrices");
      return {best.algo, best.workspaceSize};
    });
    const float one = 1, beta = added ? 1.0f : 0.0f;
    check(cublasLtMatmul(memory.blas(), op.handle, &one, b.data, first.handle, a.data, second.handle, &beta, c, result.handle, c, result.handle,
                         &algorithm.choice, algorithm.workspace > 0 ? memory.workspace() : nullptr, algorithm.workspace, stream), "product");
  });
}

}  // namespace piano::cuda
