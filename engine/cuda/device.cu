// The GPU as a device of the engine.
#include <cuda_runtime.h>

#include "engine/cuda/node.h"

namespace piano {

cudaDeviceProp cuda::usable_gpu() {
  int count = 0, driver = 0, pools = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    cudaDriverGetVersion(&driver);  // 1000 * major + 10 * minor; 0 without a driver
    throw Error(ErrorCode::usage, std::string("device = cuda: no GPU was found (") + (status != cudaSuccess ? cudaGetErrorString(status) : "the driver names none") +
                                      "; the driver is for CUDA " + std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10) +
                                      ", this build is of " + std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10) +
                                      "); use device = cpu");
  }
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "device");
  check(cudaDeviceGetAttribute(&pools, cudaDevAttrMemoryPoolsSupported, 0), "device");
  if (properties.major < 8 || pools == 0) {
    throw Error(ErrorCode::usage, std::string("device = cuda: expected a GPU of compute capability 8.0 (A100) or newer with memory pools, got ") +
                                      properties.name + " of " + std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                                      (pools == 0 ? " without memory pools" : "") + "; use device = cpu");
  }
  return properties;
}

namespace {

// A table of kernels for each precision, which is its memory's.
template <Precision precision>
Device make_device(const char* name) {
  const cudaDeviceProp properties = cuda::usable_gpu();
  Device device;
  device.name = std::string("cuda/") + properties.name + name;
  device.dtype = DType::f32;
  device.make_memory = []() -> std::unique_ptr<DeviceMemory> { return std::make_unique<cuda::CudaMemory>(precision); };
  const cuda::Kernels kernels{device};
  cuda::set_attention(kernels);
  cuda::set_dropout(kernels);
  cuda::set_elementwise(kernels);
  cuda::set_embedding(kernels);
  cuda::set_gru(kernels);
  cuda::set_linear(kernels);
  cuda::set_list_losses(kernels);
  cuda::set_losses(kernels);
  cuda::set_mixture(kernels);
  cuda::set_norm(kernels);
  cuda::set_query_attention(kernels);
  cuda::set_rows(kernels);
  cuda::set_segment(kernels);
  return device;
}

}  // namespace

bool built_with_cuda() { return true; }

const Device& cuda_device(Precision precision) {
  if (precision == Precision::tf32) {
    static const Device device = make_device<Precision::tf32>(", tf32");
    return device;
  }
  if (precision == Precision::bf16) {
    static const Device device = make_device<Precision::bf16>(", bf16");
    return device;
  }
  static const Device device = make_device<Precision::f32>("");
  return device;
}

}  // namespace piano
