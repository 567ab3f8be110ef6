// In place of the GPU, in a build without CUDA.
#include "engine/base/error.h"
#include "engine/core/device.h"

namespace piano {

bool built_with_cuda() { return false; }

const Device& cuda_device(Precision) {
  throw Error(ErrorCode::usage, "device = cuda: this binary was built without CUDA; configure with -DPIANO_CUDA=ON where nvcc is, or use device = cpu");
}

}  // namespace piano
