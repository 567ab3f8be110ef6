# The CUDA backend: its kernels for compute capability 8.0 (A100) and 9.0 (H100), and PTX that newer GPUs compile at the first start.
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc does
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
file(GLOB cuda_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/engine/cuda/*.cu)
add_library(piano_cuda OBJECT ${cuda_sources})
set_target_properties(piano_cuda PROPERTIES CUDA_ARCHITECTURES "80-real;90-real;90-virtual" CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF)
target_include_directories(piano_cuda PRIVATE ${PROJECT_SOURCE_DIR})
# random.h's constexpr functions run on the device too.
target_compile_options(piano_cuda PRIVATE --expt-relaxed-constexpr -Xcompiler=-Wall,-Wextra $<$<BOOL:${PIANO_WERROR}>:-Werror=all-warnings>
  $<$<BOOL:${PIANO_WERROR}>:-Xcompiler=-Werror>)
target_sources(piano PRIVATE $<TARGET_OBJECTS:piano_cuda>)
target_link_libraries(piano_cuda PRIVATE CUDA::cudart CUDA::cublasLt)
target_link_libraries(piano PRIVATE CUDA::cudart CUDA::cublasLt)
