#include "piano/qdir.h"

#include <algorithm>

namespace piano {

Qdir Qdir::declare(ParameterStore& store, const Config& config, const data::FeatureSpace& features) {
  Qdir q;
  const std::int64_t d = config.model.d;
  q.mode = config.qdir.mode;
  q.query = config.qdir.query;
  q.value = q.mode == QdirMode::item_only ? QdirValue::item : config.qdir.value;
  q.dropout_rate = config.model.dropout;
  if (q.mode == QdirMode::off) return q;
  if (q.mode != QdirMode::mean) {
    q.age = Embedding::declare(store, "qdir.age", data::kAgeBuckets, d, 0);
    q.action = Embedding::declare(store, "qdir.action", features.action.rows(), d, config.model.oov_dropout);
  }
  if (q.query == QdirQuery::query_user) q.ask = Linear::declare(store, "qdir.query", 2 * d, d);
  if (q.value == QdirValue::both) q.join_value = Linear::declare(store, "qdir.value", 2 * d, d);
  const bool null_slot = config.qdir.null_slot && q.mode != QdirMode::mean;
  q.attention = QueryAttention::declare(store, "qdir.attention", d, static_cast<int>(config.model.heads), null_slot);
  if (config.qdir.match) {
    const auto columns = 1 + static_cast<std::int64_t>(features.schema.match_fields.size());
    q.match_columns = (q.mode == QdirMode::mean ? 1 : config.model.heads) * columns;
  }
  q.norm1 = LayerNorm::declare(store, "qdir.norm1", d);
  q.feed_forward = FeedForward::declare(store, "qdir.ffn", d, config.model.ffn * d, d, config.model.dropout);
  q.norm2 = LayerNorm::declare(store, "qdir.norm2", d);
  return q;
}

Tensor Qdir::asking(const Context& ctx, const Input& in) const {
  return query == QdirQuery::query_user ? ask(ctx, concat(ctx, {in.query, in.user})) : in.query;
}

Tensor Qdir::keys(const Context& ctx, const Input& in) const {
  const Tensor what = mode == QdirMode::item_only ? in.past_item : in.past_query;
  return add(ctx, what, add(ctx, age(ctx, in.past_age, in.history), action(ctx, in.past_action, in.history)));
}

Tensor Qdir::values(const Context& ctx, const Input& in) const {
  switch (value) {
    case QdirValue::query: return in.past_query;
    case QdirValue::item: return in.past_item;
    case QdirValue::both: break;
  }
  return concat(ctx, {in.past_query, in.past_item});
}

HistoryMemory Qdir::remember(const Context& ctx, const Input& in) const {
  if (mode == QdirMode::off) return {};
  return {mode == QdirMode::mean ? Tensor{} : keys(ctx, in), values(ctx, in)};
}

Qdir::Interest Qdir::operator()(const Context& ctx, const Input& in, HistoryMemory memory) const {
  if (mode == QdirMode::off) return {};
  const Tensor g = asking(ctx, in);                                                                        // (lists, d)
  const Tensor w = mode == QdirMode::mean ? QueryAttention::uniform_weights(ctx, in.history)               // (history rows, heads or 1)
                                          : attention.weights(ctx, g, memory.k, in.history);
  const Tensor o = attention(ctx, w, memory.v, in.history, value == QdirValue::both ? &join_value : nullptr);  // (lists, d)
  const Tensor m = match_columns > 0 ? match_sum(ctx, w, in.matches, in.candidates, match_columns / w.cols()) : Tensor{};
  const Tensor r = norm1(ctx, add(ctx, g, dropout(ctx, o, dropout_rate, site_hash("qdir.attention.out"), in.lists)));
  const Tensor f = dropout(ctx, feed_forward(ctx, r, in.lists), dropout_rate, site_hash("qdir.ffn.out"), in.lists);
  return {norm2(ctx, add(ctx, r, f)), m ? scale(ctx, m, kMatchScale) : m};
}

void Qdir::weights(const Context& ctx, const Input& in, std::span<double> out) const {
  std::fill(out.begin(), out.end(), 0.0);
  if (mode == QdirMode::off) return;
  const Tensor w = mode == QdirMode::mean ? QueryAttention::uniform_weights(ctx, in.history)
                                          : attention.weights(ctx, asking(ctx, in), keys(ctx, in), in.history);
  const auto heads = static_cast<std::size_t>(w.cols());
  const std::span<const float> weights = w.values<float>();
  for (std::size_t i = 0; i < weights.size(); ++i) out[i / heads] += double{weights[i]} / static_cast<double>(heads);
}

}  // namespace piano
