#include "piano/baselines/pointwise.h"

#include "piano/batch_rows.h"

namespace piano {

Dnn::Dnn(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  join_ = Join::declare(store, config, request_, true, 0, 0);
  body_ = Tower::declare(store, "body", config);
  heads_ = ItemHeads::declare(store, config, features, body_.width, request_.known_columns());
}

Logits Dnn::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  const Tensor h = body_(ctx, join(ctx, batch, c), c.rows);  // (rows, width)
  return logits(ctx, c, h, h);
}

Din::Din(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  const std::int64_t d = config.model.d;
  past_ = PastItems::declare(store, config, features);
  activation_ = FeedForward::declare(store, "din.activation", 3 * d, std::max<std::int64_t>(d / 2, 1), 1, config.model.dropout);
  join_ = Join::declare(store, config, request_, true, d, 0);
  body_ = Tower::declare(store, "body", config);
  heads_ = ItemHeads::declare(store, config, features, body_.width, request_.known_columns());
}

Tensor Din::interest(const Context& ctx, Tensor items, Tensor past, Ragged rows, Ragged history) const {
  // Every candidate with every past event of its list, candidate after candidate.
  const auto pairs_of_list = indices(ctx, rows.lists + 1, [&](std::int32_t* out) {
    out[0] = 0;
    for (std::int32_t l = 0; l < rows.lists; ++l) out[l + 1] = out[l] + rows.size(l) * history.size(l);
  });
  const std::int32_t pairs = pairs_of_list.back();
  auto* event = ctx.arena->array<std::int32_t>(std::max(pairs, 1));
  auto* candidate = ctx.arena->array<std::int32_t>(std::max(pairs, 1));
  const auto pairs_of_candidate = indices(ctx, rows.rows() + 1, [&](std::int32_t* out) {
    std::int32_t at = 0;
    for (std::int32_t l = 0; l < rows.lists; ++l) {
      for (std::int32_t i = rows.begin(l); i < rows.end(l); ++i) {
        out[i] = at;
        for (std::int32_t j = history.begin(l); j < history.end(l); ++j, ++at) event[at] = j, candidate[at] = i;
      }
    }
    out[rows.rows()] = at;
  });
  const auto n = static_cast<std::size_t>(pairs);
  const Tensor e = gather_rows(ctx, past, {event, n}), v = gather_rows(ctx, items, {candidate, n});  // (pairs, d)
  const Tensor a = activation_(ctx, concat(ctx, {e, mul(ctx, e, v), v}), {pairs_of_list.data(), rows.lists});  // (pairs, 1)
  return weighted_sum(ctx, e, a, {pairs_of_candidate.data(), rows.rows()});
}

Logits Din::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  const Tensor past = past_(ctx, batch, request_);                                                      // (history rows, d)
  const Tensor v = interest(ctx, c.items, past, c.rows, view(batch.history_offsets));                   // (rows, d)
  const Tensor h = body_(ctx, join(ctx, batch, c, v), c.rows);                                          // (rows, width)
  return logits(ctx, c, h, h);
}

Esmm::Esmm(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  join_ = Join::declare(store, config, request_, true, 0, 0);
  click_tower_ = Tower::declare(store, "tower.click", config);
  conversion_tower_ = Tower::declare(store, "tower.conversion", config);
  heads_ = ItemHeads::declare(store, config, features, click_tower_.width, request_.known_columns());
}

Logits Esmm::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  const Tensor x = join(ctx, batch, c);  // (rows, d)
  const Tensor for_click = click_tower_(ctx, x, c.rows), for_conversion = conversion_tower_(ctx, x, c.rows);  // (rows, width)
  return logits(ctx, c, for_click, for_conversion);
}

}  // namespace piano
