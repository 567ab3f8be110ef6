// Attention of one query a list, in parts: split_heads, merge_heads, attention_weights, match_sum.
#include <algorithm>

#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/cuda/sort.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

// The matrix x (rows, d) and its split one (rows * heads, d): column c of row r is column c of row r * heads + c / width.
__device__ inline std::int64_t split_place(std::int64_t i, std::int64_t d, int heads) {
  const auto [r, c] = cell_of(i, d);
  return (r * heads + cell_of(c, d / heads).row) * d + c;
}

// n elements of the split matrix: head h's columns of x, times factor, and zeros elsewhere
__global__ void split_values(std::int64_t n, std::int64_t d, int heads, float factor, const float* x, Gradient to) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const Cell at = cell_of(i, d), whole = cell_of(at.row, heads);  // whole: row of x, head
    const bool own = cell_of(at.column, d / heads).row == whole.column;
    if (own || to.fresh) put(to.to + i, own ? factor * x[whole.row * d + at.column] : 0.0f, to.fresh);
  }
}

// n elements of x: each from its place in the split matrix
__global__ void merge_values(std::int64_t n, std::int64_t d, int heads, float factor, const float* split, Gradient to) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) put(to.to + i, factor * split[split_place(i, d, heads)], to.fresh);
}

void split_heads_forward(const Context& context, Node& node) {
  const auto& args = args_of<HeadsArgs>(node);
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), split_values, n, n, cols_of(node.output), args.heads, static_cast<float>(args.factor),
                  value_of(node.inputs[0]), Gradient{value_of(node.output), true});
}

void split_heads_backward(const Context& context, Node& node) {
  const auto& args = args_of<HeadsArgs>(node);
  const std::int64_t n = elements_of(node.inputs[0]);
  launch_elements(memory_of(context), merge_values, n, n, cols_of(node.output), args.heads, static_cast<float>(args.factor), output_gradient(node),
                  gradient_of(node, 0));
}

void merge_heads_forward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.output);
  launch_elements(memory_of(context), merge_values, n, n, cols_of(node.output), args_of<HeadsArgs>(node).heads, 1.0f, value_of(node.inputs[0]),
                  Gradient{value_of(node.output), true});
}

void merge_heads_backward(const Context& context, Node& node) {
  const std::int64_t n = elements_of(node.inputs[0]);
  launch_elements(memory_of(context), split_values, n, n, cols_of(node.output), args_of<HeadsArgs>(node).heads, 1.0f, output_gradient(node),
                  gradient_of(node, 0));
}

// ---- attention_weights: q (lists * heads, d), k (keys, d), null_score (lists * heads) or null -> p (keys, heads)

constexpr int kListThreads = 128;
constexpr std::size_t kScratch = kListThreads / kWarp * sizeof(float);

// A block for each list and head; its warps share the keys.
__global__ void weigh_keys(Lists keys, std::int64_t d, const float* q, const float* k, const float* null_score, float* p) {
  auto* scratch = shared_memory<float>();
  const std::int64_t heads = gridDim.y, h = blockIdx.y, row = blockIdx.x * heads + h;
  const std::int64_t begin = keys.offsets[blockIdx.x], end = keys.offsets[blockIdx.x + 1];
  float highest = null_score != nullptr ? null_score[row] : -INFINITY, sum = 0;
  for (std::int64_t j = begin + threadIdx.x / 32; j < end; j += kListThreads / 32) {
    float dot = 0;
    for (std::int64_t c = lane(); c < d; c += 32) dot += q[row * d + c] * k[j * d + c];
    dot = warp_sum(dot);
    highest = fmaxf(highest, dot);
    if (lane() == 0) p[j * heads + h] = dot;
  }
  highest = block_max(highest, scratch);  // and the scores are written
  for (std::int64_t j = begin + threadIdx.x; j < end; j += kListThreads) {
    const float e = expf(p[j * heads + h] - highest);
    p[j * heads + h] = e;
    sum += e;
  }
  sum = block_sum(sum, scratch) + (null_score != nullptr ? expf(null_score[row] - highest) : 0.0f);
  for (std::int64_t j = begin + threadIdx.x; j < end; j += kListThreads) p[j * heads + h] /= sum;
}

// ds_j = p_j (dp_j - mean), mean = sum_m p_m dp_m;  dq += sum_j ds_j k_j;  dnull -= (1 - sum_m p_m) mean. Leaves the means, (lists * heads).
__global__ void weigh_keys_back(Lists keys, std::int64_t d, const float* k, const float* p, const float* dp, Gradient dq, Gradient dnull,
                                float* mean_of) {
  auto* scratch = shared_memory<float>();
  const std::int64_t heads = gridDim.y, h = blockIdx.y, row = blockIdx.x * heads + h;
  const std::int64_t begin = keys.offsets[blockIdx.x], end = keys.offsets[blockIdx.x + 1];
  float mean = 0, share = 0;
  for (std::int64_t j = begin + threadIdx.x; j < end; j += kListThreads) {
    mean += p[j * heads + h] * dp[j * heads + h];
    share += p[j * heads + h];
  }
  mean = block_sum(mean, scratch), share = block_sum(share, scratch);
  if (threadIdx.x == 0) {
    mean_of[row] = mean;
    if (dnull.to != nullptr) put(dnull.to + row, -(1 - share) * mean, dnull.fresh);
  }
  if (dq.to == nullptr) return;
  for (std::int64_t c = threadIdx.x; c < d; c += kListThreads) {
    float sum = 0;
    for (std::int64_t j = begin; j < end; ++j) sum += p[j * heads + h] * (dp[j * heads + h] - mean) * k[j * d + c];
    put(dq.to + row * d + c, sum, dq.fresh);
  }
}

// A warp for each key: dk_j += sum_h ds_{j, h} q_h
__global__ void spread_to_keys(std::int64_t n, std::int64_t d, int heads, const std::int32_t* list_of_key, const float* q, const float* p,
                               const float* dp, const float* mean_of, Gradient dk) {
  for (std::int64_t j = first_warp(); j < n; j += warp_stride()) {
    const std::int64_t first = std::int64_t{list_of_key[j]} * heads;
    for (std::int64_t c = lane(); c < d; c += 32) {
      float sum = 0;
      for (int h = 0; h < heads; ++h) sum += p[j * heads + h] * (dp[j * heads + h] - mean_of[first + h]) * q[(first + h) * d + c];
      put(dk.to + j * d + c, sum, dk.fresh);
    }
  }
}

dim3 list_grid(const AttentionWeightsArgs& args) { return {static_cast<unsigned>(args.keys.lists), static_cast<unsigned>(args.heads)}; }

void attention_weights_forward(const Context& context, Node& node) {
  const auto& args = args_of<AttentionWeightsArgs>(node);
  CudaMemory& memory = memory_of(context);
  launch(memory, weigh_keys, list_grid(args), dim3(kListThreads), kScratch, lists_of(memory, args.keys), cols_of(node.inputs[0]),
         value_of(node.inputs[0]), value_of(node.inputs[1]), value_of(node.inputs[2]), value_of(node.output));
}

void attention_weights_backward(const Context& context, Node& node) {
  const auto& args = args_of<AttentionWeightsArgs>(node);
  CudaMemory& memory = memory_of(context);
  const std::int64_t d = cols_of(node.inputs[0]), keys = rows_of(node.inputs[1]);
  const float *p = value_of(node.output), *dp = output_gradient(node);
  float* mean_of = floats(context, rows_of(node.inputs[0]));
  launch(memory, weigh_keys_back, list_grid(args), dim3(kListThreads), kScratch, lists_of(memory, args.keys), d, value_of(node.inputs[1]), p, dp,
         gradient_of(node, 0), gradient_of(node, 2), mean_of);
  if (const Gradient dk = gradient_of(node, 1)) {
    launch_warps(memory, spread_to_keys, keys, keys, d, args.heads, memory.list_of_row(args.keys), value_of(node.inputs[0]), p, dp, mean_of, dk);
  }
}

// ---- match_sum: p (keys, heads) -> out (rows, heads * columns)

// Matches on the device: (n) each, the place (row, column) of the output being row * columns + column.
struct MatchesThere {
  const std::int32_t *count, *keys, *places;
  std::int64_t room;  // for n
};

__global__ void find_places(const std::int32_t* count, int columns, const std::int32_t* row, const std::int32_t* column, std::int32_t* place) {
  for (std::int64_t x = first_element(); x < *count; x += element_stride()) place[x] = row[x] * columns + column[x];
}

MatchesThere matches_of(CudaMemory& memory, const MatchSumArgs& args) {
  const Matches& m = args.matches;
  const std::int32_t n = m.size();
  const std::int64_t room = memory.room_for(n);
  auto* places = static_cast<std::int32_t*>(memory.allocate(static_cast<std::size_t>(room) * sizeof(std::int32_t)));
  const std::int32_t* count = memory.staged_copy<std::int32_t>({&n, 1});
  launch_elements(memory, find_places, room, count, args.columns, memory.copy_of(m.rows, n), memory.copy_of(m.columns, n), places);
  return {count, memory.copy_of(m.keys, n), places, room};
}

// Those that share a target, one after another.
struct Groups {
  const std::int32_t *count, *target, *begin;  // how many groups there are; each one's
  const std::int32_t *matches, *match;         // how many matches there are; sorted by target
  std::int64_t room;                           // for groups
  __device__ std::int32_t end(std::int64_t g) const { return g + 1 < *count ? begin[g + 1] : *matches; }
};

Groups group(CudaMemory& memory, const MatchesThere& m, const std::int32_t* target_of, std::int64_t targets) {
  const SortedKeys sorted = sort_keys(memory, target_of, m.count, m.room, targets);
  const Runs runs = number_runs(memory, sorted.key, m.count, m.room, targets);
  return {runs.count, runs.key, runs.begin, m.count, sorted.place, std::min(m.room, targets)};
}

// Head h's number of a place lies at row * heads * columns + h * columns + column.
__device__ inline std::int64_t place_of_head(std::int64_t place, int columns, int heads, int h) {
  return (place / columns * heads + h) * columns + place % columns;
}

__global__ void sum_matches(Groups groups, const std::int32_t* keys, int heads, int columns, const float* p, float* y) {
  for (std::int64_t i = first_element(); i < std::int64_t{*groups.count} * heads; i += element_stride()) {
    const auto g = i / heads;
    const int h = static_cast<int>(i % heads);
    float sum = 0;
    for (std::int32_t x = groups.begin[g]; x < groups.end(g); ++x) sum += p[std::int64_t{keys[groups.match[x]]} * heads + h];
    y[place_of_head(groups.target[g], columns, heads, h)] = sum;
  }
}

__global__ void spread_matches(Groups groups, const std::int32_t* places, int heads, int columns, const float* dy, Gradient dp) {
  for (std::int64_t i = first_element(); i < std::int64_t{*groups.count} * heads; i += element_stride()) {
    const auto g = i / heads;
    const int h = static_cast<int>(i % heads);
    float sum = 0;
    for (std::int32_t x = groups.begin[g]; x < groups.end(g); ++x) sum += dy[place_of_head(places[groups.match[x]], columns, heads, h)];
    dp.to[std::int64_t{groups.target[g]} * heads + h] += sum;
  }
}

void match_sum_forward(const Context& context, Node& node) {
  const auto& args = args_of<MatchSumArgs>(node);
  CudaMemory& memory = memory_of(context);
  const int heads = static_cast<int>(cols_of(node.inputs[0]));
  memory.zero(value_of(node.output), static_cast<std::size_t>(elements_of(node.output)) * sizeof(float));
  const MatchesThere matches = matches_of(memory, args);
  const Groups groups = group(memory, matches, matches.places, rows_of(node.output) * args.columns);
  launch_elements(memory, sum_matches, groups.room * heads, groups, matches.keys, heads, args.columns, value_of(node.inputs[0]), value_of(node.output));
}

void match_sum_backward(const Context& context, Node& node) {
  const auto& args = args_of<MatchSumArgs>(node);
  CudaMemory& memory = memory_of(context);
  const int heads = static_cast<int>(cols_of(node.inputs[0]));
  const MatchesThere matches = matches_of(memory, args);
  const Groups groups = group(memory, matches, matches.keys, rows_of(node.inputs[0]));
  launch_elements(memory, spread_matches, groups.room * heads, groups, matches.places, heads, args.columns, output_gradient(node), gradient_of(node, 0));
}

}  // namespace

void set_query_attention(const Kernels& kernels) {
  kernels.set(OpId::split_heads, split_heads_forward, split_heads_backward, 0b1);
  kernels.set(OpId::merge_heads, merge_heads_forward, merge_heads_backward, 0b1);
  kernels.set(OpId::attention_weights, attention_weights_forward, attention_weights_backward, 0b111);
  kernels.set(OpId::match_sum, match_sum_forward, match_sum_backward, 0);
}

}  // namespace piano::cuda
