#include "piano/loss_examination.h"

#include <algorithm>
#include <cmath>

#include "piano/predictor.h"

namespace piano {
namespace {

// A constant column of the batch, value(row).
template <class Value>
Tensor column(const Context& ctx, const data::Batch& batch, Value value) {
  const std::int32_t n = batch.rows();
  auto* values = ctx.arena->array<float>(std::max(n, 1));
  for (std::int32_t i = 0; i < n; ++i) values[i] = static_cast<float>(value(static_cast<std::size_t>(i)));
  return ctx.constant(std::span<const float>{values, static_cast<std::size_t>(n)}, {n, 1});
}

double cross_entropy(double logit, double label) { return softplus(logit) - label * logit; }

}  // namespace

double ExaminationLoss::at(std::int32_t position) const {
  if (position < 1) return 1 - 1e-6;
  return std::min(theta[std::min(static_cast<std::size_t>(position), theta.size()) - 1], 1 - 1e-6);
}

double ExaminationLoss::weight(std::int32_t position) const {
  return mode == LossExamination::weighted ? 1 / std::max(at(position), clip) : 1.0;
}

Tensor ExaminationLoss::click(const Context& ctx, Tensor logit, const data::Batch& batch) const {
  const Tensor labelled = ctx.constant(batch.labelled, {batch.rows(), 1});  // (rows, 1)
  if (mode == LossExamination::weighted) {
    const Tensor target = column(ctx, batch, [&](std::size_t i) { return static_cast<double>(batch.click[i]) * weight(batch.position[i]); });
    return bce_with_logits(ctx, logit, target, labelled);
  }
  const Tensor examined = column(ctx, batch, [&](std::size_t i) {  // theta as a logit: product_bce is the BCE of theta sigmoid(a)
    const double t = at(batch.position[i]);
    return std::log(t) - std::log1p(-t);
  });
  return product_bce(ctx, logit, examined, ctx.constant(batch.click, {batch.rows(), 1}), labelled);
}

double ExaminationLoss::click_term(double logit, double click, std::int32_t position) const {
  if (mode == LossExamination::weighted) return cross_entropy(logit, click * weight(position));
  const double log_p = std::log(at(position)) - softplus(-logit);
  return -(click * log_p + (1 - click) * std::log(-std::expm1(std::min(log_p, -1e-12))));
}

double ExaminationLoss::conversion_term(double logit, double click, double conversion, std::int32_t position) const {
  return click * weight(position) * cross_entropy(logit, conversion);
}

}  // namespace piano
