// Streams, events and memory. A stream does at once what it is asked to, but as somebody else than the host (order.h).
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "tests/cuda_emulation/cuda_runtime.h"
#include "tests/cuda_emulation/grid.h"
#include "tests/cuda_emulation/order.h"

using namespace piano::emulation;

struct EmulatedStream {
  Actor actor = new_actor();
  char asked = 0, done = 0;  // their addresses: where the stream comes after the host, and the host after the stream
};
struct EmulatedEvent {};

namespace {

EmulatedStream& of(cudaStream_t stream) {
  static EmulatedStream the_default;
  return stream == nullptr ? the_default : *stream;
}

// While it lives it is the stream that acts, after all that it and the host have done.
class Acting {
 public:
  explicit Acting(cudaStream_t stream) : host_(acting()) {
    before(&of(stream).asked);
    act_as(of(stream).actor);
    after(&of(stream).asked);
  }
  ~Acting() { act_as(host_); }
  Acting(const Acting&) = delete;
  Acting& operator=(const Acting&) = delete;

 private:
  Actor host_;
};

void* allocate(std::size_t bytes) {
  void* const p = std::aligned_alloc(256, (std::max<std::size_t>(bytes, 1) + 255) / 256 * 256);
  if (p != nullptr) std::memset(p, 0xFF, bytes);
  return p;
}

std::atomic<std::int64_t> in_use = 0;

}  // namespace

namespace piano::emulation {

void run_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes, void (*thread)(void*), const void* arguments, std::size_t bytes) {
  draw_order(grid, block);
  const Acting as(stream);
  run_grid(grid, block, shared_bytes, thread, arguments, bytes);
}

void copy(cudaStream_t stream, void* to, const void* from, std::size_t bytes) {
  const Acting as(stream);
  std::memcpy(to, from, bytes);
}

void fill(cudaStream_t stream, void* to, int value, std::size_t bytes) {
  const Acting as(stream);
  std::memset(to, value, bytes);
}

void act_in(cudaStream_t stream, const std::function<void()>& act) {
  const Acting as(stream);
  act();
}

std::int64_t memory_in_use() { return in_use; }

}  // namespace piano::emulation

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) { return *s = new EmulatedStream, cudaSuccess; }

cudaError_t cudaStreamDestroy(cudaStream_t s) {
  end_actor(s->actor);
  return delete s, cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  forbidden_while_capturing("a wait");
  {
    const Acting as(s);
    before(&of(s).done);
  }
  after(&of(s).done);
  return std::exchange(gpu.failed, false) ? cudaErrorLaunchFailure : cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  const Acting as(s);
  return after(e), cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { return *e = new EmulatedEvent, cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t e) { return delete e, cudaSuccess; }

cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  const Acting as(s);
  return before(e), cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  forbidden_while_capturing("a wait");
  return after(e), cudaSuccess;
}

cudaError_t cudaMallocHost(void** p, std::size_t bytes) {
  forbidden_while_capturing("an allocation");
  return *p = allocate(bytes), *p != nullptr ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFreeHost(void* p) { return std::free(p), cudaSuccess; }

cudaError_t cudaMallocAsync(void** p, std::size_t bytes, cudaStream_t s) {
  forbidden_while_capturing("an allocation");
  if (in_use + static_cast<std::int64_t>(bytes) > gpu.memory) return cudaErrorMemoryAllocation;
  const Acting as(s);
  *p = allocate(bytes);
  if (*p == nullptr) return cudaErrorMemoryAllocation;
  return in_use += static_cast<std::int64_t>(malloc_usable_size(*p)), cudaSuccess;
}

cudaError_t cudaFreeAsync(void* p, cudaStream_t s) {
  const Acting as(s);
  if (p != nullptr) in_use -= static_cast<std::int64_t>(malloc_usable_size(p));
  return std::free(p), cudaSuccess;
}
