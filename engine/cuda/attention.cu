// attention over ragged lists: a block for each list and head, a warp for each query at a time. The list's keys and values lie in shared memory
// when they fit. Backward computes the weights again, from each query's log-sum-exp: first by queries (dq), then by keys (dk, dv), so that
// every gradient is one warp's sum and no two meet. The second pass reads the first one's weights when there was room to keep them, and computes
// the same ones once more when there was not. What fits is each block's own: a long list does not slow the others.
#include <algorithm>

#include "engine/cuda/column_sums.h"
#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

// What the kernels read. Head h's columns begin at h * width. With null_k each list has one more key and value.
struct Inputs {
  Lists queries, keys;
  const float *q, *k, *v, *null_k, *null_v;
  std::int64_t d;
  std::int64_t room;       // numbers of a block's shared memory: at least the scratch of its warps
  int width;
  float scale;             // 1 / sqrt(width)
};

// Numbers of shared memory that a list wants: two of each warp for each slot or query,
__host__ __device__ inline std::int64_t scratch_of(std::int64_t slots, std::int64_t queries) { return 2 * (slots > queries ? slots : queries); }
// its keys and values, rows width + 1 apart (so that lanes on different rows meet different banks),
__host__ __device__ inline std::int64_t staged_of(std::int64_t slots, std::int64_t width) { return 2 * slots * (width + 1); }
// and the weights of every query with their gradients, instead of the warps' scratch.
__host__ __device__ inline std::int64_t weights_of(std::int64_t slots, std::int64_t queries) { return 2 * slots * queries; }

// The keys or values of one list and head.
struct Slots {
  const float* rows;
  std::int64_t stride;
  const float* null;
  int n;  // without the null slot
  __device__ const float* at(int j) const { return j < n ? rows + j * stride : null; }
};

// Block-wide: the n rows and the null slot, copied to `to`, rows width + 1 apart.
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
  float *p, *ds;       // of this warp: a number for each slot or query. Or, when kept, of all: (queries, slots)
  bool kept;
};

// may_keep: weights are kept when there is room for them, and for keys and values beside them.
__device__ inline Here here_of(const Inputs& in, bool may_keep) {
  Here h;
  h.list = blockIdx.x, h.column = std::int64_t{blockIdx.y} * in.width;
  h.first_query = in.queries.offsets[h.list], h.first_key = in.keys.offsets[h.list];
  h.queries = static_cast<int>(in.queries.offsets[h.list + 1] - h.first_query);
  const int n = static_cast<int>(in.keys.offsets[h.list + 1] - h.first_key);
  h.slots = n + (in.null_k != nullptr ? 1 : 0);
  h.k = {in.k + h.first_key * in.d + h.column, in.d, in.null_k == nullptr ? nullptr : in.null_k + h.column, n};
  h.v = {in.v + h.first_key * in.d + h.column, in.d, in.null_v == nullptr ? nullptr : in.null_v + h.column, n};
  auto* shared = shared_memory<float>();
  const std::int64_t staged = staged_of(h.slots, in.width), weights = weights_of(h.slots, h.queries), scratch = scratch_of(h.slots, h.queries);
  h.kept = may_keep && staged + weights <= in.room;
  h.p = h.kept ? shared : shared + threadIdx.x / 32 * scratch;
  h.ds = h.p + (h.kept ? weights : scratch) / 2;
  const std::int64_t used = h.kept ? weights : blockDim.x / 32 * scratch;
  if (used + staged <= in.room) {
    h.k = stage(h.k, in.width, shared + used);
    h.v = stage(h.v, in.width, shared + used + staged / 2);
    __syncthreads();
  }
  return h;
}

// p_j = softmax_j(q . k_j * scale), out = sum_j p_j v_j. saved: each query's log of the sum of exp(score), (queries, heads)
__global__ void attend(Inputs in, float* out, float* saved) {
  const Here h = here_of(in, false);
  const std::int64_t heads = gridDim.y;
  float* p = h.p;
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
  const Here h = here_of(in, true);
  const std::int64_t heads = gridDim.y;
  const int warp = static_cast<int>(threadIdx.x / 32), warps = static_cast<int>(blockDim.x / 32);
  for (int i = warp; i < h.queries; i += warps) {  // by queries
    float *p = h.kept ? h.p + i * h.slots : h.p, *ds = h.kept ? h.ds + i * h.slots : h.ds;
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
  __syncthreads();  // the means are there, or the weights; and q, k and v may be one tensor, with one gradient
  for (int j = warp; j < h.slots; j += warps) {  // by keys
    float *p = h.kept ? h.p + j : h.p, *ds = h.kept ? h.ds + j : h.ds;  // query i's lie at i * step
    const int step = h.kept ? h.slots : 1;
    const float *key = h.k.at(j), *value = h.v.at(j);
    for (int i = lane(); i < h.queries && !h.kept; i += 32) {
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
        of_k += ds[i * step] * in.q[at];
        of_v += p[i * step] * dout[at];
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
  Plan(CudaMemory& memory, const Node& node, bool may_keep) {
    const auto& args = args_of<AttentionArgs>(node);
    const std::int64_t d = cols_of(node.output);
    in.queries = lists_of(memory, args.queries), in.keys = lists_of(memory, args.keys);
    in.q = value_of(node.inputs[0]), in.k = value_of(node.inputs[1]), in.v = value_of(node.inputs[2]);
    in.null_k = value_of(node.inputs[3]), in.null_v = value_of(node.inputs[4]);
    in.d = d, in.width = static_cast<int>(d / args.heads), in.scale = 1 / std::sqrt(static_cast<float>(in.width));
    const std::int64_t longest_keys = longest(args.keys) + (in.null_k != nullptr ? 1 : 0), longest_queries = longest(args.queries);
    const auto most = static_cast<std::int64_t>(memory.most_shared() / sizeof(float));
    if (scratch_of(longest_keys, longest_queries) > most) {
      throw Error(ErrorCode::usage, "device = cuda: expected lists of at most " + std::to_string(most / 2) + " rows for attention on this GPU, got " +
                                        std::to_string(std::max(longest_keys, longest_queries)) + "; use device = cpu");
    }
    // Rounded up where repeats are expected, but not beyond what there is.
    const auto room = [&](std::int64_t n) { return std::max(n, std::min(most / 2, memory.room_for(n))); };
    const std::int64_t keys = room(longest_keys), queries = std::max<std::int64_t>(room(longest_queries), 1);
    const std::int64_t scratch = scratch_of(keys, queries), warps = std::min<std::int64_t>(most / scratch, 4), staged = staged_of(keys, in.width);
    const std::int64_t wanted = staged + std::max(warps * scratch, may_keep ? weights_of(keys, queries) : 0);
    in.room = std::max(warps * scratch, std::min<std::int64_t>(wanted, kSharedUnasked / sizeof(float)));
    shared = static_cast<std::size_t>(in.room) * sizeof(float);
    grid = dim3(static_cast<unsigned>(args.queries.lists), static_cast<unsigned>(args.heads));
    block = dim3(static_cast<unsigned>(warps) * kWarp);
  }
  Inputs in{};
  dim3 grid, block;
  std::size_t shared;
};

void attention_forward(const Context& context, Node& node) {
  CudaMemory& memory = memory_of(context);
  const Plan plan(memory, node, false);
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
  const Plan plan(memory, node, true);
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
