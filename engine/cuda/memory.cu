#include "engine/cuda/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "engine/base/poison.h"
#include "engine/cuda/device_code.h"
#include "engine/cuda/launch.h"

namespace piano::cuda {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kMinimumBlock = std::size_t{1} << 20;

std::size_t round_up(std::size_t bytes) { return (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment; }

std::byte* allocate_on_device(std::size_t bytes, cudaStream_t stream) {
  void* p = nullptr;
  check(cudaMallocAsync(&p, bytes, stream), "device memory");
  return static_cast<std::byte*>(p);
}

__global__ void add_kernel(std::int64_t n, float* to, const float* from) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) to[i] += from[i];
}

}  // namespace

void check(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  if (status == cudaErrorMemoryAllocation) {
    throw Error(ErrorCode::usage, std::string("[cuda] out of memory: ") + what + "; try a smaller train.batch");
  }
  throw Error(ErrorCode::internal, std::string("[cuda] ") + what + ": " + cudaGetErrorString(status));
}

void check(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw Error(ErrorCode::internal, std::string("[cuda] ") + what + ": cuBLASLt: " + cublasLtGetStatusString(status));
}

void DeviceBlocks::add(std::size_t wanted, std::size_t least) {
  void* p = nullptr;
  std::size_t size = wanted;
  if (wanted > least && cudaMallocAsync(&p, wanted, stream_) != cudaSuccess) {
    cudaGetLastError();  // forgotten: less will do
    p = nullptr;
  }
  if (p == nullptr) p = allocate_on_device(size = least, stream_);
  poison(p, size);  // of a device that is the host (tests): kernels that leave what they were given are found
  blocks_.push_back({static_cast<std::byte*>(p), size});
  offset_ = 0;
}

void DeviceBlocks::release() {
  for (const Block& b : blocks_) {
    unpoison(b.data, b.size);
    cudaFreeAsync(b.data, stream_);
  }
  blocks_.clear();
}

void* DeviceBlocks::allocate(std::size_t bytes) {
  const std::size_t size = round_up(bytes);
  if (blocks_.empty() || offset_ + size > blocks_.back().size) {
    add(std::max({size, kMinimumBlock, blocks_.empty() ? 0 : 2 * blocks_.back().size}), size);
  }
  std::byte* p = blocks_.back().data + offset_;
  offset_ += size;
  unpoison(p, bytes);
  return p;
}

void DeviceBlocks::reset(std::size_t wanted) {
  std::size_t total = 0;
  for (const Block& b : blocks_) total += b.size;
  if (blocks_.size() > 1 || total < wanted) {
    total = std::max(total, wanted);
    release();
    check(cudaStreamSynchronize(stream_), "kernels");  // so that the blocks are the device's again before it is asked for one as large as all
    cudaMemPool_t pool;
    check(cudaDeviceGetDefaultMemPool(&pool, 0), "device memory");
    check(cudaMemPoolTrimTo(pool, 0), "device memory");
    add(total, total);
  } else if (!blocks_.empty()) {
    poison(blocks_.back().data, offset_);
  }
  offset_ = 0;
}

Staging::Staging(cudaStream_t copies) : copies_(copies) { check(cudaEventCreateWithFlags(&copied_, cudaEventDisableTiming), "event"); }

Staging::~Staging() {
  release();
  cudaEventDestroy(copied_);
}

void Staging::add(std::size_t bytes) {
  void* host = nullptr;
  check(cudaMallocHost(&host, bytes), "pinned memory");
  blocks_.push_back({static_cast<std::byte*>(host), nullptr, 0, 0, 0});  // room for nothing, should its twin be refused
  blocks_.back().device = allocate_on_device(bytes, copies_);
  blocks_.back().size = bytes;
}

void Staging::release() {
  for (const Block& b : blocks_) {
    cudaFreeHost(b.host);
    cudaFreeAsync(b.device, copies_);
  }
  blocks_.clear();
}

DeviceMemory::Staged Staging::stage(std::size_t bytes) {
  const std::size_t size = round_up(bytes);
  if (blocks_.empty() || blocks_.back().used + size > blocks_.back().size) {
    add(std::max({size, kMinimumBlock, blocks_.empty() ? 0 : 2 * blocks_.back().size}));
  }
  Block& block = blocks_.back();
  const DeviceMemory::Staged staged{block.host + block.used, block.device + block.used};
  block.used += size;
  return staged;
}

bool Staging::copy() {
  bool any = false;
  for (Block& b : blocks_) {
    if (b.used == b.copied) continue;
    check(cudaMemcpyAsync(b.device + b.copied, b.host + b.copied, b.used - b.copied, cudaMemcpyHostToDevice, copies_), "copy to the device");
    b.copied = b.used, any = true;
  }
  if (any) check(cudaEventRecord(copied_, copies_), "event");
  return any;
}

void Staging::recycle() {
  check(cudaEventSynchronize(copied_), "copy to the device");
  if (blocks_.size() > 1) {
    std::size_t total = 0;
    for (const Block& b : blocks_) total += b.size;
    release();
    add(total);
  }
  for (Block& b : blocks_) b.used = b.copied = 0;
}

CudaMemory::Stream::Stream() { check(cudaStreamCreateWithFlags(&handle, cudaStreamNonBlocking), "stream"); }
CudaMemory::Stream::~Stream() {
  cudaStreamSynchronize(handle);
  cudaStreamDestroy(handle);
}

CudaMemory::CudaMemory(Precision precision)
    : precision_(precision), activations_(stream_.handle), parameters_(stream_.handle), staging_{Staging(copies_.handle), Staging(copies_.handle)},
      watched_(std::getenv("PIANO_CUDA_SYNC") != nullptr) {
  for (cudaEvent_t* event : {&staged_, &read_[0], &read_[1]}) check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "event");
  check(cublasLtCreate(&blas_), "cuBLASLt");
  int shared = 0;
  check(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "device");
  most_shared_ = static_cast<std::size_t>(shared);
}

CudaMemory::~CudaMemory() {
  cudaStreamSynchronize(stream_.handle);
  if (workspace_ != nullptr) cudaFreeAsync(workspace_, stream_.handle);
  cublasLtDestroy(blas_);
  for (const cudaEvent_t event : {staged_, read_[0], read_[1]}) cudaEventDestroy(event);
}

void* CudaMemory::workspace() {
  if (workspace_ == nullptr) workspace_ = allocate_on_device(kWorkspace, stream_.handle);
  return workspace_;
}

void CudaMemory::zero(void* to, std::size_t bytes) {
  if (bytes == 0) return;
  note("memset", [=](cudaStream_t stream) { check(cudaMemsetAsync(to, 0, bytes, stream), "memset"); });
}

void CudaMemory::copy(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  note("copy", [=](cudaStream_t stream) { check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream), "copy on the device"); });
}

void CudaMemory::add(void* to, const void* from, std::int64_t n) {
  launch_elements(*this, add_kernel, n, n, static_cast<float*>(to), static_cast<const float*>(from));
}

void CudaMemory::bring_staged() {
  if (!staging_[turn_].copy()) return;
  check(cudaEventRecord(staged_, copies_.handle), "event");
  check(cudaStreamWaitEvent(stream_.handle, staged_, 0), "event");
}

void CudaMemory::run() {
  const std::vector<const Command*> commands = std::exchange(commands_, {});  // also when one throws: none is started twice
  bring_staged();
  if (times_.on()) return times_.run(commands, stream_.handle);
  for (const Command* command : commands) {
    command->start(command, stream_.handle);
    if (watched_) check(cudaStreamSynchronize(stream_.handle), name_of(*command).c_str());
  }
}

void CudaMemory::run_step() {
  if (most_graphs_ == 0 || watched_ || times_.on()) return run();
  const std::vector<const Command*> commands = std::exchange(commands_, {});
  bring_staged();
  graphs_.run(commands, most_graphs_);
}

void CudaMemory::expect_repeats(std::size_t graphs) {
  most_graphs_ = graphs;
  sizes_.settle(graphs > 0), rooms_.settle(graphs > 0);
}

void CudaMemory::read(std::span<const Part> parts) {
  run();
  for (const Part& part : parts) {
    if (part.bytes > 0) check(cudaMemcpyAsync(part.to, part.from, part.bytes, cudaMemcpyDeviceToHost, stream_.handle), "copy from the device");
  }
  check(cudaStreamSynchronize(stream_.handle), "kernels");
}

void CudaMemory::reset() {
  PIANO_CHECK(commands_.empty(), "[cuda] kernels were noted down and never run");
  check(cudaEventRecord(read_[turn_], stream_.handle), "event");
  turn_ = 1 - turn_;
  check(cudaStreamWaitEvent(copies_.handle, read_[turn_], 0), "event");
  staging_[turn_].recycle();
  activations_.reset();
  notes_.reset();
  sizes_.begin_round(), rooms_.begin_round();
  if (products_.size() > kMostProducts) products_.clear();
  copies_of_.clear(), list_of_row_.clear(), row_sums_.clear(), touches_.clear();
}

const void* CudaMemory::copy_once(const void* from, std::size_t bytes) {
  const void*& copy = copies_of_[{from, bytes}];
  if (copy == nullptr) {
    const Staged staged = stage(bytes);
    if (bytes > 0) std::memcpy(staged.host, from, bytes);
    copy = staged.device;
  }
  return copy;
}

const std::int32_t* CudaMemory::list_of_row(Ragged lists) {
  const std::int32_t*& found = list_of_row_[{lists.offsets, lists.lists}];
  if (found == nullptr) {
    const Staged staged = stage(static_cast<std::size_t>(lists.rows()) * sizeof(std::int32_t));
    auto* list = static_cast<std::int32_t*>(staged.host);
    for (std::int32_t l = 0; l < lists.lists; ++l) std::fill(list + lists.begin(l), list + lists.end(l), l);
    found = static_cast<const std::int32_t*>(staged.device);
  }
  return found;
}

// ---- parameters

void CudaMemory::keep(const ParameterStore& store, Tables tables) {
  PIANO_CHECK(store.dtype() == DType::f32, "[cuda] expected parameters in float32");
  PIANO_CHECK(commands_.empty(), "[cuda] kernels that read the parameters kept before were noted down and never run");
  store_ = &store;
  tables_on_host_ = tables == Tables::host;
  constexpr auto kStride = static_cast<std::size_t>(kGrain);
  std::size_t elements = 0, table_bytes = 0;
  places_.clear();
  for (const Parameter& p : store.parameters()) {
    places_.push_back(elements);
    const auto n = static_cast<std::size_t>(p.shape.elements());
    if (!p.is_table) elements += (n + kStride - 1) / kStride * kStride;
    else if (!tables_on_host_) table_bytes += round_up(n * sizeof(float));
  }
  parameters_.reset(2 * round_up(elements * sizeof(float)) + table_bytes);  // one block, and no more than they need
  dense_ = static_cast<float*>(parameters_.allocate(elements * sizeof(float)));
  dense_gradients_ = static_cast<float*>(parameters_.allocate(elements * sizeof(float)));
  dense_elements_ = static_cast<std::int64_t>(elements);
  for (float* array : {dense_, dense_gradients_}) check(cudaMemsetAsync(array, 0, elements * sizeof(float), stream_.handle), "memset");
  number_rows();
  table_values_.assign(store.table_count(), nullptr);
  for (const Parameter& p : store.parameters()) {
    if (!p.is_table) continue;
    const std::size_t bytes = static_cast<std::size_t>(p.shape.elements()) * sizeof(float);
    table_values_[p.table] = static_cast<float*>(tables_on_host_ ? store.value(p) : parameters_.allocate(bytes));
  }
  for (const Parameter& p : store.parameters()) {
    if (p.is_table && tables_on_host_) continue;
    const std::size_t bytes = static_cast<std::size_t>(p.shape.elements()) * sizeof(float);
    if (bytes > 0) check(cudaMemcpyAsync(value(p), store.value(p), bytes, cudaMemcpyHostToDevice, stream_.handle), "copy to the device");
  }
  check(cudaStreamSynchronize(stream_.handle), "copy to the device");
}

void* CudaMemory::value(const Parameter& p) const {
  PIANO_CHECK(store_ != nullptr, "[cuda] no parameters were kept on the device");
  return p.is_table ? table_values_[p.table] : dense_ + places_[static_cast<std::size_t>(&p - store_->parameters().data())];
}

void* CudaMemory::gradient(const Parameter& p) const { return dense_gradients_ + places_[static_cast<std::size_t>(&p - store_->parameters().data())]; }

}  // namespace piano::cuda
