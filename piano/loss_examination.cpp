#include "piano/loss_examination.h"

#include <algorithm>
#include <cmath>

#include "piano/batch_rows.h"
#include "piano/predictor.h"

namespace piano {
namespace {

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
    const Tensor target = column_of(ctx, batch, [&](std::size_t i) { return static_cast<double>(batch.click[i]) * weight(batch.position[i]); });
    return bce_with_logits(ctx, logit, target, labelled);
  }
  const Tensor examined = column_of(ctx, batch, [&](std::size_t i) {  // theta as a logit: product_bce is the BCE of theta sigmoid(a)
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
