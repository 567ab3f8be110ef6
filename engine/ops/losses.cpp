#include <cmath>

#include "engine/ops/cases.h"
#include "engine/ops/checks.h"
#include "engine/ops/families.h"

namespace piano {
namespace {

constexpr const char* kLossHint = "losses take columns (rows, 1) of the same length";

// Labels 0, 1, 0.25, 0, ...; weights with a masked-out row (0) in every five.
double label(std::int64_t i) { return i % 3 == 0 ? 0.0 : i % 3 == 1 ? 1.0 : 0.25; }
double count(std::int64_t i) { return static_cast<double>(i % 4); }
double weight(std::int64_t i) { return 0.5 * static_cast<double>(i % 5); }

// Logits of both signs up to 40, where s(x) rounds to 0 or 1.
CaseFill spread(std::int64_t period) {
  return [period](std::int64_t i, double normal) { return 20.0 * static_cast<double>(i / period % 5 - 2) + 0.1 * normal; };
}

using PointwiseLoss = Tensor (*)(const Context&, Tensor, Tensor, Tensor);

std::vector<OpCase> pointwise_cases(PointwiseLoss loss, double (*y)(std::int64_t)) {
  const CaseRun run = [loss](const Context& context, std::span<const Tensor> in) { return loss(context, in[0], in[1], in[2]); };
  return {
      {"usual, with masked-out rows", {matrix(50, 1), given(50, y), given(50, weight)}, run},
      {"large logits", {matrix(15, 1, spread(3)), given(15, y), given(15, weight)}, run},
      {"rows=0", {matrix(0, 1), given(0, y), given(0, weight)}, run},
      {"rows=1", {matrix(1, 1), given(1, y), given(1, [](std::int64_t) { return 1.0; })}, run},
      {"all rows masked out", {matrix(7, 1), given(7, y), given(7, [](std::int64_t) { return 0.0; })}, run},
  };
}

using ListwiseLoss = Tensor (*)(const Context&, Tensor, Tensor, Ragged);

// `scores`: of the cases whose scores are ordinary.
std::vector<OpCase> listwise_cases(ListwiseLoss loss, CaseFill scores = {}) {
  const auto make = [loss](const char* name, Offsets offsets, std::function<double(std::int64_t)> target, CaseFill fill = {}) -> OpCase {
    const std::int64_t rows = ragged(offsets).rows();
    return {name, {matrix(rows, 1, std::move(fill)), given(rows, std::move(target))}, [=](const Context& context, std::span<const Tensor> in) {
              return loss(context, in[0], in[1], ragged(offsets));
            }};
  };
  return {
      make("usual", {0, 20, 33, 50}, count, scores),
      make("lists without targets are skipped", {0, 4, 9, 12}, [](std::int64_t i) { return i < 4 || i == 10 ? 1.0 : 0.0; }, scores),
      make("no list has targets", {0, 3, 5}, [](std::int64_t) { return 0.0; }),
      make("empty lists", {0, 0, 3, 3, 5}, count, scores),
      make("large scores", {0, 10, 15}, count, spread(1)),
      make("rows=0", {0, 0}, count),
      make("rows=1", {0, 1}, [](std::int64_t) { return 2.0; }),
  };
}

}  // namespace

Tensor bce_with_logits(const Context& context, Tensor x, Tensor y, Tensor w) {
  const CheckedOp check{"bce_with_logits", kLossHint};
  check.cols("x", x, 1);
  check.same_shape("y", y, x);
  check.same_shape("w", w, x);
  return run_op(context, OpId::bce_with_logits, {1, 1}, {{x, y, w}}, nullptr);
}

Tensor product_bce(const Context& context, Tensor a, Tensor b, Tensor y, Tensor w) {
  const CheckedOp check{"product_bce", kLossHint};
  check.cols("a", a, 1);
  check.same_shape("b", b, a);
  check.same_shape("y", y, a);
  check.same_shape("w", w, a);
  return run_op(context, OpId::product_bce, {1, 1}, {{a, b, y, w}}, nullptr);
}

Tensor poisson_nll(const Context& context, Tensor x, Tensor y, Tensor w) {
  const CheckedOp check{"poisson_nll", kLossHint};
  check.cols("x", x, 1);
  check.same_shape("y", y, x);
  check.same_shape("w", w, x);
  return run_op(context, OpId::poisson_nll, {1, 1}, {{x, y, w}}, nullptr);
}

namespace {

// s, t (rows, 1) of lists back to back
template <class Args>
Tensor listwise_loss(const Context& context, OpId op, const char* name, Tensor s, Tensor t, Ragged lists) {
  const CheckedOp check{name, kLossHint};
  check.cols("s", s, 1);
  check.same_shape("t", t, s);
  check.lists("s's", lists, s.rows());
  return run_op(context, op, {1, 1}, {{s, t}}, context.arena->make<Args>(lists));
}

}  // namespace

Tensor softmax_cross_entropy(const Context& context, Tensor s, Tensor t, Ragged lists) {
  return listwise_loss<SoftmaxCrossEntropyArgs>(context, OpId::softmax_cross_entropy, "softmax_cross_entropy", s, t, lists);
}

Tensor attention_rank_loss(const Context& context, Tensor s, Tensor t, Ragged lists) {
  return listwise_loss<AttentionRankLossArgs>(context, OpId::attention_rank_loss, "attention_rank_loss", s, t, lists);
}

Tensor lambda_loss(const Context& context, Tensor s, Tensor t, Ragged lists) {
  return listwise_loss<LambdaLossArgs>(context, OpId::lambda_loss, "lambda_loss", s, t, lists);
}

Op bce_with_logits_row() {
  Op row{OpId::bce_with_logits, "bce_with_logits"};
  row.specification = "sum_r w_r (softplus(x_r) - x_r y_r)";
  row.cost = elementwise_cost<12>;
  row.cases = [] { return pointwise_cases(bce_with_logits, label); };
  return row;
}

Op product_bce_row() {
  Op row{OpId::product_bce, "product_bce"};
  row.specification = "sum_r -w_r (log s(a_r) + log s(b_r) + (1 - y_r) logsumexp(-a_r, -b_r, -a_r - b_r))";
  row.cost = elementwise_cost<40>;
  row.cases = []() -> std::vector<OpCase> {
    const CaseRun run = [](const Context& context, std::span<const Tensor> in) { return product_bce(context, in[0], in[1], in[2], in[3]); };
    return {
        {"usual, with masked-out rows", {matrix(50, 1), matrix(50, 1), given(50, label), given(50, weight)}, run},
        {"large logits, all pairs of signs",
         {matrix(75, 1, spread(3)), matrix(75, 1, spread(15)), given(75, label), given(75, [](std::int64_t) { return 1.0; })}, run},
        {"rows=0", {matrix(0, 1), matrix(0, 1), given(0, label), given(0, weight)}, run},
        {"rows=1", {matrix(1, 1), matrix(1, 1), given(1, label), given(1, [](std::int64_t) { return 1.0; })}, run},
        {"all rows masked out", {matrix(5, 1), matrix(5, 1), given(5, label), given(5, [](std::int64_t) { return 0.0; })}, run},
    };
  };
  return row;
}

Op poisson_nll_row() {
  Op row{OpId::poisson_nll, "poisson_nll"};
  row.specification = "sum_r w_r (rate_r - y_r log(rate_r)), rate = softplus(x)";
  row.cost = elementwise_cost<25>;
  row.cases = [] { return pointwise_cases(poisson_nll, count); };
  return row;
}

Op softmax_cross_entropy_row() {
  Op row{OpId::softmax_cross_entropy, "softmax_cross_entropy"};
  row.specification = "sum over lists with sum(t) > 0 of -sum_i (t_i / sum t) log softmax_i(s)";
  row.cost = elementwise_cost<20>;
  row.cases = [] { return listwise_cases(softmax_cross_entropy); };
  return row;
}

Op attention_rank_loss_row() {
  Op row{OpId::attention_rank_loss, "attention_rank_loss"};
  row.specification = "sum over lists with sum(t) > 0 of -sum_i [a_i log p_i + (1 - a_i) log(1 - p_i)], a = t / sum t, p = softmax(s)";
  row.cost = elementwise_cost<40>;
  row.cases = [] { return listwise_cases(attention_rank_loss); };
  return row;
}

Op lambda_loss_row() {
  Op row{OpId::lambda_loss, "lambda_loss"};
  row.specification =
      "sum over lists and pairs t_i > t_j of (t_i - t_j) / maxDCG |1/D(r) - 1/D(r+1)| log2(1 + exp(s_j - s_i)), r = |rank_i - rank_j|";
  row.cost = elementwise_cost<400>;
  row.cases = [] {  // scores far enough apart that a finite difference exchanges no ranks
    return listwise_cases(lambda_loss, [](std::int64_t i, double normal) { return 0.2 * static_cast<double>(i * 7 % 23) - 2 + 0.02 * std::tanh(normal); });
  };
  return row;
}

}  // namespace piano
