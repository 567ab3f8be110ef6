// AdamW on the GPU (Loshchilov & Hutter 2019, algorithm 2): one kernel for all dense parameters, one for the touched rows of each table. The norm is
// added up in double, in an order that depends on the parameters and the rows alone. What differs from step to step (rates, row counts) lies in
// memory that kernels read by pointer.
#include <algorithm>
#include <array>
#include <cstring>

#include "engine/cuda/device_code.h"
#include "engine/cuda/launch.h"

namespace piano::cuda {
namespace {

constexpr std::int64_t kSquaredAtOnce = 4096;  // elements that one block squares and adds up

// AdamW's numbers, rounded as the CPU's kernel rounds them.
struct Rates {
  explicit Rates(const AdamWArgs& a)
      : epsilon(static_cast<float>(a.epsilon)), keep_m(static_cast<float>(a.beta1)), take_m(static_cast<float>(1 - a.beta1)),
        keep_v(static_cast<float>(a.beta2)), take_v(static_cast<float>(1 - a.beta2)), unbias_m(static_cast<float>(1 / a.bias1)),
        unbias_v(static_cast<float>(1 / a.bias2)), rate(static_cast<float>(a.learning_rate)), decay(static_cast<float>(a.learning_rate * a.weight_decay)) {}
  float epsilon, keep_m, take_m, keep_v, take_v, unbias_m, unbias_v, rate, decay;
};

// What a step found before it moved anything. Lives on the device.
struct Found {
  float scale;            // of the gradient: clipping
  std::int32_t diverged;  // 1 from the first step on whose loss or norm was not finite
};

// A block for each chunk of the first *rows * d elements of x (rows null: d elements); chunks behind them give 0.
__global__ void square_chunks(std::int64_t chunks, const std::int32_t* rows, std::int64_t d, const float* x, double* parts) {
  const std::int64_t n = (rows == nullptr ? 1 : std::int64_t{*rows}) * d;
  for (std::int64_t chunk = blockIdx.x; chunk < chunks; chunk += gridDim.x) {
    const std::int64_t begin = chunk * kSquaredAtOnce, end = begin + kSquaredAtOnce < n ? begin + kSquaredAtOnce : n;
    double sum = 0;
    for (std::int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) sum += double(x[i]) * x[i];
    sum = block_sum(sum, shared_memory<double>());
    if (threadIdx.x == 0) parts[chunk] = sum;
  }
}

// One block. arrays: where each array's parts begin, (arrays + 1). report: the scalars, then the norm.
__global__ void judge(int arrays, const std::int32_t* begin_of, const double* parts, int scalars, const float* const* scalar, double clip, double* report,
                      Found* found) {
  double squares = 0;
  for (int a = 0; a < arrays; ++a) {
    double sum = 0;
    for (std::int32_t i = begin_of[a] + static_cast<std::int32_t>(threadIdx.x); i < begin_of[a + 1]; i += static_cast<std::int32_t>(blockDim.x)) sum += parts[i];
    squares += block_sum(sum, shared_memory<double>());
  }
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

// A warp for each of the *count rows: row[i] of the table (row null: i) has the gradient sums[i].
__global__ void move_rows(const std::int32_t* count, const std::int32_t* row, std::int64_t d, const Rates* rates, const Found* found, const float* sums,
                          float* value, float* m, float* v) {
  if (found->diverged != 0) return;
  for (std::int64_t i = first_warp(); i < *count; i += warp_stride()) {
    const std::int64_t to = (row == nullptr ? i : row[i]) * d;
    for (std::int64_t c = lane(); c < d; c += 32) move(*rates, sums[i * d + c] * found->scale, 0.0f, value + to + c, m + to + c, v + to + c);
  }
}

__global__ void bound_values(std::int64_t n, float bound, float* values) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) values[i] = fminf(fmaxf(values[i], -bound), bound);
}

class CudaOptimiser final : public DeviceOptimiser {
 public:
  CudaOptimiser(CudaMemory& memory, const Settings& settings) : memory_(memory), settings_(settings), own_(memory.stream()) {
    const std::size_t bytes = static_cast<std::size_t>(memory.dense_elements()) * sizeof(float);
    m_ = floats_of(bytes), v_ = floats_of(bytes);
    const ParameterStore& store = memory.store();
    for (std::size_t t = 0; t < store.table_count() && !memory.tables_on_host(); ++t) {
      const std::size_t table = static_cast<std::size_t>(store.table_shape(t).elements()) * sizeof(float);
      table_m_.push_back(floats_of(table)), table_v_.push_back(floats_of(table));
    }
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
    rows_.resize(store.table_count());
    for (Report& r : reports_) check(cudaEventCreateWithFlags(&r.there, cudaEventDisableTiming), "event");
  }

  ~CudaOptimiser() override {
    cudaStreamSynchronize(memory_.stream());
    for (const Report& r : reports_) cudaEventDestroy(r.there), cudaFreeHost(r.numbers);
  }

  void from_host(std::span<const Moments> moments) override {
    host_.resize(rows_.size());
    for (std::size_t i = 0; i < moments.size(); ++i) {
      if (const Parameter& p = memory_.store().parameters()[i]; p.is_table) host_[p.table] = moments[i];
    }
    each_parameter(moments, [&](const Parameter&, std::size_t bytes, const Moments& host, float* m, float* v) {
      copy(m, host.m, bytes, cudaMemcpyHostToDevice), copy(v, host.v, bytes, cudaMemcpyHostToDevice);
    });
  }

  void to_host(ParameterStore& store, std::span<const Moments> moments) override {
    settle();
    each_parameter(moments, [&](const Parameter& p, std::size_t bytes, const Moments& host, float* m, float* v) {
      copy(store.value(p), memory_.value(p), bytes, cudaMemcpyDeviceToHost);
      copy(host.m, m, bytes, cudaMemcpyDeviceToHost), copy(host.v, v, bytes, cudaMemcpyDeviceToHost);
    });
  }

  void step(const AdamWArgs& args, std::span<const Tensor> scalars) override {
    PIANO_CHECK(open_ < reports_.size(), "[cuda] a step's report was not asked for");
    const std::size_t tables = rows_.size();
    const std::int64_t dense = memory_.dense_elements();
    std::vector<CudaMemory::TableGradient> gradients;
    std::vector<std::int32_t> begin{0, static_cast<std::int32_t>(ceil_div(dense, kSquaredAtOnce))};
    for (std::size_t t = 0; t < tables; ++t) {
      gradients.push_back(memory_.table_gradient(t));
      begin.push_back(begin.back() + static_cast<std::int32_t>(ceil_div(gradients[t].room * gradients[t].d, kSquaredAtOnce)));
    }
    auto* parts = static_cast<double*>(memory_.allocate(static_cast<std::size_t>(begin.back()) * sizeof(double)));
    const auto square = [&](std::size_t array, const std::int32_t* rows, std::int64_t d, const float* x) {
      const std::int64_t chunks = begin[array + 1] - begin[array];
      launch(memory_, square_chunks, dim3(blocks_for(chunks, 1)), dim3(kThreads), kThreads / kWarp * sizeof(double), chunks, rows, d, x, parts + begin[array]);
    };
    square(0, nullptr, dense, memory_.dense_gradients());
    for (std::size_t t = 0; t < tables; ++t) square(t + 1, gradients[t].count, gradients[t].d, gradients[t].sums);

    std::vector<const float*> scalar;
    for (const Tensor& s : scalars) scalar.push_back(s.values<float>().data());
    const std::size_t numbers = scalars.size() + 1;
    auto* report = static_cast<double*>(memory_.allocate(numbers * sizeof(double)));
    launch(memory_, judge, dim3(1), dim3(kThreads), kThreads / kWarp * sizeof(double), static_cast<int>(tables + 1),
           memory_.staged_copy<std::int32_t>(begin), static_cast<const double*>(parts), static_cast<int>(scalars.size()),
           memory_.staged_copy<const float*>(scalar), settings_.clip, report, found_);

    const Rates rates(args);
    const Rates* there = memory_.staged_copy<Rates>({&rates, 1});
    launch_elements(memory_, move_dense, dense, dense, there, static_cast<const Found*>(found_), static_cast<const std::uint8_t*>(decays_),
                    static_cast<const float*>(memory_.dense_gradients()), memory_.dense(), m_, v_);
    for (std::size_t t = 0; t < tables; ++t) {
      const CudaMemory::TableGradient& g = gradients[t];
      const auto move_them = [&](const std::int32_t* row, float* value, float* m, float* v) {
        launch_warps(memory_, move_rows, g.room, g.count, row, g.d, there, static_cast<const Found*>(found_), static_cast<const float*>(g.sums), value, m, v);
      };
      rows_[t] = g.rows;
      if (!memory_.tables_on_host()) {
        move_them(g.row, memory_.table(t), table_m_[t], table_v_[t]);
      } else if (!g.rows.empty()) {
        away_.push_back({t, g.d, {bring(t, g.d, memory_.table(t)), bring(t, g.d, host_[t].m), bring(t, g.d, host_[t].v)}});
        const auto& at = away_.back().arrays;
        move_them(nullptr, static_cast<float*>(at[0].device), static_cast<float*>(at[1].device), static_cast<float*>(at[2].device));
      }
    }
    for (const ParameterId id : settings_.bounded) {
      const Parameter& p = memory_.store()[id];
      launch_elements(memory_, bound_values, p.shape.elements(), p.shape.elements(), static_cast<float>(settings_.bound), static_cast<float*>(memory_.value(p)));
    }
    memory_.run_step();
    for (const Away& a : away_) {
      for (const auto& array : a.arrays) copy(array.host, array.device, rows_[a.table].size() * static_cast<std::size_t>(a.d) * sizeof(float), cudaMemcpyDeviceToHost);
    }

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
    if (away_.empty()) return;
    check(cudaStreamSynchronize(memory_.stream()), "kernels");
    for (const Away& a : away_) {
      std::byte* const arrays[] = {reinterpret_cast<std::byte*>(memory_.table(a.table)), host_[a.table].m, host_[a.table].v};
      const std::size_t bytes = static_cast<std::size_t>(a.d) * sizeof(float);
      for (std::size_t i = 0; i < rows_[a.table].size(); ++i) {
        for (std::size_t k = 0; k < 3; ++k) {
          std::memcpy(arrays[k] + static_cast<std::size_t>(rows_[a.table][i]) * bytes, static_cast<const std::byte*>(a.arrays[k].host) + i * bytes, bytes);
        }
      }
    }
    away_.clear();
  }

  std::span<const std::int32_t> rows(std::size_t table) const override { return rows_[table]; }

  std::vector<double> report() override {
    PIANO_CHECK(open_ > 0, "[cuda] no step is open");
    const Report& from = reports_[first_];
    check(cudaEventSynchronize(from.there), "kernels");
    first_ = (first_ + 1) % reports_.size(), --open_;
    return {from.numbers, from.numbers + from.size};
  }

 private:
  struct Report { double* numbers = nullptr; std::size_t size = 0; cudaEvent_t there{}; };

  // Rows of a table in the host's memory that a step moves on the device: value, m and v of rows_[table], until settle().
  struct Away { std::size_t table; std::int64_t d; std::array<DeviceMemory::Staged, 3> arrays; };
  DeviceMemory::Staged bring(std::size_t table, std::int64_t d, const void* from) {
    const std::size_t bytes = static_cast<std::size_t>(d) * sizeof(float);
    const DeviceMemory::Staged there = memory_.stage(rows_[table].size() * bytes);
    for (std::size_t i = 0; i < rows_[table].size(); ++i) {
      std::memcpy(static_cast<std::byte*>(there.host) + i * bytes, static_cast<const std::byte*>(from) + static_cast<std::size_t>(rows_[table][i]) * bytes, bytes);
    }
    return there;
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
      f(p, static_cast<std::size_t>(p.shape.elements()) * sizeof(float), moments[i], (p.is_table ? table_m_[p.table] : m_) + at,
        (p.is_table ? table_v_[p.table] : v_) + at);
    }
    check(cudaStreamSynchronize(memory_.stream()), "copy");
  }

  CudaMemory& memory_;
  Settings settings_;
  DeviceBlocks own_;
  float *m_ = nullptr, *v_ = nullptr;         // as the memory's dense values lie
  std::vector<float*> table_m_, table_v_;     // by table
  std::uint8_t* decays_ = nullptr;
  Found* found_ = nullptr;
  std::vector<std::vector<std::int32_t>> rows_;
  std::vector<Moments> host_;                 // by table
  std::vector<Away> away_;
  std::array<Report, 2> reports_;
  std::size_t first_ = 0, open_ = 0;
};

}  // namespace

std::unique_ptr<DeviceOptimiser> CudaMemory::make_optimiser(const DeviceOptimiser::Settings& settings) {
  return std::make_unique<CudaOptimiser>(*this, settings);
}

}  // namespace piano::cuda
