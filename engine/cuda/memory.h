// A GPU's memory and its stream: what kernels are noted down in, and where their arguments come from.
//
// Activations lie in blocks that are bumped through and merged when a step needed more than one. What the host computes (indices, offsets,
// constants) is written to pinned memory that has a twin on the device, so that its address is known before it is copied, and one transfer on a
// stream of its own brings a whole step's. There are two such pairs: while the device reads one step's, the host writes the next one's.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/core/arena.h"
#include "engine/core/context.h"
#include "engine/core/device.h"
#include "engine/cuda/command_times.h"
#include "engine/cuda/graphs.h"
#include "engine/cuda/row_sums.h"

namespace piano::cuda {

void check(cudaError_t status, const char* what);  // throws ErrorCode::internal; ErrorCode::usage when memory is short
void check(cublasStatus_t status, const char* what);

cudaDeviceProp usable_gpu();  // device.cu; throws ErrorCode::usage where there is none that this build runs on

// Bump memory on the device; addresses are those of any order of requests that is the same.
class DeviceBlocks {
 public:
  explicit DeviceBlocks(cudaStream_t stream) : stream_(stream) {}
  ~DeviceBlocks() { release(); }
  DeviceBlocks(const DeviceBlocks&) = delete;
  DeviceBlocks& operator=(const DeviceBlocks&) = delete;
  void* allocate(std::size_t bytes);
  void reset(std::size_t wanted = 0);  // several blocks become one, of at least `wanted` bytes

 private:
  void add(std::size_t wanted, std::size_t least);  // `least` where there is no room for more
  void release();
  struct Block { std::byte* data; std::size_t size; };
  cudaStream_t stream_;
  std::vector<Block> blocks_;
  std::size_t offset_ = 0;
};

// What the way to make a product depends on: sizes (m, n, k), strides, which operands are transposed, alignments.
using ProductKey = std::array<std::int64_t, 11>;
struct ProductPlan;  // product.cu

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
  explicit CudaMemory(Precision precision);
  ~CudaMemory() override;

  void* allocate(std::size_t bytes) override { return activations_.allocate(sizes_.of(bytes, 0)); }
  Staged stage(std::size_t bytes) override { return staging_[turn_].stage(sizes_.of(bytes, 256)); }
  void zero(void* to, std::size_t bytes) override;
  void copy(void* to, const void* from, std::size_t bytes) override;
  void add(void* to, const void* from, std::int64_t n) override;
  void run() override;
  void read(std::span<const Part> parts) override;
  using DeviceMemory::read;
  void run_step() override;
  void expect_repeats(std::size_t graphs) override;
  Replays replays() const override { return graphs_.replays(); }
  void time_commands(bool on) override { times_.time(on); }
  std::vector<CommandTime> command_times() const override { return times_.all(); }
  void reset() override;
  void keep(const ParameterStore& store, Tables tables) override;
  bool tables_on_host() const override { return tables_on_host_; }
  void* value(const Parameter& p) const override;
  void* gradient(const Parameter& p) const override;
  void read_row_gradients(std::span<RowGradients> tables) override;
  std::unique_ptr<DeviceOptimiser> make_optimiser(const DeviceOptimiser::Settings& settings) override;  // optimiser.cu

  // Notes down something to be started when run() comes to it: `Noted` is a Command followed by plain data, all of it zero until the caller fills it
  // in (padding stays zero: commands are compared byte by byte).
  template <class Noted>
  Noted* note() {
    static_assert(std::is_trivially_copyable_v<Noted>);
    void* const place = notes_.allocate(sizeof(Noted));
    std::memset(place, 0, sizeof(Noted));
    auto* noted = static_cast<Noted*>(place);
    noted->command.bytes = sizeof(Noted);
    commands_.push_back(&noted->command);
    return noted;
  }
  // The same of start(stream), a function with plain data. The name is to last as long as the command.
  template <class F>
  void note(const char* name, F start) {
    struct Noted { Command command; alignas(F) std::byte start[sizeof(F)]; };
    static_assert(std::is_trivially_copyable_v<F>);
    auto* noted = note<Noted>();
    std::memcpy(noted->start, &start, sizeof start);
    noted->command.name = name;
    noted->command.start = [](const Command* self, cudaStream_t stream) {
      (*reinterpret_cast<const F*>(reinterpret_cast<const Noted*>(self)->start))(stream);
    };
  }
  // A number of pieces of work that follows from indices: room for as many, or more once repeats are expected. Pieces that are none are empty.
  std::int64_t room_for(std::int64_t n) { return static_cast<std::int64_t>(rooms_.of(static_cast<std::size_t>(n), 8)); }

  // The device's copy of an array of the host's that does not change before reset(): copied once.
  template <class T>
  const T* copy_of(const T* from, std::int64_t n) { return static_cast<const T*>(copy_once(from, static_cast<std::size_t>(n) * sizeof(T))); }
  // The same of one that may change, or go, after this call.
  template <class T>
  const T* staged_copy(std::span<const T> values) {
    const Staged place = stage(values.size_bytes());
    if (!values.empty()) std::memcpy(place.host, values.data(), values.size_bytes());
    return static_cast<const T*>(place.device);
  }
  // (rows): the list that each row belongs to.
  const std::int32_t* list_of_row(Ragged lists);
  // For adding up rows by an index: made once for each index and number of targets until reset().
  const RowSums& row_sums(const std::int32_t* index, std::int64_t n, std::int64_t targets);  // row_sums.cu

  // ---- embedding tables: tables.cu

  // A table as an op reads it: its rows, and of each of n ids which row that is. Of a table in the host's memory: a copy of what the ids name.
  struct TableRows { const float* rows; const std::int32_t* places; };
  TableRows table_rows(const void* table, const std::int32_t* ids, std::int64_t n);

  // The gradient of a table's rows that one op adds: of each id of each bag, dy's row of the bag times the bag's factor.
  struct Touch {
    std::size_t table;
    const std::int32_t *offsets, *ids;
    std::int32_t bags, rows;  // all of them; the first ones, which touch something
    bool mean;
    const float* dy;
    std::int64_t d;
    const std::int32_t* kept = nullptr;  // the device's: what is left of the ids where it dropped some itself
  };
  void touch(const Touch& touch) { touches_.push_back(touch); }
  // The rows touched since reset() of all tables together, each once, ascending, and their gradients. Rows are numbered through all tables: those of
  // table t are first_row(t) and on. All of it is the device's: the host knows neither rows nor how many.
  struct TableGradients {
    const std::int32_t *count = nullptr, *row = nullptr;  // (1), (room)
    float* sums = nullptr;                                // (room, d), of which *count rows are written; 0 in columns that a row's table does not have
    std::int64_t room = 0, d = 0;                         // d: the widest table's; room 0: no op touched a table
  };
  TableGradients table_gradients();
  std::int32_t first_row(std::size_t table) const { return first_rows_[table]; }  // first_row(tables): how many there are
  struct TableRow { std::size_t table; std::int32_t row; std::int64_t d; };
  TableRow table_row(std::int32_t row) const;
  std::vector<std::int32_t> touched_rows();  // with tables in the host's memory: the same rows, for the host to bring

  // What keep() put here. Dense parameters lie in one array, each from a multiple of kGrain elements on; what is between them is 0, and its gradient.
  const ParameterStore& store() const { return *store_; }
  static constexpr std::int64_t kGrain = 64;
  float* dense() const { return dense_; }
  float* dense_gradients() const { return dense_gradients_; }
  std::int64_t dense_elements() const { return dense_elements_; }
  float* table(std::size_t i) const { return table_values_[i]; }  // in the host's memory when tables_on_host()
  cudaStream_t stream() const { return stream_.handle; }

  Precision precision() const { return precision_; }  // of products
  cublasLtHandle_t blas() const { return blas_; }
  void* workspace();  // kWorkspace bytes, for the products that want some
  // The plan made for such a product before, or make()'s. Plans are kept, at least until reset().
  template <class Make>
  ProductPlan& product_plan(const ProductKey& key, Make make) {
    std::shared_ptr<ProductPlan>& plan = products_[key];
    if (plan == nullptr) plan = make();
    return *plan;
  }
  static constexpr std::size_t kWorkspace = std::size_t{32} << 20, kMostProducts = 10000;
  std::size_t most_shared() const { return most_shared_; }  // bytes of shared memory that a block can have when it asks

 private:
  struct Stream {
    Stream();
    ~Stream();
    cudaStream_t handle{};
  };
  const void* copy_once(const void* from, std::size_t bytes);
  void bring_staged();
  void number_rows();

  Precision precision_;
  Stream stream_, copies_;             // first made, last destroyed
  DeviceBlocks activations_, parameters_;
  std::array<Staging, 2> staging_;
  std::size_t turn_ = 0;
  cudaEvent_t staged_{};               // the last transfer's end
  std::array<cudaEvent_t, 2> read_{};  // the end of the kernels that read what was staged in each
  cublasLtHandle_t blas_{};
  void* workspace_ = nullptr;
  std::size_t most_shared_ = 0;
  bool watched_;                       // PIANO_CUDA_SYNC is set: each command is waited for, so that one that fails is named
  std::map<ProductKey, std::shared_ptr<ProductPlan>> products_;
  Arena notes_;
  std::vector<const Command*> commands_;
  SettlingSizes sizes_, rooms_;        // of memory in bytes; of what room_for() is asked
  std::size_t most_graphs_ = 0;
  Graphs graphs_{stream_.handle};
  CommandTimes times_;
  std::map<std::pair<const void*, std::size_t>, const void*> copies_of_;
  std::map<std::pair<const void*, std::int64_t>, const std::int32_t*> list_of_row_;
  std::map<std::tuple<const void*, std::int64_t, std::int64_t>, RowSums> row_sums_;  // by index, its length and targets
  std::vector<Touch> touches_;
  std::vector<std::int32_t> place_of_row_;  // with tables in the host's memory, by numbered row: -1, but while rows are collected

  std::vector<float*> table_values_;   // by table
  std::vector<std::int32_t> first_rows_;  // (tables + 1)
  std::int64_t widest_ = 0;            // of the tables' columns
  bool tables_on_host_ = false;
  std::vector<std::size_t> places_;    // of dense parameters: first element, by their place in the store's flat array
  float *dense_ = nullptr, *dense_gradients_ = nullptr;
  std::int64_t dense_elements_ = 0;
  const ParameterStore* store_ = nullptr;
};

inline CudaMemory& memory_of(const Context& context) { return static_cast<CudaMemory&>(*context.memory); }

}  // namespace piano::cuda
