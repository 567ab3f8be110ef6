#include "piano/loss.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/ops/ops.h"
#include "piano/batch_rows.h"
#include "piano/models.h"

namespace piano {

namespace {

// The kind of conversion that a term is about, and which of kLossNames it is.
struct TermOf {
  std::size_t name, kind;
};
TermOf term_of(std::size_t term) {
  if (term < kLossTerms) return {term, 0};
  return {(term - kLossTerms) % 2 == 0 ? std::size_t{kConversion} : std::size_t{kListConversion}, (term - kLossTerms) / 2 + 1};
}

// 1: labelled, and the kind is known.
bool is_known(const data::Batch& batch, std::size_t row, std::size_t kind) {
  return batch.labelled[row] != 0 && batch.conversion[row * static_cast<std::size_t>(batch.kinds) + kind] != float{data::kUnknownLabel};
}

// log sum_k w_k sigmoid(a) sigmoid(b_k), what the listwise loss sorts by: log(e^x + e^y) = x - log sigmoid(x - y).
Tensor log_product(const Context& ctx, const Logits& logits, const data::Batch& batch, const LossWeights& weights) {
  Tensor sum;
  for (std::size_t k = 0; k < weights.kinds; ++k) {
    const auto w = static_cast<float>(weights.kind_weight[k]);
    if (w == 0) continue;
    Tensor one = log_sigmoid(ctx, logits.conversion[k]);
    if (w != 1) one = add(ctx, one, column_of(ctx, batch, [&](std::size_t) { return std::log(w); }));
    const auto difference = [&] { return add(ctx, sum, scale(ctx, one, -1)); };
    sum = sum ? add(ctx, sum, scale(ctx, log_sigmoid(ctx, difference()), -1)) : one;
  }
  return add(ctx, log_sigmoid(ctx, logits.click), sum);
}

}  // namespace

std::string term_name(std::size_t term, const data::Schema& schema) {
  const auto [name, kind] = term_of(term);
  const bool of_a_kind = (name == kConversion || name == kListConversion) && !schema.conversions.empty();
  return of_a_kind ? kLossNames[name] + std::string(".") + std::string(schema.kind(kind)) : kLossNames[name];
}

LossWeights loss_weights(const Config& config, std::size_t kinds) {
  const ModelTraits& model = traits(config);
  LossWeights weights{{config.loss.click, config.loss.conversion, config.loss.list_click, config.loss.list_conversion, config.loss.listwise},
                      config.loss.lambda, config.loss.listwise_value, config.list.label, model.clicked_items, LossWeights::Listwise::softmax, !model.probabilities,
                      {config.loss.examination, config.loss.theta, config.loss.clip}, {}, kinds};
  if (model.attention_rank) weights.listwise = LossWeights::Listwise::attention_rank;
  else if (config.loss.listwise_kind == ListwiseLoss::lambda) weights.listwise = LossWeights::Listwise::lambda;
  if (!model.list_click) weights.term[kListClick] = 0;
  if (!model.list_conversion) weights.term[kListConversion] = 0;
  for (std::size_t k = 0; k < kinds; ++k) {
    weights.term[conversion_term(k)] = weights.term[kConversion], weights.term[list_conversion_term(k)] = weights.term[kListConversion];
    weights.kind_weight[k] = config.rank.conversion_weights.empty() ? 1 : config.rank.conversion_weights[k];
  }
  if (weights.scores) weights.term = {0, 0, 0, 0, 1};
  return weights;
}

void declare_log_variances(ParameterStore& store, LossWeights& weights) {
  for (std::size_t t = 0; t < weights.term.size(); ++t) {
    const auto [name, kind] = term_of(t);
    if (weights.term[t] > 0) weights.log_variance[t] = store.add("loss.log_variance." + name_of_kind(kLossNames[name], kind), {1, 1}, false);
  }
}

ListTargets list_targets(const data::Batch& batch, std::int32_t list, ListLabel label, std::size_t kind) {
  float items = 0, clicks = 0, conversions = 0;
  bool known = true;
  const auto kinds = static_cast<std::size_t>(batch.kinds);
  for (auto i = static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(list)]);
       i < static_cast<std::size_t>(batch.offsets[static_cast<std::size_t>(list) + 1]); ++i) {
    if (batch.labelled[i] == 0) continue;
    items += 1;
    clicks += batch.click[i];
    if (is_known(batch, i, kind)) conversions += batch.conversion[i * kinds + kind];
    else known = false;
  }
  if (items == 0) return {};
  switch (label) {
    case ListLabel::any: return {clicks > 0 ? 1.0f : 0.0f, conversions > 0 ? 1.0f : 0.0f, true, known};
    case ListLabel::fraction: return {clicks / items, conversions / items, true, known};
    case ListLabel::count: break;
  }
  return {clicks, conversions, true, known};
}

Tensor loss(const Context& ctx, const Logits& logits, const data::Batch& batch, const LossWeights& weights, const LossCounts& counts,
            TermTensors* terms) {
  const std::int32_t n = batch.rows(), lists = batch.lists;
  Tensor total;
  const auto add_term = [&](std::size_t which, Tensor sum, std::int64_t count) {
    const Tensor mean = scale(ctx, sum, 1.0 / static_cast<double>(std::max<std::int64_t>(count, 1)));
    if (terms != nullptr) (*terms)[which] = mean;
    Tensor weighted = scale(ctx, mean, weights.term[which]);
    if (const ParameterId id = weights.log_variance[which]) {
      const Tensor s = ctx.parameter(id);  // (1, 1)
      weighted = mul(ctx, weighted, exp(ctx, scale(ctx, s, -1)));
      if (ctx.first_list == 0) weighted = add(ctx, weighted, scale(ctx, s, 0.5));
    }
    total = total ? add(ctx, total, weighted) : weighted;
  };
  const auto wanted = [&](std::size_t which) { return weights.term[which] > 0; };
  const auto kinds = static_cast<std::size_t>(batch.kinds);

  if (wanted(kClick) && weights.examination) {
    add_term(kClick, weights.examination.click(ctx, logits.click, batch), counts.items);
  } else if (wanted(kClick)) {
    add_term(kClick, bce_with_logits(ctx, logits.click, ctx.constant(batch.click, {n, 1}), ctx.constant(batch.labelled, {n, 1})), counts.items);
  }
  for (std::size_t k = 0; k < weights.kinds; ++k) {
    if (!wanted(conversion_term(k))) continue;
    const LossCounts::Unknown& unknown = counts.unknown[k];
    const bool of_clicked = weights.clicked_items || weights.examination;  // else of all: the entire space
    const Tensor happened = column_of(ctx, batch, [&](std::size_t i) { return is_known(batch, i, k) ? batch.conversion[i * kinds + k] : 0.0f; });
    const Tensor counted = column_of(ctx, batch, [&](std::size_t i) {
      if (!is_known(batch, i, k)) return 0.0f;
      if (!of_clicked) return 1.0f;
      return weights.examination ? static_cast<float>(static_cast<double>(batch.click[i]) * weights.examination.weight(batch.position[i])) : batch.click[i];
    });
    const Tensor sum = of_clicked ? bce_with_logits(ctx, logits.conversion[k], happened, counted)
                                  : product_bce(ctx, logits.click, logits.conversion[k], happened, counted);
    add_term(conversion_term(k), sum, weights.clicked_items ? counts.clicked - unknown.clicked : counts.items - unknown.items);
  }

  const auto targets_of = [&](std::size_t kind) {
    auto* targets = ctx.arena->array<ListTargets>(std::max(lists, 1));
    for (std::int32_t l = 0; l < lists; ++l) targets[l] = list_targets(batch, l, weights.label, kind);
    return targets;
  };
  const auto of_lists = [&](const ListTargets* targets, auto value) {  // (lists, 1)
    auto* values = ctx.arena->array<float>(std::max(lists, 1));
    for (std::int32_t l = 0; l < lists; ++l) values[l] = static_cast<float>(value(targets[l]));
    return ctx.constant(std::span<const float>{values, static_cast<std::size_t>(lists)}, {lists, 1});
  };
  const bool rates = weights.label == ListLabel::count;
  if (wanted(kListClick)) {
    const ListTargets* targets = targets_of(0);
    const Tensor clicked = of_lists(targets, [](const ListTargets& t) { return t.click; });
    const Tensor labelled = of_lists(targets, [](const ListTargets& t) { return t.labelled; });
    add_term(kListClick, rates ? poisson_nll(ctx, logits.list_click, clicked, labelled) : bce_with_logits(ctx, logits.list_click, clicked, labelled),
             counts.lists);
  }
  for (std::size_t k = 0; k < weights.kinds; ++k) {
    if (!wanted(list_conversion_term(k))) continue;
    const ListTargets* targets = targets_of(k);
    const Tensor happened = of_lists(targets, [](const ListTargets& t) { return t.conversion; });
    const Tensor known = of_lists(targets, [](const ListTargets& t) { return t.known; });
    add_term(list_conversion_term(k), rates ? poisson_nll(ctx, logits.list_conversion[k], happened, known)
                                            : product_bce(ctx, logits.list_click, logits.list_conversion[k], happened, known),
             counts.lists - counts.unknown[k].lists);
  }

  if (wanted(kListwise)) {
    // The labelled candidates alone: nobody passed over the others. Where sizes are not to depend on labels (a padded batch) the others are a list of
    // their own behind the rest, and lists without any label stay as they are: a list without a target has no loss.
    const bool all_rows = ctx.padding < lists;
    auto* gain = ctx.arena->array<double>(std::max(n, 1));
    auto* row = ctx.arena->array<std::int32_t>(std::max(n, 1));
    auto* offsets = ctx.arena->array<std::int32_t>(lists + 2);
    std::int32_t known = offsets[0] = 0;
    const auto target_of = [&](std::size_t k) {
      float target = batch.click[k];
      for (std::size_t kind = 0; kind < kinds; ++kind) {
        if (!is_known(batch, k, kind)) continue;
        const std::size_t at = k * kinds + kind;
        target += static_cast<float>(weights.lambda * weights.kind_weight[kind]) * batch.conversion[at] *
                  (weights.values ? std::max(batch.value[at], 0.0f) : 1.0f);
      }
      double g = target;
      if (weights.examination) g *= static_cast<float>(weights.examination.weight(batch.position[k]));
      if (weights.listwise == LossWeights::Listwise::attention_rank && g > 0) g = std::exp(g);  // DLCM's psi
      return g;
    };
    for (std::int32_t l = 0; l < lists; ++l) {
      for (std::int32_t i = batch.offsets[static_cast<std::size_t>(l)]; i < batch.offsets[static_cast<std::size_t>(l) + 1]; ++i) {
        const auto k = static_cast<std::size_t>(i);
        if (batch.labelled[k] != 0) row[known] = i, gain[known++] = target_of(k);
        else if (all_rows && l >= ctx.padding) row[known] = i, gain[known++] = 0;
      }
      offsets[l + 1] = known;
    }
    const bool gathered = known < n;
    if (all_rows) {
      for (std::int32_t i = 0; i < n && known < n; ++i) {
        const auto k = static_cast<std::size_t>(i);
        if (batch.labelled[k] == 0 && i < batch.offsets[static_cast<std::size_t>(ctx.padding)]) row[known] = i, gain[known++] = 0;
      }
      offsets[lists + 1] = known;
    }
    const Tensor target = ctx.constant(std::span<const double>{gain, static_cast<std::size_t>(known)}, {known, 1});
    Tensor score = weights.scores ? logits.click : log_product(ctx, logits, batch, weights);  // log pctcvr
    if (gathered) score = gather_rows(ctx, score, {row, static_cast<std::size_t>(known)});
    const Ragged rows{offsets, all_rows ? lists + 1 : lists};
    const auto listwise_loss = weights.listwise == LossWeights::Listwise::attention_rank ? attention_rank_loss
                               : weights.listwise == LossWeights::Listwise::lambda       ? lambda_loss
                                                                                         : softmax_cross_entropy;
    add_term(kListwise, listwise_loss(ctx, score, target, rows), counts.positive_lists);
  }
  return total;
}

}  // namespace piano
