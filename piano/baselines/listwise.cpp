#include "piano/baselines/listwise.h"

#include "piano/batch_rows.h"

namespace piano {

Dlcm::Dlcm(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  const std::int64_t d = config.model.d;
  join_ = Join::declare(store, config, request_, false, 0, 0);
  gru_ = Gru::declare(store, "dlcm.gru", d, d);
  context_ = Linear::declare(store, "dlcm.context", d, d);
  score_ = Linear::declare(store, "head.score", d, 1, false);
  if (request_.known_columns() > 0) wide_ = Linear::declare(store, "head.score.wide", request_.known_columns(), 1, false);
}

Logits Dlcm::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  const Tensor o = gru_(ctx, join(ctx, batch, c), c.rows, true);                                          // (rows, d)
  const Tensor s = gather_rows(ctx, o, {c.rows.offsets, static_cast<std::size_t>(c.rows.lists)});         // (lists, d): rank 1 is read last
  const Tensor local = gather_rows(ctx, tanh(ctx, context_(ctx, s)), c.lists.list_of);                    // (rows, d)
  const Tensor score = score_(ctx, mul(ctx, o, local));                                                   // (rows, 1)
  return {c.known ? add(ctx, score, wide_(ctx, c.known)) : score, {}, {}, {}};
}

Prm::Prm(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  const std::int64_t d = config.model.d;
  past_ = PastItems::declare(store, config, features);
  personal_ = Linear::declare(store, "prm.personal", 3 * d, d);
  join_ = Join::declare(store, config, request_, true, d, 0);
  encoder_ = ListEncoder::declare(store, config);
  score_ = ItemHead::declare(store, "head.score", config, d, request_.known_columns(), false);
}

Logits Prm::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  const Tensor past = segment_mean(ctx, past_(ctx, batch, request_), view(batch.history_offsets));        // (lists, d)
  const Tensor user = gather_rows(ctx, concat(ctx, {c.lists.user, past}), c.lists.list_of);               // (rows, 2d)
  const Tensor personal = personal_(ctx, concat(ctx, {c.items, user}), Activation::gelu);                 // (rows, d)
  const Tensor h = encoder_(ctx, join(ctx, batch, c, personal), c.rows);                                  // (rows, d)
  return {score_(ctx, h, c.known, c.rows), {}, {}, {}};
}

SetRank::SetRank(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  join_ = Join::declare(store, config, request_, false, 0, 0);
  encoder_ = ListEncoder::declare(store, config);
  score_ = ItemHead::declare(store, "head.score", config, config.model.d, request_.known_columns(), false);
}

Logits SetRank::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  return {score_(ctx, encoder_(ctx, join(ctx, batch, c), c.rows), c.known, c.rows), {}, {}, {}};
}

}  // namespace piano
