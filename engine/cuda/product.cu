#include "engine/cuda/product.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "engine/cuda/device_code.h"
#include "engine/cuda/launch.h"

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

// Inputs and results lie in memory as float32; a lesser precision is what the tensor cores round inputs to.
cublasComputeType_t compute_type(Precision precision) {
  switch (precision) {
    case Precision::f32: break;
    case Precision::tf32: return CUBLAS_COMPUTE_32F_FAST_TF32;
    case Precision::bf16: return CUBLAS_COMPUTE_32F_FAST_16BF;
  }
  return CUBLAS_COMPUTE_32F;
}

struct Description {
  explicit Description(Precision precision) { check(cublasLtMatmulDescCreate(&handle, compute_type(precision), CUDA_R_32F), "product"); }
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

// c^T (n, m) = b^T a^T: cuBLASLt's first operand is b, and a matrix that lies transposed for us lies plainly for it.
struct Matrices {
  std::int64_t m, n, k;
  Operand a, b;
  const float* bias;
  float* c;
  std::int64_t stride, added;
  ProductKey key() const {
    return {m, n, k, a.stride, b.stride, stride, a.transposed | b.transposed << 1 | std::int64_t{bias != nullptr} << 2 | added << 3,
            alignment_of(a.data, a.stride), alignment_of(b.data, b.stride), alignment_of(c, stride), alignment_of(bias, 0)};
  }
};

// A warp for each element of c, its lanes along k.
__global__ void multiply_by_hand(Matrices p) {
  for (std::int64_t i = first_warp(); i < p.m * p.n; i += warp_stride()) {
    const std::int64_t row = i / p.n, column = i % p.n;
    float sum = 0;
    for (std::int64_t x = lane(); x < p.k; x += 32) {
      sum += p.a.data[p.a.transposed != 0 ? x * p.a.stride + row : row * p.a.stride + x] *
             p.b.data[p.b.transposed != 0 ? column * p.b.stride + x : x * p.b.stride + column];
    }
    sum = warp_sum(sum);
    if (lane() == 0) put(p.c + row * p.stride + column, p.bias != nullptr ? sum + p.bias[column] : sum, p.added == 0);
  }
}

__global__ void add_bias(std::int64_t rows, std::int64_t d, const float* bias, float* c, std::int64_t stride) {
  for (std::int64_t r = first_warp(); r < rows; r += warp_stride()) {
    for (std::int64_t x = lane(); x < d; x += 32) c[r * stride + x] += bias[x];
  }
}

}  // namespace

// How a product is made: by cuBLASLt with the bias, or with a kernel for the bias behind it, or all by a kernel. cuBLASLt has no way for some sizes
// (say one column with a bias); which ones differs from version to version, so it is asked.
struct ProductPlan {
  ProductPlan(CudaMemory& memory, const Matrices& p)
      : op(memory.precision()), first(p.b.transposed != 0 ? p.n : p.k, p.b.transposed != 0 ? p.k : p.n, p.b.stride),
        second(p.a.transposed != 0 ? p.k : p.m, p.a.transposed != 0 ? p.m : p.k, p.a.stride), result(p.m, p.n, p.stride), name(what(p)) {
    op.set(CUBLASLT_MATMUL_DESC_TRANSA, p.b.transposed != 0 ? CUBLAS_OP_T : CUBLAS_OP_N);
    op.set(CUBLASLT_MATMUL_DESC_TRANSB, p.a.transposed != 0 ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (p.bias != nullptr) {
      op.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      op.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
      adds_bias = choose(memory, p);
      if (!adds_bias) op.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_DEFAULT);
    }
    by_hand = !adds_bias && !choose(memory, p);
    if (best.workspaceSize > 0) memory.workspace();  // now: nothing can be allocated while a graph is captured
  }

  bool choose(CudaMemory& memory, const Matrices& p) {
    Preference wanted;
    wanted.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, CudaMemory::kWorkspace);
    wanted.set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,  // not in place: its order is that in which blocks come
               static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
    wanted.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(p.b.data, p.b.stride));
    wanted.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(p.a.data, p.a.stride));
    wanted.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(p.c, p.stride));
    wanted.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(p.c, p.stride));
    int found = 0;
    best = {};
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(memory.blas(), op.handle, first.handle, second.handle, result.handle, result.handle,
                                                                 wanted.handle, 1, &best, &found);
    if (status == CUBLAS_STATUS_SUCCESS && found > 0 && best.state == CUBLAS_STATUS_SUCCESS) return true;
    best = {};
    if (status != CUBLAS_STATUS_SUCCESS && status != CUBLAS_STATUS_NOT_SUPPORTED) check(status, name.c_str());
    return false;
  }

  static std::string what(const Matrices& p) {
    return "a product of (" + std::to_string(p.m) + ", " + std::to_string(p.k) + ") and (" + std::to_string(p.k) + ", " + std::to_string(p.n) + ")";
  }

  Description op;
  Layout first, second, result;
  std::string name;
  cublasLtMatmulHeuristicResult_t best{};
  bool adds_bias = false, by_hand = false;
};

void product(CudaMemory& memory, std::int64_t m, std::int64_t n, std::int64_t k, Operand a, Operand b, const float* bias, float* c,
             std::int64_t stride, bool added) {
  if (m == 0 || n == 0) return;
  PIANO_CHECK(k > 0, "[cuda] a product over no elements");
  const Matrices p{m, n, k, a, b, bias, c, stride, added};
  ProductPlan& plan = memory.product_plan(p.key(), [&] { return std::make_shared<ProductPlan>(memory, p); });
  if (plan.by_hand) return launch_warps(memory, multiply_by_hand, m * n, p);
  memory.note(plan.name.c_str(), [p, &memory, &plan](cudaStream_t stream) {
    if (plan.adds_bias) plan.op.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    const float one = 1, beta = p.added != 0 ? 1.0f : 0.0f;
    const std::size_t workspace = plan.best.workspaceSize;
    const cublasStatus_t status =
        cublasLtMatmul(memory.blas(), plan.op.handle, &one, p.b.data, plan.first.handle, p.a.data, plan.second.handle, &beta, p.c, plan.result.handle,
                       p.c, plan.result.handle, &plan.best.algo, workspace > 0 ? memory.workspace() : nullptr, workspace, stream);
    if (status != CUBLAS_STATUS_SUCCESS) check(status, plan.name.c_str());
  });
  if (bias != nullptr && !plan.adds_bias) launch_warps(memory, add_bias, m, m, n, bias, c, stride);
}

}  // namespace piano::cuda
