// AdamW on the GPU (Loshchilov & Hutter 2019, algorithm 2): one kernel for all dense parameters, one for the touched rows of all tables. The norm is
// added up in double, in an order that depends on the parameters and the rows alone. What differs from step to step (rates, rows and their number)
// lies in memory that kernels read by pointer.
#include <algorithm>
#include <array>
#include <cstring>

#include "engine/cuda/device_code.h"
#include "engine/cuda/launch.h"

namespace piano::cuda {
namespace {

constexpr std::int64_t kSquaredAtOnce = 4096;  // elements that one block squares and adds up
constexpr std::int64_t kEnoughBlocks = 4096;   // where there is room for more rows than there may be: blocks walk on in strides, to the last row there is

constexpr std::size_t kSmall = 4096;           // bytes: what there is besides arrays of rows, and the gaps between them, of each table

// AdamW's numbers, rounded as the CPU's kernel rounds them.
struct Rates {
  Rates(const AdamWArgs& a, std::int64_t number)
      : epsilon(static_cast<float>(a.epsilon)), keep_m(static_cast<float>(a.beta1)), take_m(static_cast<float>(1 - a.beta1)),
        keep_v(static_cast<float>(a.beta2)), take_v(static_cast<float>(1 - a.beta2)), unbias_m(static_cast<float>(1 / a.bias1)),
        unbias_v(static_cast<float>(1 / a.bias2)), rate(static_cast<float>(a.learning_rate)), decay(static_cast<float>(a.learning_rate * a.weight_decay)),
        step(number) {}
  float epsilon, keep_m, take_m, keep_v, take_v, unbias_m, unbias_v, rate, decay;
  std::int64_t step;
};

// What a step found before it moved anything. Lives on the device.
struct Found {
  float scale;            // of the gradient: clipping
  std::int32_t diverged;  // 1 from the first step on whose loss or norm was not finite
};

// How many chunks are squared of *rows * d elements (rows null: d).
__device__ inline std::int64_t chunks_of(const std::int32_t* rows, std::int64_t d) {
  return ((rows == nullptr ? 1 : std::int64_t{*rows}) * d + kSquaredAtOnce - 1) / kSquaredAtOnce;
}

// A block for each chunk of x.
__global__ void square_chunks(const std::int32_t* rows, std::int64_t d, const float* x, double* parts) {
  const std::int64_t n = (rows == nullptr ? 1 : std::int64_t{*rows}) * d;
  for (std::int64_t chunk = blockIdx.x; chunk < chunks_of(rows, d); chunk += gridDim.x) {
    const std::int64_t begin = chunk * kSquaredAtOnce, end = begin + kSquaredAtOnce < n ? begin + kSquaredAtOnce : n;
    double sum = 0;
    for (std::int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) sum += double(x[i]) * x[i];
    sum = block_sum(sum, shared_memory<double>());
    if (threadIdx.x == 0) parts[chunk] = sum;
  }
}

// What square_chunks() gave, of the dense elements and of the rows (d = 0: there are none).
struct Squares {
  const double* parts;
  const std::int32_t* rows;
  std::int64_t d;
};

__device__ inline double sum_of(const Squares& squares) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < chunks_of(squares.rows, squares.d); i += blockDim.x) sum += squares.parts[i];
  return block_sum(sum, shared_memory<double>());
}

// One block. report: the scalars, then the norm.
__global__ void judge(Squares dense, Squares rows, int scalars, const float* const* scalar, double clip, double* report, Found* found) {
  const double squares = sum_of(dense) + sum_of(rows);
  if (threadIdx.x != 0) return;
  const double norm = sqrt(squares);
  for (int s = 0; s < scalars; ++s) report[s] = *scalar[s];
  report[scalars] = norm;
  const double sum = norm + report[0];
  if (sum - sum != 0) found->diverged = 1;  // infinite, or not a number
  found->scale = clip > 0 && norm > clip ? static_cast<float>(clip / norm) : 1.0f;
}

__device__ inline void move(const Rates& a, float gradient, float decay, float* value, float* m, float* v) {
  *m = a.keep_m * *m + a.take_m * gradient;
  *v = a.keep_v * *v + a.take_v * (gradient * gradient);
  const float step = *m * a.unbias_m / (sqrtf(*v * a.unbias_v) + a.epsilon);
  *value -= a.rate * step + decay * *value;
}

// decays: of each kGrain elements, whether weight decay applies
__global__ void move_dense(std::int64_t n, const Rates* rates, const Found* found, const std::uint8_t* decays, const float* gradient, float* value,
                           float* m, float* v) {
  if (found->diverged != 0) return;
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    move(*rates, gradient[i] * found->scale, decays[i / CudaMemory::kGrain] != 0 ? rates->decay : 0.0f, value + i, m + i, v + i);
  }
}

// A table and its moments; first: the number of its first row among all tables' (CudaMemory::TableGradients).
struct TableThere {
  float *value, *m, *v;
  std::int64_t d;
  std::int32_t first;
};

// The table that a row belongs to: the last one that begins there or before. The whole warp asks.
__device__ inline int table_of(std::int32_t row, int tables, const TableThere* table) {
  int behind = 0;
  for (int t = 0; t < tables; t += 32) behind += __popc(__ballot_sync(kAllLanes, t + lane() < tables && table[t + lane()].first <= row));
  return behind - 1;
}

// Values and moments of the rows that move, one after another (rows, d); null: they are where their tables are.
struct RowsHere { float *value, *m, *v; };

// A warp for each of the *count rows that have a gradient.
__global__ void move_rows(CudaMemory::TableGradients gradients, int tables, const TableThere* table, RowsHere here, const Rates* rates, const Found* found,
                          std::int64_t* last_step) {
  if (found->diverged != 0) return;
  for (std::int64_t i = first_warp(); i < *gradients.count; i += warp_stride()) {
    const std::int32_t row = gradients.row[i];
    const TableThere& at = table[table_of(row, tables, table)];
    if (lane() == 0) last_step[row] = rates->step;
    const bool away = here.value != nullptr;
    const RowsHere from = away ? here : RowsHere{at.value, at.m, at.v};
    const std::int64_t place = away ? i * gradients.d : (row - at.first) * at.d;
    for (std::int64_t c = lane(); c < at.d; c += 32) {
      move(*rates, gradients.sums[i * gradients.d + c] * found->scale, 0.0f, from.value + place + c, from.m + place + c, from.v + place + c);
    }
  }
}

__global__ void bound_values(std::int64_t n, float bound, float* values) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) values[i] = fminf(fmaxf(values[i], -bound), bound);
}

class CudaOptimiser final : public DeviceOptimiser {
 public:
  CudaOptimiser(CudaMemory& memory, const Settings& settings) : memory_(memory), settings_(settings), own_(memory.stream()) {
    const ParameterStore& store = memory.store();
    const std::size_t bytes = static_cast<std::size_t>(memory.dense_elements()) * sizeof(float);
    const std::size_t rows = static_cast<std::size_t>(memory.first_row(store.table_count())) * sizeof(std::int64_t);
    std::size_t all = 2 * bytes + rows;
    for (std::size_t t = 0; t < store.table_count() && !memory.tables_on_host(); ++t) {
      all += 2 * static_cast<std::size_t>(store.table_shape(t).elements()) * sizeof(float);
    }
    own_.reset(all + bytes / CudaMemory::kGrain + (store.table_count() + 1) * kSmall);  // one block, and little more than they need
    m_ = floats_of(bytes), v_ = floats_of(bytes);
    for (std::size_t t = 0; t < store.table_count(); ++t) {
      const Shape& shape = store.table_shape(t);
      const std::size_t size = static_cast<std::size_t>(shape.elements()) * sizeof(float);
      TableThere table{nullptr, nullptr, nullptr, shape.cols(), memory.first_row(t)};
      if (!memory.tables_on_host()) table.value = memory.table(t), table.m = floats_of(size), table.v = floats_of(size);
      tables_.push_back(table);
    }
    tables_there_ = static_cast<TableThere*>(own_.allocate(tables_.size() * sizeof(TableThere)));
    copy(tables_there_, tables_.data(), tables_.size() * sizeof(TableThere), cudaMemcpyHostToDevice);
    last_step_ = static_cast<std::int64_t*>(own_.allocate(rows));
    check(cudaMemsetAsync(last_step_, 0, rows, memory.stream()), "memset");
    std::vector<std::uint8_t> decays(static_cast<std::size_t>(memory.dense_elements() / CudaMemory::kGrain));
    for (const Parameter& p : store.parameters()) {
      if (p.is_table || !p.decay) continue;
      const auto begin = static_cast<std::size_t>((static_cast<float*>(memory.value(p)) - memory.dense()) / CudaMemory::kGrain);
      std::fill_n(decays.begin() + static_cast<std::ptrdiff_t>(begin), ceil_div(p.shape.elements(), CudaMemory::kGrain), std::uint8_t{1});
    }
    decays_ = static_cast<std::uint8_t*>(own_.allocate(decays.size()));
    copy(decays_, decays.data(), decays.size(), cudaMemcpyHostToDevice);
    found_ = static_cast<Found*>(own_.allocate(sizeof(Found)));
    check(cudaMemsetAsync(found_, 0, sizeof(Found), memory.stream()), "memset");
    check(cudaStreamSynchronize(memory.stream()), "copy to the device");
    host_.resize(tables_.size());
    for (Report& r : reports_) check(cudaEventCreateWithFlags(&r.there, cudaEventDisableTiming), "event");
  }

  ~CudaOptimiser() override {
    cudaStreamSynchronize(memory_.stream());
    for (const Report& r : reports_) cudaEventDestroy(r.there), cudaFreeHost(r.numbers);
  }

  void from_host(std::span<const Moments> moments) override {
    for (std::size_t i = 0; i < moments.size(); ++i) {
      if (const Parameter& p = memory_.store().parameters()[i]; p.is_table) host_[p.table] = moments[i];
    }
    each_table(moments, [&](std::int64_t* there, const Moments& host, std::size_t bytes) { copy(there, host.last_step, bytes, cudaMemcpyHostToDevice); });
    each_parameter(moments, [&](const Parameter&, std::size_t bytes, const Moments& host, float* m, float* v) {
      copy(m, host.m, bytes, cudaMemcpyHostToDevice), copy(v, host.v, bytes, cudaMemcpyHostToDevice);
    });
  }

  void to_host(ParameterStore& store, std::span<const Moments> moments) override {
    settle();
    each_table(moments, [&](std::int64_t* there, const Moments& host, std::size_t bytes) { copy(host.last_step, there, bytes, cudaMemcpyDeviceToHost); });
    each_parameter(moments, [&](const Parameter& p, std::size_t bytes, const Moments& host, float* m, float* v) {
      copy(store.value(p), memory_.value(p), bytes, cudaMemcpyDeviceToHost);
      copy(host.m, m, bytes, cudaMemcpyDeviceToHost), copy(host.v, v, bytes, cudaMemcpyDeviceToHost);
    });
  }

  void step(std::int64_t number, const AdamWArgs& args, std::span<const Tensor> scalars) override {
    PIANO_CHECK(open_ < reports_.size(), "[cuda] a step's report was not asked for");
    const std::int64_t dense = memory_.dense_elements();
    const CudaMemory::TableGradients gradients = memory_.table_gradients();
    const auto square = [&](const std::int32_t* rows, std::int64_t room, std::int64_t d, const float* x) {
      const std::int64_t chunks = ceil_div(room * d, kSquaredAtOnce);
      auto* parts = static_cast<double*>(memory_.allocate(static_cast<std::size_t>(chunks) * sizeof(double)));
      launch(memory_, square_chunks, dim3(static_cast<unsigned>(std::min(chunks, kEnoughBlocks))), dim3(kThreads), kThreads / kWarp * sizeof(double), rows, d,
             x, parts);
      return Squares{parts, rows, d};
    };
    const Squares dense_squares = square(nullptr, 1, dense, memory_.dense_gradients());
    const Squares row_squares = square(gradients.count, gradients.room, gradients.d, gradients.sums);

    std::vector<const float*> scalar;
    for (const Tensor& s : scalars) scalar.push_back(s.values<float>().data());
    const std::size_t numbers = scalars.size() + 1;
    auto* report = static_cast<double*>(memory_.allocate(numbers * sizeof(double)));
    launch(memory_, judge, dim3(1), dim3(kThreads), kThreads / kWarp * sizeof(double), dense_squares, row_squares, static_cast<int>(scalars.size()),
           memory_.staged_copy<const float*>(scalar), settings_.clip, report, found_);

    const Rates rates(args, number);
    const Rates* there = memory_.staged_copy<Rates>({&rates, 1});
    launch_elements(memory_, move_dense, dense, dense, there, static_cast<const Found*>(found_), static_cast<const std::uint8_t*>(decays_),
                    static_cast<const float*>(memory_.dense_gradients()), memory_.dense(), m_, v_);
    RowsHere here{};
    if (memory_.tables_on_host()) {
      bring(gradients.d);
      here = {static_cast<float*>(away_[0].device), static_cast<float*>(away_[1].device), static_cast<float*>(away_[2].device)};
    }
    const auto blocks = static_cast<unsigned>(std::min(ceil_div(gradients.room, kThreads / kWarp), kEnoughBlocks));
    launch(memory_, move_rows, dim3(blocks), dim3(kThreads), 0, gradients, static_cast<int>(tables_.size()), tables_there_, here, there,
           static_cast<const Found*>(found_), last_step_);
    for (const ParameterId id : settings_.bounded) {
      const Parameter& p = memory_.store()[id];
      launch_elements(memory_, bound_values, p.shape.elements(), p.shape.elements(), static_cast<float>(settings_.bound), static_cast<float*>(memory_.value(p)));
    }
    memory_.run_step();
    for (const DeviceMemory::Staged& array : away_) copy(array.host, array.device, away_bytes(), cudaMemcpyDeviceToHost);

    Report& to = reports_[(first_ + open_++) % reports_.size()];
    if (to.size < numbers) {
      if (to.numbers != nullptr) cudaFreeHost(to.numbers);
      void* pinned = nullptr;
      check(cudaMallocHost(&pinned, numbers * sizeof(double)), "pinned memory");
      to.numbers = static_cast<double*>(pinned);
    }
    to.size = numbers;
    copy(to.numbers, report, numbers * sizeof(double), cudaMemcpyDeviceToHost);
    check(cudaEventRecord(to.there, memory_.stream()), "event");
  }

  void settle() override {
    if (away_rows_.empty()) return;
    check(cudaStreamSynchronize(memory_.stream()), "kernels");
    each_away([](std::byte* home, std::byte* away, std::size_t bytes) { std::memcpy(home, away, bytes); });
    away_rows_.clear();
  }

  std::vector<double> report() override {
    PIANO_CHECK(open_ > 0, "[cuda] no step is open");
    const Report& from = reports_[first_];
    check(cudaEventSynchronize(from.there), "kernels");
    first_ = (first_ + 1) % reports_.size(), --open_;
    return {from.numbers, from.numbers + from.size};
  }

 private:
  struct Report { double* numbers = nullptr; std::size_t size = 0; cudaEvent_t there{}; };

  // Of tables in the host's memory, value, m and v of the rows that a step moves go to the device and, by settle(), come back.
  void bring(std::int64_t d) {
    away_rows_ = memory_.touched_rows(), away_d_ = d;
    for (DeviceMemory::Staged& array : away_) array = memory_.stage(away_bytes());
    each_away([](std::byte* home, std::byte* away, std::size_t bytes) { std::memcpy(away, home, bytes); });
  }
  std::size_t away_bytes() const { return away_rows_.size() * static_cast<std::size_t>(away_d_) * sizeof(float); }
  // f(where it is at home, where its copy is, bytes) for value, m and v of each.
  template <class F>
  void each_away(F f) {
    for (std::size_t i = 0; i < away_rows_.size(); ++i) {
      const CudaMemory::TableRow row = memory_.table_row(away_rows_[i]);
      std::byte* const homes[] = {reinterpret_cast<std::byte*>(memory_.table(row.table)), host_[row.table].m, host_[row.table].v};
      const std::size_t bytes = static_cast<std::size_t>(row.d) * sizeof(float), place = i * static_cast<std::size_t>(away_d_) * sizeof(float);
      for (std::size_t k = 0; k < 3; ++k) f(homes[k] + static_cast<std::size_t>(row.row) * bytes, static_cast<std::byte*>(away_[k].host) + place, bytes);
    }
  }

  // Zeroed memory of this optimiser.
  float* floats_of(std::size_t bytes) {
    auto* p = static_cast<float*>(own_.allocate(bytes));
    check(cudaMemsetAsync(p, 0, bytes, memory_.stream()), "memset");
    return p;
  }
  void copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    if (bytes > 0) check(cudaMemcpyAsync(to, from, bytes, kind, memory_.stream()), "copy");
  }
  template <class F>
  void each_parameter(std::span<const Moments> moments, F f) {
    const ParameterStore& store = memory_.store();
    for (std::size_t i = 0; i < moments.size(); ++i) {
      const Parameter& p = store.parameters()[i];
      if (p.is_table && memory_.tables_on_host()) continue;
      const std::ptrdiff_t at = p.is_table ? 0 : static_cast<float*>(memory_.value(p)) - memory_.dense();
      f(p, static_cast<std::size_t>(p.shape.elements()) * sizeof(float), moments[i], (p.is_table ? tables_[p.table].m : m_) + at,
        (p.is_table ? tables_[p.table].v : v_) + at);
    }
    check(cudaStreamSynchronize(memory_.stream()), "copy");
  }

  template <class F>
  void each_table(std::span<const Moments> moments, F f) {
    for (std::size_t i = 0; i < moments.size(); ++i) {
      const Parameter& p = memory_.store().parameters()[i];
      if (p.is_table) f(last_step_ + memory_.first_row(p.table), moments[i], static_cast<std::size_t>(p.shape.rows()) * sizeof(std::int64_t));
    }
  }

  CudaMemory& memory_;
  Settings settings_;
  DeviceBlocks own_;
  float *m_ = nullptr, *v_ = nullptr;         // as the memory's dense values lie
  std::vector<TableThere> tables_;            // by table; in the host's memory: without arrays
  TableThere* tables_there_ = nullptr;        // the same on the device
  std::int64_t* last_step_ = nullptr;         // by numbered row
  std::uint8_t* decays_ = nullptr;
  Found* found_ = nullptr;
  std::vector<Moments> host_;                 // by table
  std::vector<std::int32_t> away_rows_;       // numbered
  std::array<DeviceMemory::Staged, 3> away_{};
  std::int64_t away_d_ = 0;
  std::array<Report, 2> reports_;
  std::size_t first_ = 0, open_ = 0;
};

}  // namespace

std::unique_ptr<DeviceOptimiser> CudaMemory::make_optimiser(const DeviceOptimiser::Settings& settings) {
  return std::make_unique<CudaOptimiser>(*this, settings);
}

}  // namespace piano::cuda
