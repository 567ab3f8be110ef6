// A GPU's memory and its stream: what kernels are noted down in, and where their arguments come from.
//
// Activations lie in blocks that are bumped through and merged when a step needed more than one. What the host computes (indices, offsets,
// constants) is written to pinned memory that has a twin on the device, so that its address is known before it is copied, and one transfer on a
// stream of its own brings a whole step's. There are two such pairs: while the device reads one step's, the host writes the next one's.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <array>
#include <map>
#include <utility>
#include <vector>

#include "engine/core/arena.h"
#include "engine/core/context.h"
#include "engine/cuda/row_sums.h"

namespace piano::cuda {

void check(cudaError_t status, const char* what);  // throws ErrorCode::internal; ErrorCode::usage when memory is short
void check(cublasStatus_t status, const char* what);

// Bump memory on the device; addresses are those of any order of requests that is the same.
class DeviceBlocks {
 public:
  explicit DeviceBlocks(cudaStream_t stream) : stream_(stream) {}
  ~DeviceBlocks() { release(); }
  DeviceBlocks(const DeviceBlocks&) = delete;
  DeviceBlocks& operator=(const DeviceBlocks&) = delete;
  void* allocate(std::size_t bytes);
  void reset();  // several blocks become one

 private:
  void add(std::size_t bytes);
  void release();
  struct Block { std::byte* data; std::size_t size; };
  cudaStream_t stream_;
  std::vector<Block> blocks_;
  std::size_t offset_ = 0;
};

// What cuBLASLt's choice of an algorithm depends on: sizes, strides, which operands are transposed, alignments.
using ProductKey = std::array<std::int64_t, 10>;

// Pinned memory and its twin.
class Staging {
 public:
  explicit Staging(cudaStream_t copies);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  DeviceMemory::Staged stage(std::size_t bytes);
  bool copy();      // starts the transfer of what was staged since the last one; false: there is nothing
  void recycle();   // waits until earlier transfers have left the host's memory, and starts over

 private:
  struct Block { std::byte *host, *device; std::size_t size, used, copied; };
  void add(std::size_t bytes);
  void release();
  cudaStream_t copies_;
  cudaEvent_t copied_{};
  std::vector<Block> blocks_;
};

class CudaMemory final : public DeviceMemory {
 public:
  CudaMemory();
  ~CudaMemory() override;

  void* allocate(std::size_t bytes) override { return activations_.allocate(bytes); }
  Staged stage(std::size_t bytes) override { return staging_[turn_].stage(bytes); }
  void zero(void* to, std::size_t bytes) override;
  void add(void* to, const void* from, std::int64_t n) override;
  void run() override;
  void read(void* to, const void* from, std::size_t bytes) override;
  void reset() override;
  void keep(const ParameterStore& store) override;
  void* value(const Parameter& p) const override;
  void* gradient(const Parameter& p) const override;
  void read_row_gradients(std::span<RowGradients> tables) override;

  // Calls start(stream) in its turn, when run() comes to it. `start` lies in an arena: plain data, and pointers to what lives until then.
  template <class F>
  void note(F start) {
    struct Noted : Command {
      explicit Noted(F f) : start(f) {}
      F start;
    };
    static_assert(std::is_trivially_destructible_v<Noted>);
    auto* command = ::new (notes_.allocate(sizeof(Noted))) Noted(start);
    command->call = [](Command* self, cudaStream_t stream) { static_cast<Noted*>(self)->start(stream); };
    commands_.push_back(command);
  }

  // The device's copy of an array of the host's that does not change before reset(): copied once.
  template <class T>
  const T* copy_of(const T* from, std::int64_t n) { return static_cast<const T*>(copy_once(from, static_cast<std::size_t>(n) * sizeof(T))); }
  // (rows): the list that each row belongs to.
  const std::int32_t* list_of_row(Ragged lists);
  // For adding up rows by an index: made once for each index until reset().
  const RowSums& row_sums(const std::int32_t* index, std::int64_t n, std::int64_t targets);
  RowSums make_row_sums(std::span<const std::int32_t> index, std::int64_t targets);

  // The gradient of a table's rows that one op adds: of each id of each bag, dy's row of the bag times the bag's factor.
  struct Touch { std::size_t table; const std::int32_t *offsets, *ids; std::int32_t rows; bool mean; const float* dy; std::int64_t d; };
  void touch(const Touch& touch) { touches_.push_back(touch); }
  // What was touched of a table since reset(): `rows` in the host's memory, each once and in order, `sums` (rows.size(), d) on the device.
  struct TableGradient { std::vector<std::int32_t> rows; float* sums = nullptr; std::int64_t d = 0; };
  TableGradient table_gradient(std::size_t table);

  cublasLtHandle_t blas() const { return blas_; }
  void* workspace();  // kWorkspace bytes, for the products that want some
  // The algorithm chosen for such a product before, or choose()'s. The choices are kept, up to a number of them.
  struct Algorithm { cublasLtMatmulAlgo_t choice; std::size_t workspace; };
  template <class Choose>
  const Algorithm& algorithm(const ProductKey& key, Choose choose) {
    if (algorithms_.size() >= kMostAlgorithms) algorithms_.clear();
    auto found = algorithms_.find(key);
    if (found == algorithms_.end()) found = algorithms_.emplace(key, choose()).first;
    return found->second;
  }
  static constexpr std::size_t kWorkspace = std::size_t{32} << 20, kMostAlgorithms = 10000;

 private:
  struct Command { void (*call)(Command* self, cudaStream_t stream); };
  struct Stream {
    Stream();
    ~Stream();
    cudaStream_t handle{};
  };
  const void* copy_once(const void* from, std::size_t bytes);

  Stream stream_, copies_;             // first made, last destroyed
  DeviceBlocks activations_, parameters_;
  std::array<Staging, 2> staging_;
  std::size_t turn_ = 0;
  cudaEvent_t staged_{};               // the last transfer's end
  std::array<cudaEvent_t, 2> read_{};  // the end of the kernels that read what was staged in each
  cublasLtHandle_t blas_{};
  void* workspace_ = nullptr;
  std::map<ProductKey, Algorithm> algorithms_;
  Arena notes_;
  std::vector<Command*> commands_;
  std::map<std::pair<const void*, std::size_t>, const void*> copies_of_;
  std::map<std::pair<const void*, std::int64_t>, const std::int32_t*> list_of_row_;
  std::map<std::pair<const void*, std::int64_t>, RowSums> row_sums_;
  std::vector<Touch> touches_;
  std::vector<std::vector<std::int32_t>> place_of_row_;  // by table: place among the rows touched, or -1

  std::vector<float*> table_values_;   // by table
  std::vector<std::size_t> places_;    // of dense parameters: first element, by their place in the store's flat array
  float *dense_ = nullptr, *dense_gradients_ = nullptr;
  const ParameterStore* store_ = nullptr;
};

inline CudaMemory& memory_of(const Context& context) { return static_cast<CudaMemory&>(*context.memory); }

}  // namespace piano::cuda
