// The losses that look at whole lists: softmax_cross_entropy, attention_rank_loss, lambda_loss. A block for each list, in double.
#include "engine/cuda/device_code.h"
#include "engine/cuda/losses.h"
#include "engine/cuda/node.h"
#include "engine/cuda/scalar_functions.h"
#include "engine/ops/ops.h"

namespace piano::cuda {
namespace {

constexpr int kListThreads = 64;
constexpr std::size_t kScratch = kListThreads / kWarp * sizeof(double);

// One list's scores and targets.
struct List {
  const float *s, *t;
  std::int64_t begin, end;
  double total, normaliser;  // sum of the targets (a list without any is skipped), logsumexp of the scores
};

// The sum over i in begin .. end-1 of term(i), in every thread.
template <class Term>
__device__ double list_sum(std::int64_t begin, std::int64_t end, double* scratch, Term term) {
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kListThreads) sum += term(i);
  return block_sum(sum, scratch);
}

__device__ inline List list_of(Lists lists, const float* s, const float* t, double* scratch) {
  List list{s, t, lists.offsets[blockIdx.x], lists.offsets[blockIdx.x + 1], 0, 0};
  list.total = list_sum(list.begin, list.end, scratch, [&](std::int64_t i) { return double(t[i]); });
  double highest = -INFINITY;
  for (std::int64_t i = list.begin + threadIdx.x; i < list.end; i += kListThreads) highest = fmax(highest, double(s[i]));
  highest = block_max(highest, scratch);
  list.normaliser = highest + log(list_sum(list.begin, list.end, scratch, [&](std::int64_t i) { return ::exp(s[i] - highest); }));
  return list;
}

// sum_i (t_i / total) (logsumexp(s) - s_i);  ds_i += softmax_i(s) - t_i / total
struct SoftmaxCrossEntropy {
  __device__ static bool counts(const List& list) { return list.total > 0; }
  __device__ static double term(const List& list, std::int64_t i) { return list.t[i] / list.total * (list.normaliser - list.s[i]); }
  struct Slopes {
    __device__ Slopes(const List&, double*) {}
    __device__ double operator()(const List& list, std::int64_t i) const { return ::exp(list.s[i] - list.normaliser) - list.t[i] / list.total; }
  };
};

// log of the sum of exp(s_j) over the other rows of a list, j != i: from the whole list's sum where enough of it is left, else added up.
__device__ inline double log_of_others(const List& list, std::int64_t i) {
  const double p = ::exp(list.s[i] - list.normaliser);
  if (p <= 0.5) return list.normaliser + log1p(-p);
  double highest = -INFINITY, sum = 0;
  for (std::int64_t j = list.begin; j < list.end; ++j) {
    if (j != i) highest = fmax(highest, double(list.s[j]));
  }
  for (std::int64_t j = list.begin; j < list.end; ++j) {
    if (j != i) sum += ::exp(list.s[j] - highest);
  }
  return highest + log(sum);
}

// -sum_i [a_i log p_i + (1 - a_i) log(1 - p_i)]. The slope is explained where the reference has it (engine/ref/losses.h).
struct AttentionRank {
  __device__ static bool counts(const List& list) { return list.total > 0 && list.end - list.begin > 1; }
  __device__ static double term(const List& list, std::int64_t i) {
    const double a = list.t[i] / list.total;
    return a * (list.normaliser - list.s[i]) + (1 - a) * (list.normaliser - log_of_others(list, i));
  }
  struct Slopes {
    std::int64_t largest = -1;  // the row with more than half of the list, or -1
    double sum, others = 0;
    __device__ Slopes(const List& list, double* scratch) {
      for (std::int64_t i = list.begin; i < list.end && largest < 0; ++i) {
        if (p(list, i) > 0.5) largest = i;
      }
      sum = list_sum(list.begin, list.end, scratch, [&](std::int64_t i) { return i == largest ? 0.0 : share(list, i); });
      if (largest >= 0) others = log_of_others(list, largest);
    }
    __device__ static double p(const List& list, std::int64_t i) { return ::exp(list.s[i] - list.normaliser); }
    __device__ static double share(const List& list, std::int64_t i) { return (1 - list.t[i] / list.total) / (1 - p(list, i)); }
    __device__ double operator()(const List& list, std::int64_t j) const {
      const double n = static_cast<double>(list.end - list.begin);
      double slope = n * p(list, j) - list.t[j] / list.total - p(list, j) * (j == largest ? sum : sum - share(list, j));
      if (largest >= 0 && j != largest) slope -= (1 - list.t[largest] / list.total) * ::exp(list.s[j] - others);
      return slope;
    }
  };
};

template <class Loss>
__global__ void list_terms(Lists lists, const float* s, const float* t, double* parts) {
  auto* scratch = shared_memory<double>();
  const List list = list_of(lists, s, t, scratch);
  const bool counts = Loss::counts(list);
  const double sum = list_sum(list.begin, list.end, scratch, [&](std::int64_t i) { return counts ? Loss::term(list, i) : 0.0; });
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

template <class Loss>
__global__ void list_slopes(Lists lists, const float* s, const float* t, const float* dout, Gradient ds) {
  auto* scratch = shared_memory<double>();
  const List list = list_of(lists, s, t, scratch);
  const bool counts = Loss::counts(list);
  const typename Loss::Slopes slope(list, scratch);
  for (std::int64_t i = list.begin + threadIdx.x; i < list.end; i += kListThreads) {
    put(ds.to + i, counts ? static_cast<float>(*dout * slope(list, i)) : 0.0f, ds.fresh);
  }
}

template <class Loss, class Args>
void list_loss_forward(const Context& context, Node& node) {
  const Ragged lists = args_of<Args>(node).lists;
  CudaMemory& memory = memory_of(context);
  auto* parts = static_cast<double*>(context.allocate(static_cast<std::size_t>(lists.lists) * sizeof(double)));
  launch(memory, list_terms<Loss>, dim3(static_cast<unsigned>(lists.lists)), dim3(kListThreads), kScratch, lists_of(memory, lists),
         value_of(node.inputs[0]), value_of(node.inputs[1]), parts);
  write_sum(context, parts, lists.lists, value_of(node.output));
}

template <class Loss, class Args>
void list_loss_backward(const Context& context, Node& node) {
  const Ragged lists = args_of<Args>(node).lists;
  CudaMemory& memory = memory_of(context);
  launch(memory, list_slopes<Loss>, dim3(static_cast<unsigned>(lists.lists)), dim3(kListThreads), kScratch, lists_of(memory, lists),
         value_of(node.inputs[0]), value_of(node.inputs[1]), output_gradient(node), gradient_of(node, 0));
}

// ---- lambda_loss: pairs t_i > t_j, weighted by what exchanging them would do to NDCG

// Ranks from 0 of the rows of each list, the largest first; equal ones in their order, what is not a number last.
__global__ void rank_lists(Lists lists, const float* x, std::int32_t* ranks) {
  const std::int64_t begin = lists.offsets[blockIdx.x], end = lists.offsets[blockIdx.x + 1];
  const auto key = [&](std::int64_t i) { return x[i] != x[i] ? -INFINITY : x[i]; };
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kListThreads) {
    std::int32_t rank = 0;
    for (std::int64_t j = begin; j < end; ++j) rank += key(j) > key(i) || (key(j) == key(i) && j < i);
    ranks[i] = rank;
  }
}

__device__ inline double discount(double rank) { return 1 / log2(1 + rank); }  // from 1

// (t_i - t_j) / maxDCG * |1 / D(r) - 1 / D(r + 1)|; 0 unless t_i > t_j
struct PairWeights {
  const float* t;
  const std::int32_t* ranks;  // by score
  double most;                // maxDCG
  __device__ double operator()(std::int64_t i, std::int64_t j) const {
    const double gain = double(t[i]) - t[j];
    if (!(gain > 0)) return 0;
    const double r = abs(ranks[i] - ranks[j]);
    return gain / most * (discount(r) - discount(r + 1));
  }
};

__device__ inline double largest_dcg(std::int64_t begin, std::int64_t end, const float* t, const std::int32_t* target_ranks, double* scratch) {
  return list_sum(begin, end, scratch, [&](std::int64_t i) { return t[i] * discount(target_ranks[i] + 1); });
}

__global__ void lambda_terms(Lists lists, const float* s, const float* t, const std::int32_t* ranks, const std::int32_t* target_ranks, double* parts) {
  auto* scratch = shared_memory<double>();
  const std::int64_t begin = lists.offsets[blockIdx.x], end = lists.offsets[blockIdx.x + 1];
  const PairWeights weight{t, ranks, largest_dcg(begin, end, t, target_ranks, scratch)};
  const double sum = list_sum(begin, end, scratch, [&](std::int64_t i) {
    double of_i = 0;
    for (std::int64_t j = begin; j < end && weight.most > 0; ++j) {
      if (const double w = weight(i, j); w > 0) of_i += w * softplus(double(s[j]) - s[i]) / log(2.0);
    }
    return of_i;
  });
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// d log2(1 + exp(s_j - s_i)) / ds_j = s(s_j - s_i) / log 2, and its negative for s_i
__global__ void lambda_slopes(Lists lists, const float* s, const float* t, const std::int32_t* ranks, const std::int32_t* target_ranks,
                              const float* dout, Gradient ds) {
  auto* scratch = shared_memory<double>();
  const std::int64_t begin = lists.offsets[blockIdx.x], end = lists.offsets[blockIdx.x + 1];
  const PairWeights weight{t, ranks, largest_dcg(begin, end, t, target_ranks, scratch)};
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kListThreads) {
    double slope = 0;
    for (std::int64_t j = begin; j < end && weight.most > 0; ++j) {
      if (const double w = weight(i, j); w > 0) slope -= w * sigmoid(double(s[j]) - s[i]);
      if (const double w = weight(j, i); w > 0) slope += w * sigmoid(double(s[i]) - s[j]);
    }
    put(ds.to + i, static_cast<float>(*dout * slope / log(2.0)), ds.fresh);
  }
}

// Saves the ranks by score and by target, (rows) each.
void lambda_loss_forward(const Context& context, Node& node) {
  const Ragged lists = args_of<LambdaLossArgs>(node).lists;
  CudaMemory& memory = memory_of(context);
  const dim3 grid(static_cast<unsigned>(lists.lists)), block(kListThreads);
  const float *s = value_of(node.inputs[0]), *t = value_of(node.inputs[1]);
  auto* ranks = static_cast<std::int32_t*>(context.allocate(2 * static_cast<std::size_t>(lists.rows()) * sizeof(std::int32_t)));
  std::int32_t* target_ranks = ranks + lists.rows();
  node.saved = ranks;
  auto* parts = static_cast<double*>(context.allocate(static_cast<std::size_t>(lists.lists) * sizeof(double)));
  launch(memory, rank_lists, grid, block, 0, lists_of(memory, lists), s, ranks);
  launch(memory, rank_lists, grid, block, 0, lists_of(memory, lists), t, target_ranks);
  launch(memory, lambda_terms, grid, block, kScratch, lists_of(memory, lists), s, t, ranks, target_ranks, parts);
  write_sum(context, parts, lists.lists, value_of(node.output));
}

void lambda_loss_backward(const Context& context, Node& node) {
  const Ragged lists = args_of<LambdaLossArgs>(node).lists;
  CudaMemory& memory = memory_of(context);
  const auto* ranks = static_cast<const std::int32_t*>(node.saved);
  launch(memory, lambda_slopes, dim3(static_cast<unsigned>(lists.lists)), dim3(kListThreads), kScratch, lists_of(memory, lists),
         value_of(node.inputs[0]), value_of(node.inputs[1]), ranks, ranks + lists.rows(), output_gradient(node), gradient_of(node, 0));
}

}  // namespace

void set_list_losses(const Kernels& kernels) {
  kernels.set(OpId::softmax_cross_entropy, list_loss_forward<SoftmaxCrossEntropy, SoftmaxCrossEntropyArgs>,
              list_loss_backward<SoftmaxCrossEntropy, SoftmaxCrossEntropyArgs>, 0b1);
  kernels.set(OpId::attention_rank_loss, list_loss_forward<AttentionRank, AttentionRankLossArgs>,
              list_loss_backward<AttentionRank, AttentionRankLossArgs>, 0b1);
  kernels.set(OpId::lambda_loss, lambda_loss_forward, lambda_loss_backward, 0b1);
}

}  // namespace piano::cuda
