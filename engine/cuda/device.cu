// The GPU as a device of the engine.
#include <cuda_runtime.h>

#include "engine/cuda/node.h"

namespace piano {
namespace {

Device make_device() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    throw Error(ErrorCode::usage, "device = cuda: no GPU was found, or its driver is older than this build's CUDA; use device = cpu");
  }
  cudaDeviceProp properties;
  cuda::check(cudaGetDeviceProperties(&properties, 0), "device");
  Device device;
  device.name = std::string("cuda/") + properties.name;
  device.dtype = DType::f32;
  device.make_memory = []() -> std::unique_ptr<DeviceMemory> { return std::make_unique<cuda::CudaMemory>(); };
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

const Device& cuda_device() {
  static const Device device = make_device();
  return device;
}

}  // namespace piano
