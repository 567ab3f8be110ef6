// attention over ragged lists: a block for each list and head, a warp for each query at a time. The list's keys and values lie in shared memory
// when they fit. Backward computes the weights again, from each query's log-sum-exp: first by queries (dq), then by keys (dk, dv), so that
// every gradient is one warp's sum and no two meet.
#include <algorithm>

#include "engine/cuda/column_sums.h"
#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

constexpr std::size_t kShared = 48 * 1024;  // bytes that a block may have without asking for more

// What the kernels read. Head h's columns begin at h * width. With null_k each list has one more key and value.
struct Inputs {
  Lists queries, keys;
  const float *q, *k, *v, *null_k, *null_v;
  std::int64_t d;
  int width;
  bool staged;             // keys and values are copied to shared memory
  std::int32_t slots;      // of a warp's scratch: as many as the most keys (with the null slot) or queries of a list
  float scale;             // 1 / sqrt(width)
};

// The keys or values of one list and head.
struct Slots {
  const float* rows;
  std::int64_t stride;
  const float* null;
  int n;  // without the null slot
  __device__ const float* at(int j) const { return j < n ? rows + j * stride : null; }
};

// Block-wide: the n rows and the null slot, copied to `to`, rows width + 1 apart (so that lanes on different rows meet different banks).
__device__ inline Slots stage(const Slots& from, int width, float* to) {
  const int slots = from.n + (from.null != nullptr ? 1 : 0), stride = width + 1;
  for (int i = static_cast<int>(threadIdx.x); i < slots * width; i += static_cast<int>(blockDim.x)) to[i / width * stride + i % width] = from.at(i / width)[i % width];
  return {to, stride, to + from.n * stride, from.n};
}

__device__ inline float dot(const float* a, const float* b, int n) {
  float sum = 0;
  for (int c = 0; c < n; ++c) sum += a[c] * b[c];
  return sum;
}

// One list and head, as a block sees it.
struct Here {
  std::int64_t list, column, first_query, first_key;
  int queries, slots;  // slots: keys and the null slot
  Slots k, v;
  float* scratch;      // of this warp: 2 * slots numbers
};

__device__ inline Here here_of(const Inputs& in) {
  Here h;
  h.list = blockIdx.x, h.column = std::int64_t{blockIdx.y} * in.width;
  h.first_query = in.queries.offsets[h.list], h.first_key = in.keys.offsets[h.list];
  h.queries = static_cast<int>(in.queries.offsets[h.list + 1] - h.first_query);
  const int n = static_cast<int>(in.keys.offsets[h.list + 1] - h.first_key);
  h.slots = n + (in.null_k != nullptr ? 1 : 0);
  h.k = {in.k + h.first_key * in.d + h.column, in.d, in.null_k == nullptr ? nullptr : in.null_k + h.column, n};
  h.v = {in.v + h.first_key * in.d + h.column, in.d, in.null_v == nullptr ? nullptr : in.null_v + h.column, n};
  auto* shared = shared_memory<float>();
  h.scratch = shared + std::int64_t{threadIdx.x / 32} * 2 * in.slots;
  if (in.staged) {
    float* room = shared + std::int64_t{blockDim.x / 32} * 2 * in.slots;
    h.k = stage(h.k, in.width, room);
    h.v = stage(h.v, in.width, room + h.slots * (in.width + 1));
    __syncthreads();
  }
  return h;
}

// p_j = softmax_j(q . k_j * scale), out = sum_j p_j v_j. saved: each query's log of the sum of exp(score), (queries, heads)
__global__ void attend(Inputs in, float* out, float* saved) {
  const Here h = here_of(in);
  const std::int64_t heads = gridDim.y;
  float* p = h.scratch;
  for (int i = static_cast<int>(threadIdx.x / 32); i < h.queries; i += static_cast<int>(blockDim.x / 32)) {
    const std::int64_t at = (h.first_query + i) * in.d + h.column;
    float highest = -INFINITY, sum = 0;
    for (int j = lane(); j < h.slots; j += 32) {
      p[j] = in.scale * dot(in.q + at, h.k.at(j), in.width);
      highest = fmaxf(highest, p[j]);
    }
    highest = warp_max(highest);
    for (int j = lane(); j < h.slots; j += 32) sum += p[j] = expf(p[j] - highest);
    sum = warp_sum(sum);
    __syncwarp();
    for (int c = lane(); c < in.width; c += 32) {
      float value = 0;
      for (int j = 0; j < h.slots; ++j) value += p[j] * h.v.at(j)[c];
      out[at + c] = h.slots > 0 ? value / sum : 0.0f;
    }
    if (saved != nullptr && lane() == 0) saved[(h.first_query + i) * heads + blockIdx.y] = highest + logf(sum);
    __syncwarp();  // p is written again
  }
}

struct Gradients {
  Gradient dq, dk, dv;
  float *dnull_k, *dnull_v;  // (lists, d) each, or null
};

// With e_j = dout . v_j:  ds_j = p_j (e_j - sum_m p_m e_m) scale;  dq += sum_j ds_j k_j;  dk_j += ds_j q;  dv_j += p_j dout
__global__ void attend_back(Inputs in, const float* saved, const float* dout, float* mean_of, Gradients g) {
  const Here h = here_of(in);
  const std::int64_t heads = gridDim.y;
  const int warp = static_cast<int>(threadIdx.x / 32), warps = static_cast<int>(blockDim.x / 32);
  float *p = h.scratch, *ds = h.scratch + in.slots;
  for (int i = warp; i < h.queries; i += warps) {  // by queries
    const std::int64_t row = h.first_query + i, at = row * in.d + h.column;
    const float log_sum = saved[row * heads + blockIdx.y];
    float mean = 0;
    for (int j = lane(); j < h.slots; j += 32) {
      p[j] = expf(in.scale * dot(in.q + at, h.k.at(j), in.width) - log_sum);
      ds[j] = dot(dout + at, h.v.at(j), in.width);
      mean += p[j] * ds[j];
    }
    mean = warp_sum(mean);
    if (lane() == 0) mean_of[row * heads + blockIdx.y] = mean;
    for (int j = lane(); j < h.slots; j += 32) ds[j] = p[j] * (ds[j] - mean) * in.scale;
    __syncwarp();
    for (int c = lane(); c < in.width && g.dq.to != nullptr; c += 32) {
      float value = 0;
      for (int j = 0; j < h.slots; ++j) value += ds[j] * h.k.at(j)[c];
      put(g.dq.to + at + c, value, g.dq.fresh);
    }
    __syncwarp();
  }
  __syncthreads();  // the means are there; and q, k and v may be one tensor, with one gradient
  for (int j = warp; j < h.slots; j += warps) {  // by keys
    const float *key = h.k.at(j), *value = h.v.at(j);
    for (int i = lane(); i < h.queries; i += 32) {
      const std::int64_t row = h.first_query + i, at = row * in.d + h.column;
      p[i] = expf(in.scale * dot(in.q + at, key, in.width) - saved[row * heads + blockIdx.y]);
      ds[i] = p[i] * (dot(dout + at, value, in.width) - mean_of[row * heads + blockIdx.y]) * in.scale;
    }
    __syncwarp();
    const bool null = j == h.k.n;
    for (int c = lane(); c < in.width; c += 32) {
      float of_k = 0, of_v = 0;
      for (int i = 0; i < h.queries; ++i) {
        const std::int64_t at = (h.first_query + i) * in.d + h.column + c;
        of_k += ds[i] * in.q[at];
        of_v += p[i] * dout[at];
      }
      const std::int64_t to = (null ? h.list : h.first_key + j) * in.d + h.column + c;
      if (null) {
        if (g.dnull_k != nullptr) g.dnull_k[to] = of_k, g.dnull_v[to] = of_v;
      } else {
        if (g.dk.to != nullptr) put(g.dk.to + to, of_k, g.dk.fresh);
        if (g.dv.to != nullptr) put(g.dv.to + to, of_v, g.dv.fresh);
      }
    }
    __syncwarp();
  }
}

std::int32_t longest(Ragged lists) {
  std::int32_t n = 0;
  for (std::int32_t l = 0; l < lists.lists; ++l) n = std::max(n, lists.size(l));
  return n;
}

// How the kernels run on a node: its inputs, and the blocks' threads and shared memory.
struct Plan {
  Plan(CudaMemory& memory, const Node& node) {
    const auto& args = args_of<AttentionArgs>(node);
    const std::int64_t d = cols_of(node.output);
    in.queries = lists_of(memory, args.queries), in.keys = lists_of(memory, args.keys);
    in.q = value_of(node.inputs[0]), in.k = value_of(node.inputs[1]), in.v = value_of(node.inputs[2]);
    in.null_k = value_of(node.inputs[3]), in.null_v = value_of(node.inputs[4]);
    in.d = d, in.width = static_cast<int>(d / args.heads), in.scale = 1 / std::sqrt(static_cast<float>(in.width));
    const std::int32_t keys = longest(args.keys) + (in.null_k != nullptr ? 1 : 0), queries = longest(args.queries);
    in.slots = std::max({keys, queries, std::int32_t{1}});
    const std::size_t scratch = 2 * sizeof(float) * static_cast<std::size_t>(in.slots);
    const std::size_t staged = 2 * sizeof(float) * static_cast<std::size_t>(keys) * static_cast<std::size_t>(in.width + 1);
    const std::size_t fit = std::min<std::size_t>(kShared / scratch, 4);
    PIANO_CHECK(fit > 0, "[attention] expected lists of at most " + std::to_string(kShared / 2 / sizeof(float)) + " rows on a GPU, got " +
                             std::to_string(in.slots));
    in.staged = 4 * scratch + staged <= kShared;
    const std::size_t warps = in.staged ? 4 : fit;
    shared = warps * scratch + (in.staged ? staged : 0);
    grid = dim3(static_cast<unsigned>(args.queries.lists), static_cast<unsigned>(args.heads));
    block = dim3(static_cast<unsigned>(warps) * kWarp);
  }
  Inputs in{};
  dim3 grid, block;
  std::size_t shared;
};

void attention_forward(const Context& context, Node& node) {
  CudaMemory& memory = memory_of(context);
  const Plan plan(memory, node);
  float* saved = context.tape != nullptr ? floats(context, rows_of(node.output) * plan.grid.y) : nullptr;
  node.saved = saved;
  launch(memory, attend, plan.grid, plan.block, plan.shared, plan.in, value_of(node.output), saved);
}

struct NullSlots {
  const float *k, *v;  // (lists, d)
  std::int64_t d;
  __device__ void operator()(std::int64_t list, std::int64_t c, float* values) const { values[0] = k[list * d + c], values[1] = v[list * d + c]; }
};

void attention_backward(const Context& context, Node& node) {
  CudaMemory& memory = memory_of(context);
  const Plan plan(memory, node);
  const std::int64_t lists = plan.in.queries.lists, d = plan.in.d;
  Gradients g{gradient_of(node, 0), gradient_of(node, 1), gradient_of(node, 2), nullptr, nullptr};
  const bool null = gradient_of(node, 3) || gradient_of(node, 4);
  if (null) g.dnull_k = floats(context, lists * d), g.dnull_v = floats(context, lists * d);
  launch(memory, attend_back, plan.grid, plan.block, plan.shared, plan.in, static_cast<const float*>(node.saved), output_gradient(node),
         floats(context, rows_of(node.output) * plan.grid.y), g);
  if (null) column_sums<2>(context, lists, d, NullSlots{g.dnull_k, g.dnull_v, d}, Targets<2>{{gradient_of(node, 3), gradient_of(node, 4)}});
}

}  // namespace

void set_attention(const Kernels& kernels) { kernels.set(OpId::attention, attention_forward, attention_backward, 0b11111); }

}  // namespace piano::cuda
