// attention over ragged lists. A block has some rows of one list and head, two of them in each lane's registers with what they add up to, and goes
// through the list's other rows in shared memory: forward two queries, past keys and values, with a running softmax; backward two queries again
// (dq), then two keys (dk, dv), past queries and their gradients. So every sum is one lane's, in the order of the rows, and no two meet.
//
// Why so: a multiply-add with both factors in memory takes two loads, and a multiprocessor has 128 lanes that multiply and 32 that load. Here a
// number of another row is loaded once for two rows, as one of four, and alike in all lanes, which takes half the time: half a load for each
// multiply-add forward, a third and a quarter backward. So multiplying is what is waited for. Backward computes the weights again, from each query's
// log-sum-exp: kept, they would save 32 of 112 multiply-adds for each, but take the shared memory of half the blocks (21 KB for a list of 51), and
// too few warps would be left to wait for one another.
//
// Where a list has too few rows to fill a warp, lanes split the others among them, and where a head has more columns than a lane holds, lanes share
// them; both add up by shuffles. How follows from the list's own sizes and the width, so a list has the same bits in any batch.
#include <algorithm>
#include <bit>

#include "engine/cuda/attention_rows.h"
#include "engine/cuda/column_sums.h"
#include "engine/cuda/node.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

constexpr int kMostWarps = 4;  // of a block: one, but where lanes share rows
constexpr float kLog2E = 1.44269504f;
constexpr float kNoScore = -8e37f;  // less than any score, and finite: the highest of none

// Scores that forward computes before it looks for the highest one: what was added up is scaled once for as many.
constexpr int tile_of(int columns) { return columns == kNarrow ? 4 : 1; }

// What the kernels read. Head h's columns begin at h * width. With null_k each list has one more key and value.
struct Inputs {
  Lists queries, keys;
  const float *q, *k, *v, *null_k, *null_v;
  std::int64_t d;
  Columns head;
  float scale;  // 1 / sqrt(width)
  int staged;   // rows of two kinds that there is shared memory for
};

// One list and head, as a block sees it.
struct Here {
  std::int64_t list, column, first_query, first_key;
  Rows q, k, v;
  __device__ explicit Here(const Inputs& in) {
    list = blockIdx.x, column = std::int64_t{blockIdx.y} * in.head.width;
    first_query = in.queries.offsets[list], first_key = in.keys.offsets[list];
    const int queries = static_cast<int>(in.queries.offsets[list + 1] - first_query), keys = static_cast<int>(in.keys.offsets[list + 1] - first_key);
    const int slots = keys + (in.null_k != nullptr ? 1 : 0);
    q = {in.q + first_query * in.d + column, in.d, nullptr, queries, queries};
    k = {in.k + first_key * in.d + column, in.d, in.null_k == nullptr ? nullptr : in.null_k + column, keys, slots};
    v = {in.v + first_key * in.d + column, in.d, in.null_v == nullptr ? nullptr : in.null_v + column, keys, slots};
  }
};

// p_j = softmax_j(q . k_j * scale), out = sum_j p_j v_j. saved: each query's log2 of the sum of exp(score), (queries, heads)
template <int kColumns, bool kOneLane>
__global__ void __launch_bounds__(kOneLane ? kWarp : kMostWarps * kWarp, kOneLane ? 16 : 4) attend(Inputs in, float* out, float* saved) {
  constexpr int kTile = tile_of(kColumns);
  const Here here(in);
  const Place at(here.q.n, kOneLane ? 1 : in.head.lanes);
  if (at.first >= here.q.n) return;
  const int stride = stride_of(at.lanes, kColumns);
  float *keys = shared_memory<float>(), *values = keys + in.staged * stride;
  const float steep = in.scale * kLog2E;
  float q[kOwn][kColumns], sum[kOwn][kColumns] = {}, highest[kOwn], total[kOwn] = {};
  PIANO_UNROLL(kOwn)
  for (int r = 0; r < kOwn; ++r) {
    load_own<kColumns>(in.head, here.q.at(min(at.own + r, here.q.n - 1)), at, q[r]);
    highest[r] = kNoScore;
  }
  for (int begin = 0; begin < here.k.slots; begin += in.staged) {
    const int n = min(in.staged, here.k.slots - begin);
    __syncthreads();  // those staged before were read
    stage<kColumns>(in.head, here.k, begin, n, at.lanes, keys);
    stage<kColumns>(in.head, here.v, begin, n, at.lanes, values);
    staged();
    for (int j = 0; at.busy && j < n; j += kTile * at.splits) {
      int key[kTile];
      float p[kOwn * kTile];  // of row r and key t: r * kTile + t
      PIANO_UNROLL(kTile)
      for (int t = 0; t < kTile; ++t) {
        key[t] = j + t * at.splits + at.split;
        float k[kColumns];
        load_staged<kColumns>(keys + min(key[t], n - 1) * stride, at, k);
        PIANO_UNROLL(kOwn)
        for (int r = 0; r < kOwn; ++r) p[r * kTile + t] = dot<kColumns>(q[r], k);
      }
      at.add_over_columns<kOwn * kTile>(p);
      PIANO_UNROLL(kOwn)
      for (int r = 0; r < kOwn; ++r) {
        const float before = highest[r];
        PIANO_UNROLL(kTile)
        for (int t = 0; t < kTile; ++t) {
          if (key[t] >= n) p[r * kTile + t] = -INFINITY;
          highest[r] = fmaxf(highest[r], p[r * kTile + t]);
        }
        // The difference first: of two products, one fused with the subtraction, equal numbers would not give 0.
        const float shift = steep * highest[r], shrink = exp2f(steep * (before - highest[r]));
        total[r] *= shrink;
        PIANO_UNROLL(unrolled(kColumns))
        for (int c = 0; c < kColumns; ++c) sum[r][c] *= shrink;
        PIANO_UNROLL(kTile)
        for (int t = 0; t < kTile; ++t) total[r] += p[r * kTile + t] = exp2f(steep * p[r * kTile + t] - shift);
      }
      PIANO_UNROLL(kTile)
      for (int t = 0; t < kTile; ++t) {
        float v[kColumns];
        load_staged<kColumns>(values + min(key[t], n - 1) * stride, at, v);
        PIANO_UNROLL(kOwn)
        for (int r = 0; r < kOwn; ++r) add_times<kColumns>(sum[r], p[r * kTile + t], v);
      }
    }
  }
  PIANO_UNROLL(kOwn)
  for (int r = 0; r < kOwn; ++r) {
    const float top = at.highest_of_splits(highest[r]), shrink = exp2f(steep * (highest[r] - top));
    total[r] *= shrink;
    PIANO_UNROLL(unrolled(kColumns))
    for (int c = 0; c < kColumns; ++c) sum[r][c] *= shrink;
    at.add_over_splits<1>(&total[r]);
    at.add_over_splits<kColumns>(sum[r]);
    const std::int64_t row = here.first_query + at.own + r;
    if (at.split != 0 || at.own + r >= here.q.n) continue;
    put_own<kColumns>(in.head, out + row * in.d + here.column, at, sum[r], here.k.slots > 0 ? 1 / total[r] : 0.0f, true);
    if (saved != nullptr && at.part == 0) saved[row * gridDim.y + blockIdx.y] = steep * top + log2f(total[r]);
  }
}

// Backward. With e_ij = dout_i . v_j and mean_i = sum_j p_ij e_ij = dout_i . out_i:
//   ds_ij = p_ij (e_ij - mean_i) scale;  dq_i += sum_j ds_ij k_j;  dk_j += sum_i ds_ij q_i;  dv_j += sum_i p_ij dout_i
struct Back {
  const float *out, *dout, *log_sum;
  float* mean;         // (queries, heads), as log_sum: filled by queries, read by keys
  Gradient dq, dk, dv;
  float *dnull_k, *dnull_v;  // (lists, d) each, or null
};

// By queries, own rows are of q and dout, others of k and v; by keys, the other way round. Results: dq; or dk and dv.
template <int kColumns, bool kOneLane, bool kByKeys>
__global__ void __launch_bounds__(kOneLane ? kWarp : kMostWarps * kWarp, kOneLane ? 12 : kByKeys ? 2 : 3) attend_back(Inputs in, Back back) {
  const Here here(in);
  const Rows dout{back.dout + here.first_query * in.d + here.column, in.d, nullptr, here.q.n, here.q.n};
  const Rows &own_a = kByKeys ? here.k : here.q, &own_b = kByKeys ? here.v : dout, &a = kByKeys ? here.q : here.k, &b = kByKeys ? dout : here.v;
  const int owns = own_a.slots, others = kByKeys || back.dq.to != nullptr ? a.slots : 0;
  const Place at(owns, kOneLane ? 1 : in.head.lanes);
  if (at.first >= owns) return;
  const int stride = stride_of(at.lanes, kColumns);
  float *staged_a = shared_memory<float>(), *staged_b = staged_a + in.staged * stride, *staged_of_query = staged_b + in.staged * stride;
  const float steep = in.scale * kLog2E;
  const auto number = [&](int query) { return (here.first_query + query) * gridDim.y + blockIdx.y; };  // of log_sum and mean
  float x[kOwn][kColumns], y[kOwn][kColumns], sum_a[kOwn][kColumns] = {}, sum_b[kOwn][kByKeys ? kColumns : 1] = {};
  float log_sum[kOwn] = {}, mean[kOwn] = {};
  PIANO_UNROLL(kOwn)
  for (int r = 0; r < kOwn; ++r) {
    const int row = min(at.own + r, owns - 1);
    load_own<kColumns>(in.head, own_a.at(row), at, x[r]);
    load_own<kColumns>(in.head, own_b.at(row), at, y[r]);
    if constexpr (!kByKeys) {
      float out[kColumns];
      load_own<kColumns>(in.head, back.out + (here.first_query + row) * in.d + here.column, at, out);
      mean[r] = dot<kColumns>(y[r], out), log_sum[r] = back.log_sum[number(row)];
      at.add_over_columns<1>(&mean[r]);
      if (at.split == 0 && at.part == 0 && at.own + r < owns) back.mean[number(row)] = mean[r];
    }
  }
  for (int begin = 0; begin < others; begin += in.staged) {
    const int n = min(in.staged, others - begin);
    __syncthreads();  // those staged before were read
    stage<kColumns>(in.head, a, begin, n, at.lanes, staged_a);
    stage<kColumns>(in.head, b, begin, n, at.lanes, staged_b);
    for (int i = static_cast<int>(threadIdx.x); kByKeys && i < n; i += static_cast<int>(blockDim.x)) {
      staged_of_query[2 * i] = back.log_sum[number(begin + i)], staged_of_query[2 * i + 1] = back.mean[number(begin + i)];
    }
    staged();
    for (int j = 0; at.busy && j < n; j += at.splits) {
      const int other = min(j + at.split, n - 1);
      float u[kColumns], w[kColumns];
      load_staged<kColumns>(staged_a + other * stride, at, u);
      load_staged<kColumns>(staged_b + other * stride, at, w);
      float dots[2 * kOwn];  // scores, and after them dout . v
      PIANO_UNROLL(kOwn)
      for (int r = 0; r < kOwn; ++r) dots[r] = dot<kColumns>(x[r], u), dots[kOwn + r] = dot<kColumns>(y[r], w);
      at.add_over_columns<2 * kOwn>(dots);
      PIANO_UNROLL(kOwn)
      for (int r = 0; r < kOwn; ++r) {
        if constexpr (kByKeys) log_sum[r] = staged_of_query[2 * other], mean[r] = staged_of_query[2 * other + 1];
        const float p = j + at.split < n ? exp2f(steep * dots[r] - log_sum[r]) : 0.0f;
        add_times<kColumns>(sum_a[r], p * (dots[kOwn + r] - mean[r]), u);
        if constexpr (kByKeys) add_times<kColumns>(sum_b[r], p, w);
      }
    }
  }
  PIANO_UNROLL(kOwn)
  for (int r = 0; r < kOwn; ++r) {
    at.add_over_splits<kColumns>(sum_a[r]);
    if constexpr (kByKeys) at.add_over_splits<kColumns>(sum_b[r]);
    const int row = at.own + r;
    if (at.split != 0 || row >= owns) continue;
    const auto give = [&](const Gradient& to, std::int64_t to_row, const float* v, float factor) {
      if (to.to != nullptr) put_own<kColumns>(in.head, to.to + to_row * in.d + here.column, at, v, factor, to.fresh != 0);
    };
    if constexpr (!kByKeys) {
      give(back.dq, here.first_query + row, sum_a[r], in.scale);
    } else {
      const bool null = row == here.k.n;
      give(null ? Gradient{back.dnull_k, 1} : back.dk, null ? here.list : here.first_key + row, sum_a[r], in.scale);
      give(null ? Gradient{back.dnull_v, 1} : back.dv, null ? here.list : here.first_key + row, sum_b[r], 1);
    }
  }
}

std::int32_t longest(Ragged lists) {
  std::int32_t n = 0;
  for (std::int32_t l = 0; l < lists.lists; ++l) n = std::max(n, lists.size(l));
  return n;
}

// What the kernels of a node are started with.
struct Plan {
  Plan(CudaMemory& memory, const Node& node) {
    const auto& args = args_of<AttentionArgs>(node);
    in.queries = lists_of(memory, args.queries), in.keys = lists_of(memory, args.keys), heads = args.heads;
    in.q = value_of(node.inputs[0]), in.k = value_of(node.inputs[1]), in.v = value_of(node.inputs[2]);
    in.null_k = value_of(node.inputs[3]), in.null_v = value_of(node.inputs[4]);
    in.d = cols_of(node.output), in.head.width = static_cast<int>(in.d / heads), in.scale = 1 / std::sqrt(static_cast<float>(in.head.width));
    in.head.quads = in.head.width % 4 == 0 && can_be_quads(node.output);
    for (const TensorRecord* input : node.inputs) in.head.quads &= can_be_quads(input);
    columns = in.head.width <= kWarp * kNarrow ? kNarrow : kBroad;
    if (in.head.width > kWarp * columns) {
      throw Error(ErrorCode::usage, "device = cuda: expected attention heads of at most " + std::to_string(kWarp * columns) + " columns, got " +
                                        std::to_string(in.head.width) + "; use more heads or device = cpu");
    }
    in.head.lanes = static_cast<int>(std::bit_ceil(static_cast<unsigned>(ceil_div(in.head.width, columns))));
    queries = longest(args.queries), slots = longest(args.keys) + (in.null_k != nullptr ? 1 : 0);
    // Shared memory is for more rows where repeats are expected; blocks are not, as one without rows would still take a place.
    room_for_slots = memory.room_for(slots), room_for_queries = memory.room_for(queries);
  }
  // Blocks for lists of up to `owns` own rows. Of up to `others` others all are staged at once; or, of any number beyond, as many as lanes take in
  // whole tiles however they split them: so no list's pieces depend on another's length.
  template <class... P, class... A>
  void start(CudaMemory& memory, void (*kernel)(Inputs, P...), std::int64_t owns, std::int64_t others, A... args) {
    const int warps = std::min(in.head.lanes, kMostWarps);
    in.staged = static_cast<int>(std::min<std::int64_t>(others, kWarp / in.head.lanes * tile_of(columns)));
    const auto numbers = in.staged * (2 * stride_of(in.head.lanes, columns) + 2);  // of a query two more: see attend_back
    const std::int64_t blocks = ceil_div(owns, rows_of_block(in.head.lanes, warps));
    launch(memory, kernel, dim3(static_cast<unsigned>(in.queries.lists), static_cast<unsigned>(heads), static_cast<unsigned>(blocks)),
           dim3(static_cast<unsigned>(warps * kWarp)), static_cast<std::size_t>(numbers) * sizeof(float), in, args...);
  }
  static bool can_be_quads(const TensorRecord* t) {
    return t == nullptr || (cuda::can_be_quads(value_of(t)) && cuda::can_be_quads(static_cast<const float*>(t->grad)));
  }
  Inputs in{};
  int heads, columns;
  std::int64_t queries, slots, room_for_queries, room_for_slots;  // of the longest list
};

template <bool kByKeys>
auto attend_back_of(const Plan& plan) {
  if (plan.columns == kBroad) return attend_back<kBroad, false, kByKeys>;
  return plan.in.head.lanes > 1 ? attend_back<kNarrow, false, kByKeys> : attend_back<kNarrow, true, kByKeys>;
}

void attention_forward(const Context& context, Node& node) {
  CudaMemory& memory = memory_of(context);
  Plan plan(memory, node);
  float* saved = context.tape != nullptr ? floats(context, rows_of(node.output) * plan.heads) : nullptr;
  node.saved = saved;
  const auto kernel = plan.columns == kBroad ? attend<kBroad, false> : plan.in.head.lanes > 1 ? attend<kNarrow, false> : attend<kNarrow, true>;
  plan.start(memory, kernel, plan.queries, plan.room_for_slots, value_of(node.output), saved);
}

struct NullSlots {
  const float *k, *v;  // (lists, d)
  std::int64_t d;
  __device__ void operator()(std::int64_t list, std::int64_t c, float* values) const { values[0] = k[list * d + c], values[1] = v[list * d + c]; }
};

void attention_backward(const Context& context, Node& node) {
  CudaMemory& memory = memory_of(context);
  Plan plan(memory, node);
  const std::int64_t lists = plan.in.queries.lists, d = plan.in.d;
  Back back{value_of(node.output), output_gradient(node), static_cast<const float*>(node.saved), floats(context, rows_of(node.output) * plan.heads),
            gradient_of(node, 0), gradient_of(node, 1), gradient_of(node, 2), nullptr, nullptr};
  const bool null = gradient_of(node, 3) || gradient_of(node, 4);
  if (null) back.dnull_k = floats(context, lists * d), back.dnull_v = floats(context, lists * d);
  // One after the other: keys read the queries' means; and q, k and v may be one tensor, with one gradient.
  plan.start(memory, attend_back_of<false>(plan), plan.queries, plan.room_for_slots, back);
  if (back.dk || back.dv || null) plan.start(memory, attend_back_of<true>(plan), plan.slots, plan.room_for_queries, back);
  if (null) {
    column_sums<2>(context, lists, d, NullSlots{back.dnull_k, back.dnull_v, d}, Targets<2>{{gradient_of(node, 3), gradient_of(node, 4)}});
  }
}

}  // namespace

void set_attention(const Kernels& kernels) { kernels.set(OpId::attention, attention_forward, attention_backward, 0b11111); }

}  // namespace piano::cuda
