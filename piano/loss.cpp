#include "piano/loss.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/ops/ops.h"
#include "piano/models.h"

namespace piano {

LossWeights loss_weights(const Config& config) {
  const ModelTraits& model = traits(config);
  LossWeights weights{{config.loss.click, config.loss.conversion, config.loss.list_click, config.loss.list_conversion, config.loss.listwise},
                      config.loss.lambda, config.loss.listwise_value, config.list.label, model.clicked_items, LossWeights::Listwise::softmax, !model.probabilities,
                      {config.loss.examination, config.loss.theta, config.loss.clip}};
  if (model.attention_rank) weights.listwise = LossWeights::Listwise::attention_rank;
  else if (config.loss.listwise_kind == ListwiseLoss::lambda) weights.listwise = LossWeights::Listwise::lambda;
  if (!model.list_click) weights.term[kListClick] = 0;
  if (!model.list_conversion) weights.term[kListConversion] = 0;
  if (weights.scores) weights.term = {0, 0, 0, 0, 1};
  return weights;
}

void declare_log_variances(ParameterStore& store, LossWeights& weights) {
  for (std::size_t t = 0; t < kLossTerms; ++t) {
    if (weights.term[t] > 0) weights.log_variance[t] = store.add("loss.log_variance." + std::string(kLossNames[t]), {1, 1}, false);
  }
}

ListTargets list_targets(const data::Batch& batch, std::int32_t list, ListLabel label) {
  float items = 0, clicks = 0, conversions = 0;
  for (auto i = static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(list)]);
       i < static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(list) + 1]); ++i) {
    items += batch.labelled[i];
    clicks += batch.labelled[i] * batch.click[i];
    conversions += batch.labelled[i] * batch.conversion[i];
  }
  if (items == 0) return {};
  switch (label) {
    case ListLabel::any: return {clicks > 0 ? 1.0f : 0.0f, conversions > 0 ? 1.0f : 0.0f, true};
    case ListLabel::fraction: return {clicks / items, conversions / items, true};
    case ListLabel::count: break;
  }
  return {clicks, conversions, true};
}

Tensor loss(const Context& ctx, const Logits& logits, const data::Batch& batch, const LossWeights& weights, const LossCounts& counts,
            std::array<double, kLossTerms>* terms) {
  const std::int32_t n = batch.rows(), lists = batch.lists;
  Tensor total;
  const auto add_term = [&](LossTerm which, Tensor sum, std::int64_t count) {
    const Tensor mean = scale(ctx, sum, 1.0 / static_cast<double>(std::max<std::int64_t>(count, 1)));
    if (terms != nullptr) (*terms)[which] = mean.item();
    Tensor weighted = scale(ctx, mean, weights.term[which]);
    if (const ParameterId id = weights.log_variance[which]) {
      const Tensor s = ctx.parameter(id);  // (1, 1)
      weighted = mul(ctx, weighted, exp(ctx, scale(ctx, s, -1)));
      if (ctx.first_list == 0) weighted = add(ctx, weighted, scale(ctx, s, 0.5));
    }
    total = total ? add(ctx, total, weighted) : weighted;
  };
  const auto wanted = [&](LossTerm which) { return weights.term[which] > 0; };

  const Tensor click = ctx.constant(batch.click, {n, 1}), conversion = ctx.constant(batch.conversion, {n, 1});  // (rows, 1)
  const Tensor labelled = ctx.constant(batch.labelled, {n, 1});
  if (weights.examination) {
    if (wanted(kClick)) add_term(kClick, weights.examination.click(ctx, logits.click, batch), counts.items);
    if (wanted(kConversion)) add_term(kConversion, weights.examination.conversion(ctx, logits.conversion, batch), counts.items);
  } else {
    if (wanted(kClick)) add_term(kClick, bce_with_logits(ctx, logits.click, click, labelled), counts.items);
    if (wanted(kConversion) && !weights.clicked_items) {
      add_term(kConversion, product_bce(ctx, logits.click, logits.conversion, conversion, labelled), counts.items);
    } else if (wanted(kConversion)) {
      add_term(kConversion, bce_with_logits(ctx, logits.conversion, conversion, mul(ctx, labelled, click)), counts.clicked);
    }
  }

  if (wanted(kListClick) || wanted(kListConversion)) {
    auto* values = ctx.arena->array<float>(3 * std::max(lists, 1));
    for (std::int32_t l = 0; l < lists; ++l) {
      const ListTargets t = list_targets(batch, l, weights.label);
      values[l] = t.click, values[lists + l] = t.conversion, values[2 * lists + l] = t.labelled ? 1.0f : 0.0f;
    }
    const auto column = [&](std::int32_t k) {
      return ctx.constant(std::span<const float>{values + k * lists, static_cast<std::size_t>(lists)}, {lists, 1});
    };
    const Tensor any_click = column(0), any_conversion = column(1), known = column(2);  // (lists, 1)
    if (weights.label == ListLabel::count) {
      if (wanted(kListClick)) add_term(kListClick, poisson_nll(ctx, logits.list_click, any_click, known), counts.lists);
      if (wanted(kListConversion)) add_term(kListConversion, poisson_nll(ctx, logits.list_conversion, any_conversion, known), counts.lists);
    } else {
      if (wanted(kListClick)) add_term(kListClick, bce_with_logits(ctx, logits.list_click, any_click, known), counts.lists);
      if (wanted(kListConversion)) {
        add_term(kListConversion, product_bce(ctx, logits.list_click, logits.list_conversion, any_conversion, known), counts.lists);
      }
    }
  }

  if (wanted(kListwise)) {
    // The labelled candidates alone: nobody passed over the others.
    auto* gain = ctx.arena->array<double>(std::max(n, 1));
    auto* row = ctx.arena->array<std::int32_t>(std::max(n, 1));
    auto* offsets = ctx.arena->array<std::int32_t>(lists + 1);
    std::int32_t known = offsets[0] = 0;
    for (std::int32_t l = 0; l < lists; ++l) {
      for (std::int32_t i = batch.offsets[static_cast<std::size_t>(l)]; i < batch.offsets[static_cast<std::size_t>(l) + 1]; ++i) {
        const auto k = static_cast<std::size_t>(i);
        if (batch.labelled[k] == 0) continue;
        double g = batch.click[k] + static_cast<float>(weights.lambda) * batch.conversion[k] * (weights.values ? std::max(batch.value[k], 0.0f) : 1.0f);
        if (weights.examination) g *= static_cast<float>(weights.examination.weight(batch.position[k]));
        if (weights.listwise == LossWeights::Listwise::attention_rank && g > 0) g = std::exp(g);  // DLCM's psi
        row[known] = i, gain[known++] = g;
      }
      offsets[l + 1] = known;
    }
    const Tensor target = ctx.constant(std::span<const double>{gain, static_cast<std::size_t>(known)}, {known, 1});
    Tensor score = weights.scores ? logits.click  // else log pctcvr
                                  : add(ctx, log_sigmoid(ctx, logits.click), log_sigmoid(ctx, logits.conversion));
    if (known < n) score = gather_rows(ctx, score, {row, static_cast<std::size_t>(known)});
    const Ragged rows{offsets, lists};
    const auto listwise_loss = weights.listwise == LossWeights::Listwise::attention_rank ? attention_rank_loss
                               : weights.listwise == LossWeights::Listwise::lambda       ? lambda_loss
                                                                                         : softmax_cross_entropy;
    add_term(kListwise, listwise_loss(ctx, score, target, rows), counts.positive_lists);
  }
  return total;
}

}  // namespace piano
