#include "piano/baselines/contextual.h"

#include "piano/batch_rows.h"

namespace piano {

Mir::Mir(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  const std::int64_t d = config.model.d, known = request_.known_columns();
  const int heads = static_cast<int>(config.model.heads);
  past_ = PastItems::declare(store, config, features);
  join_ = Join::declare(store, config, request_, false, 0, 0);
  encoder_ = ListEncoder::declare(store, config);
  gru_ = Gru::declare(store, "mir.gru", d, d);
  to_past_ = MultiHeadAttention::declare(store, "mir.past_attention", d, heads, true);
  to_candidates_ = MultiHeadAttention::declare(store, "mir.candidate_attention", d, heads, false);
  heads_ = ItemHeads::declare(store, config, features, 3 * d, known);
}

Logits Mir::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  const Ragged history = view(batch.history_offsets);
  const Tensor set = encoder_(ctx, join(ctx, batch, c), c.rows);                         // (rows, d)
  const Tensor list = gru_(ctx, past_(ctx, batch, request_), history, false);            // (history rows, d)
  const Tensor of_past = to_past_(ctx, set, list, list, c.rows, history);                // (rows, d)
  const Tensor of_set = segment_mean(ctx, to_candidates_(ctx, list, set, set, history, c.rows), history);  // (lists, d)
  const Tensor h = concat(ctx, {set, of_past, gather_rows(ctx, of_set, c.lists.list_of)});                 // (rows, 3d)
  return logits(ctx, c, h, h);
}

PearLike::PearLike(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  const std::int64_t d = config.model.d, known = request_.known_columns();
  const std::int64_t points = config.encoder.attention == EncoderAttention::induced ? config.encoder.points : 0;
  const int heads = static_cast<int>(config.model.heads);
  past_ = PastItems::declare(store, config, features);
  join_ = Join::declare(store, config, request_, true, 0, 0);
  token_ = store.add("pear.token", {1, d}, false);
  for (std::int64_t m = 0; m < config.model.layers; ++m) {
    const std::string at = std::to_string(m), name = "pear." + at;
    past_blocks_.push_back(EncoderBlock::declare(store, "history." + at, d, heads, config.model.ffn * d, config.model.dropout));
    blocks_.push_back(EncoderBlock::declare(store, "encoder." + at, d, heads, config.model.ffn * d, config.model.dropout, points));
    norms_.push_back(LayerNorm::declare(store, name + ".norm", d));
    to_past_.push_back(MultiHeadAttention::declare(store, name + ".attention", d, heads, true));
  }
  norm_ = LayerNorm::declare(store, "encoder.norm", d);
  heads_ = ItemHeads::declare(store, config, features, d, known);
  list_click_ = FeedForward::declare(store, "head.list_click", d, d, 1, config.model.dropout);
}

Logits PearLike::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  const Ragged history = view(batch.history_offsets);
  const auto zeros = indices(ctx, batch.lists, [&](std::int32_t* out) { std::fill(out, out + batch.lists, 0); });
  const TokenRows t = with_token(ctx, c.rows);
  Tensor past = past_(ctx, batch, request_);                                                               // (history rows, d)
  Tensor x = prepend_row(ctx, gather_rows(ctx, ctx.parameter(token_), zeros), join(ctx, batch, c), c.rows);  // (rows + lists, d)
  for (std::size_t m = 0; m < blocks_.size(); ++m) {
    past = past_blocks_[m](ctx, past, history);
    x = blocks_[m](ctx, x, t.rows);
    x = add(ctx, x, to_past_[m](ctx, norms_[m](ctx, x), past, past, t.rows, history));
  }
  x = norm_(ctx, x);
  const Tensor h = gather_rows(ctx, x, t.candidates);                                                      // (rows, d)
  Logits out = logits(ctx, c, h, h);
  out.list_click = list_click_(ctx, gather_rows(ctx, x, t.tokens), c.lists.lists);
  return out;
}

}  // namespace piano
