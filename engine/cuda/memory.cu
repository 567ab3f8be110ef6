#include "engine/cuda/memory.h"

#include <algorithm>
#include <cstring>
#include <string>

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
  if (status != CUBLAS_STATUS_SUCCESS) throw Error(ErrorCode::internal, std::string("[cuda] ") + what + ": cuBLAS status " + std::to_string(status));
}

void DeviceBlocks::add(std::size_t bytes) {
  blocks_.push_back({allocate_on_device(bytes, stream_), bytes});
  offset_ = 0;
}

void DeviceBlocks::release() {
  for (const Block& b : blocks_) cudaFreeAsync(b.data, stream_);
  blocks_.clear();
}

void* DeviceBlocks::allocate(std::size_t bytes) {
  const std::size_t size = round_up(bytes);
  if (blocks_.empty() || offset_ + size > blocks_.back().size) add(std::max({size, kMinimumBlock, blocks_.empty() ? 0 : 2 * blocks_.back().size}));
  std::byte* p = blocks_.back().data + offset_;
  offset_ += size;
  return p;
}

void DeviceBlocks::reset() {
  if (blocks_.size() > 1) {
    std::size_t total = 0;
    for (const Block& b : blocks_) total += b.size;
    release();
    add(total);
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
  blocks_.push_back({static_cast<std::byte*>(host), allocate_on_device(bytes, copies_), bytes, 0, 0});
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

CudaMemory::CudaMemory()
    : activations_(stream_.handle), parameters_(stream_.handle), staging_{Staging(copies_.handle), Staging(copies_.handle)} {
  for (cudaEvent_t* event : {&staged_, &read_[0], &read_[1]}) check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "event");
  check(cublasLtCreate(&blas_), "cuBLASLt");
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
  note([=](cudaStream_t stream) { check(cudaMemsetAsync(to, 0, bytes, stream), "memset"); });
}

void CudaMemory::add(void* to, const void* from, std::int64_t n) {
  launch_elements(*this, add_kernel, n, n, static_cast<float*>(to), static_cast<const float*>(from));
}

void CudaMemory::run() {
  if (staging_[turn_].copy()) {
    check(cudaEventRecord(staged_, copies_.handle), "event");
    check(cudaStreamWaitEvent(stream_.handle, staged_, 0), "event");
  }
  for (Command* command : commands_) command->call(command, stream_.handle);
  commands_.clear();
}

void CudaMemory::read(void* to, const void* from, std::size_t bytes) {
  run();
  if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_.handle), "copy from the device");
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

const RowSums& CudaMemory::row_sums(const std::int32_t* index, std::int64_t n, std::int64_t targets) {
  const auto [place, is_new] = row_sums_.try_emplace({index, n});
  if (is_new) place->second = make_row_sums({index, static_cast<std::size_t>(n)}, targets);
  return place->second;
}

// ---- parameters

void CudaMemory::keep(const ParameterStore& store) {
  PIANO_CHECK(store.dtype() == DType::f32, "[cuda] expected parameters in float32");
  store_ = &store;
  parameters_.reset();
  constexpr std::size_t kGrain = kAlignment / sizeof(float);
  std::size_t elements = 0;
  places_.clear();
  for (const Parameter& p : store.parameters()) {
    places_.push_back(elements);
    if (!p.is_table) elements += (static_cast<std::size_t>(p.shape.elements()) + kGrain - 1) / kGrain * kGrain;
  }
  dense_ = static_cast<float*>(parameters_.allocate(elements * sizeof(float)));
  dense_gradients_ = static_cast<float*>(parameters_.allocate(elements * sizeof(float)));
  check(cudaMemsetAsync(dense_gradients_, 0, elements * sizeof(float), stream_.handle), "memset");
  table_values_.clear(), place_of_row_.clear();
  for (std::size_t t = 0; t < store.table_count(); ++t) {
    table_values_.push_back(static_cast<float*>(parameters_.allocate(static_cast<std::size_t>(store.table_shape(t).elements()) * sizeof(float))));
    place_of_row_.emplace_back(static_cast<std::size_t>(store.table_shape(t).rows()), -1);
  }
  for (const Parameter& p : store.parameters()) {
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

CudaMemory::TableGradient CudaMemory::table_gradient(std::size_t table) {
  TableGradient gradient;
  std::vector<std::int32_t>& place_of = place_of_row_[table];
  std::vector<std::int32_t> target;         // (entries): place of its row
  std::vector<const float*> from;           // (entries)
  std::vector<float> factor;
  for (const Touch& touch : touches_) {
    if (touch.table != table) continue;
    gradient.d = touch.d;
    for (std::int32_t r = 0; r < touch.rows; ++r) {
      const std::int32_t begin = touch.offsets == nullptr ? r : touch.offsets[r], end = touch.offsets == nullptr ? r + 1 : touch.offsets[r + 1];
      for (std::int32_t i = begin; i < end; ++i) {
        std::int32_t& place = place_of[static_cast<std::size_t>(touch.ids[i])];
        if (place < 0) {
          place = static_cast<std::int32_t>(gradient.rows.size());
          gradient.rows.push_back(touch.ids[i]);
        }
        target.push_back(place);
        from.push_back(touch.dy + r * touch.d);
        factor.push_back(touch.mean ? 1.0f / static_cast<float>(end - begin) : 1.0f);
      }
    }
  }
  for (const std::int32_t row : gradient.rows) place_of[static_cast<std::size_t>(row)] = -1;
  if (gradient.rows.empty()) return gradient;
  const auto rows = static_cast<std::int64_t>(gradient.rows.size());
  gradient.sums = static_cast<float*>(allocate(static_cast<std::size_t>(rows * gradient.d) * sizeof(float)));
  Context context;
  context.memory = this;
  const auto staged = [&](const auto& values) {
    const Staged place = stage(values.size() * sizeof(values[0]));
    std::memcpy(place.host, values.data(), values.size() * sizeof(values[0]));
    return place.device;
  };
  sum_rows(context, make_row_sums(target, rows), static_cast<const float* const*>(staged(from)), static_cast<const float*>(staged(factor)),
           gradient.d, gradient.sums, true);
  return gradient;
}

void CudaMemory::read_row_gradients(std::span<RowGradients> tables) {
  for (std::size_t t = 0; t < tables.size(); ++t) {
    const TableGradient gradient = table_gradient(t);
    std::vector<float> sums(gradient.rows.size() * static_cast<std::size_t>(gradient.d));
    read(sums.data(), gradient.sums, sums.size() * sizeof(float));
    for (std::size_t i = 0; i < gradient.rows.size(); ++i) {
      auto* to = static_cast<float*>(tables[t].at(gradient.rows[i]));
      for (std::int64_t c = 0; c < gradient.d; ++c) to[c] += sums[i * static_cast<std::size_t>(gradient.d) + static_cast<std::size_t>(c)];
    }
  }
}

}  // namespace piano::cuda
