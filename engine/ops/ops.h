// The ops that layers are built from. Each is a row of the op table (op_table.h); its contract stands here.
//
// Matrices are (rows, cols), row-major. An op checks shapes and throws ErrorCode::internal: "[op] expected ..., got ...".
// Index arrays, offsets and bags are not copied: they must outlive the tape.
#pragma once

#include <initializer_list>
#include <span>

#include "engine/core/context.h"

namespace piano {

enum class OpId : std::uint8_t {
  embedding_sum, gather_rows, concat, prepend_row, linear, matmul, add, mul, scale, blend, dropout, layer_norm, attention, split_heads,
  merge_heads, attention_weights, match_sum, segment_mean, weighted_sum, mixture, gru, tanh, log_sigmoid, exp, bce_with_logits, product_bce,
  poisson_nll, softmax_cross_entropy, attention_rank_loss, lambda_loss,
  count
};

enum class Pooling : std::uint8_t { sum, mean };
enum class Activation : std::uint8_t { none, gelu };

// In training an id becomes kOutOfVocabulary with probability p, each on its own, but for kMissing: missing must keep its meaning. Keyed by (seed,
// step, site, list in the whole batch, bag in the list, place in the bag). Lists that pad a batch (Context::padding) keep their ids.
inline constexpr std::int32_t kOutOfVocabulary = 0, kMissing = 1;  // rows of a table
struct IdDropout {
  double p = 0;
  std::uint32_t site = 0;
  Ragged rows;  // the lists that bags belong to
};

// out (bags.rows, d): sum or mean of the table's rows in each bag; an empty bag gives zeros. table (vocabulary, d).
// requires: dropout.rows.rows() = bags.rows where ids are dropped
Tensor embedding_sum(const Context&, Tensor table, Bags bags, Pooling pooling, const IdDropout& dropout = {});

// out (index.size(), d): row index[r] of x (rows, d). Rows may repeat.
Tensor gather_rows(const Context&, Tensor x, std::span<const std::int32_t> index);

// out (rows, sum of cols): the inputs side by side; absent tensors are skipped. At most 16.
Tensor concat(const Context&, std::span<const Tensor> inputs);
Tensor concat(const Context&, std::initializer_list<Tensor> inputs);

// out (x.rows + lists, d): row l of `first` (lists, d) before the rows of list l of x (rows, d).
Tensor prepend_row(const Context&, Tensor first, Tensor x, Ragged lists);

// out (rows, out) = activation(x W^T + b). x (rows, in), w (out, in) as in PyTorch, b (out) or absent.
// gelu is the exact one, x Phi(x) (Hendrycks & Gimpel 2016).
// With `shared` (lists, s) the input of row r is [x_r ; shared_{index[r]}], and w (out, in + s): what many rows share is multiplied once.
Tensor linear(const Context&, Tensor x, Tensor w, Tensor b, Activation activation = Activation::none, Tensor shared = {},
              std::span<const std::int32_t> index = {});

// out (rows, in) = x W. x (rows, out), w (out, in): what linear's backward does to a gradient.
Tensor matmul(const Context&, Tensor x, Tensor w);

Tensor add(const Context&, Tensor a, Tensor b);          // the same shape
Tensor mul(const Context&, Tensor a, Tensor b);          // the same shape, elementwise
Tensor scale(const Context&, Tensor x, double factor);

// out_r = x_r + w_r a + (1 - w_r) b. x (rows, d), w (rows, 1), a (d), b (d) or absent: zeros
Tensor blend(const Context&, Tensor x, Tensor w, Tensor a, Tensor b = {});

// In training: zero with probability p, else x / (1 - p); keyed by (seed, step, site, list in the whole batch, row in the list, column).
// Outside training the tensor itself is returned. requires: rows.rows() = x.rows(), 0 <= p < 1
Tensor dropout(const Context&, Tensor x, double p, std::uint32_t site, Ragged rows);

// (x - mean) / sqrt(variance + 1e-5) * gamma + beta over each row (Ba et al. 2016); gamma, beta (d).
Tensor layer_norm(const Context&, Tensor x, Tensor gamma, Tensor beta);

// Multi-head scaled dot-product attention (Vaswani et al. 2017, eq. 1), list by list:
//   out_i = sum_j softmax_j(q_i . k_j / sqrt(d_head)) v_j  over the keys j of i's own list.
// q (queries.rows, d), k and v (keys.rows, d); queries.lists = keys.lists; d divisible by heads.
// null_k, null_v (d), both or neither: one more key and value in every list, so that an empty list is well defined and "nothing matches"
// can be said. Without it a list with no keys gives zeros.
Tensor attention(const Context&, Tensor q, Tensor k, Tensor v, Ragged queries, Ragged keys, int heads, Tensor null_k = {}, Tensor null_v = {});

// Attention of one query a list, in parts (layers/query_attention.h puts them together).
// out (rows * heads, d): row r * heads + h holds head h's columns of x_r, times factor, and zeros elsewhere. x (rows, d)
Tensor split_heads(const Context&, Tensor x, int heads, double factor);
// out (rows, d): head h's columns of row r * heads + h of x (rows * heads, d)
Tensor merge_heads(const Context&, Tensor x, int heads);
// out (keys.rows, heads): over the keys j of each list, softmax_j(q_{l * heads + h} . k_j). q (keys.lists * heads, d), k (keys.rows, d),
// null_score (keys.lists * heads, 1) or absent: the score of one more key, whose weight is what is missing from 1.
Tensor attention_weights(const Context&, Tensor q, Tensor k, Ragged keys, int heads, Tensor null_score = {});
// How much of each list's attention goes to what a row shares with its list's keys: a count of matches, weighted by relevance.
// out (rows, heads * columns): out[i, h * columns + c] = sum of p_{j, h} over the keys j with (i, j, c) in `matches`. p (keys, heads)
Tensor match_sum(const Context&, Tensor p, const Matches& matches, std::int64_t rows, std::int64_t columns);

// out (lists, d): the mean of each list's rows; zeros for an empty list.
Tensor segment_mean(const Context&, Tensor x, Ragged lists);

// out (lists * heads, d): row l * heads + h is the sum of list l's rows, row r times w_{r, h}; zeros for an empty list.
// x (rows, d), w (rows, heads)
Tensor weighted_sum(const Context&, Tensor x, Tensor w, Ragged lists);

// out (rows, d): a mixture of the `gates.cols` experts that lie side by side in x, out_r = sum_e softmax_e(gates_r) x_r[e d .. (e+1) d - 1]
// (Jacobs et al. 1991). gates (rows, experts), x (rows, experts * d)
Tensor mixture(const Context&, Tensor gates, Tensor x);

// A gated recurrent unit (Cho et al. 2014) over each list's rows, with the reset gate after the product as PyTorch and cuDNN have it:
//   r = s(x_r + U_r h), z = s(x_z + U_z h), n = tanh(x_n + r (U_n h + b)), h' = (1 - z) n + z h,  h = 0 before the first row
// x (rows, 3d): [x_r ; x_z ; x_n], what the inputs contribute, biases included; u (3d, d): U_r, U_z, U_n, one below the other; b (d).
// out (rows, d): h' after each row. `backwards`: the last row of a list comes first.
Tensor gru(const Context&, Tensor x, Tensor u, Tensor b, Ragged lists, bool backwards);

Tensor tanh(const Context&, Tensor x);         // elementwise
Tensor log_sigmoid(const Context&, Tensor x);  // log(1 / (1 + exp(-x))), elementwise, stable
Tensor exp(const Context&, Tensor x);          // elementwise

// Losses: x, y, w are (rows, 1); the result (1, 1) is the weighted SUM (divide by the whole batch's count with scale). y and w get no gradient.
// -[y log s(x) + (1 - y) log(1 - s(x))]
Tensor bce_with_logits(const Context&, Tensor x, Tensor y, Tensor w);
// -[y log s(a)s(b) + (1 - y) log(1 - s(a)s(b))], in log space: log(1 - s(a)s(b)) = logsumexp(-a, -b, -a-b) + log s(a) + log s(b)
Tensor product_bce(const Context&, Tensor a, Tensor b, Tensor y, Tensor w);
// rate - y log(rate), rate = softplus(x)
Tensor poisson_nll(const Context&, Tensor x, Tensor y, Tensor w);
// sum over lists with sum(t) > 0 of -sum_i (t_i / sum t) log softmax_i(s). s (rows, 1), t (rows, 1) >= 0 gets no gradient.
Tensor softmax_cross_entropy(const Context&, Tensor s, Tensor t, Ragged lists);
// The attention rank loss (Ai et al. 2018, DLCM, section 4.3): a_i = t_i / sum t and p_i = softmax_i(s) as shares of attention,
// sum over lists with sum(t) > 0 of -sum_i [a_i log p_i + (1 - a_i) log(1 - p_i)]. A list of one row has no loss: its share is always 1.
Tensor attention_rank_loss(const Context&, Tensor s, Tensor t, Ragged lists);
// LambdaLoss for NDCG with linear gain (Wang et al. 2018, "The LambdaLoss Framework for Ranking Metric Optimization", NDCG-Loss2): sum over lists
// with sum(t) > 0 and over pairs t_i > t_j of (t_i - t_j) / maxDCG * |1 / D(r) - 1 / D(r + 1)| * log2(1 + exp(s_j - s_i)),
// r = |rank_i - rank_j| by the scores as they are (equal ones in their order), D(r) = log2(1 + r). Ranks have no gradient.
Tensor lambda_loss(const Context&, Tensor s, Tensor t, Ragged lists);

}  // namespace piano
