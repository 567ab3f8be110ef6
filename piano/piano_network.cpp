#include "piano/piano_network.h"

#include <algorithm>
#include <string>

#include "piano/batch_rows.h"

namespace piano {
namespace {

constexpr std::uint32_t kPast = site_hash("past");  // salt of random numbers for past queries and items

// The same row for every list.
std::span<const std::int32_t> zeros(const Context& ctx, std::int32_t lists) {
  return indices(ctx, lists, [&](std::int32_t* out) { std::fill(out, out + lists, 0); });
}

}  // namespace

PianoNetwork::PianoNetwork(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : config_(config) {
  const std::int64_t d = config.model.d;
  const double drop = config.model.dropout;
  request_ = RequestEncoder::declare(store, config, features);
  qdir_ = Qdir::declare(store, config, features);
  const bool interest = config.qdir.mode != QdirMode::off;
  join_ = Join::declare(store, config, request_, true, interest ? d : 0, interest ? d : 0);

  if (config.ian.pool == IanPool::token) {
    token_ = store.add("ian.token", {1, d}, false);
    if (config.ian.condition) token_condition_ = Linear::declare(store, "ian.condition", (interest ? 2 : 1) * d, d, false);
  } else if (config.ian.pool == IanPool::attention) {
    pool_query_ = store.add("ian.pool.token", {1, d}, false);
  }
  const std::int64_t points = config.encoder.attention == EncoderAttention::induced ? config.encoder.points : 0;
  for (std::int64_t m = 0; m < config.model.layers; ++m) {
    blocks_.push_back(EncoderBlock::declare(store, "encoder." + std::to_string(m), d, static_cast<int>(config.model.heads),
                                            config.model.ffn * d, drop, points));
  }
  final_norm_ = LayerNorm::declare(store, "encoder.norm", d);

  const std::int64_t seen = config.ian.feedback ? 2 * d : d;
  const std::size_t kinds = features.schema.kinds();
  const auto each_kind = [&](const std::string& name, auto declare) {
    for (std::size_t k = 0; k < kinds; ++k) declare(k, name_of_kind(name, k));
  };
  conversion_way_.resize(kinds);
  click_head_ = FeedForward::declare(store, "head.click", seen, d, 1, drop);
  each_kind("head.conversion", [&](std::size_t, const std::string& name) { conversion_head_.push_back(FeedForward::declare(store, name, seen, d, 1, drop)); });
  if (const std::int64_t known = request_.known_columns(); known > 0) {
    click_way_.wide = Linear::declare(store, "head.click.wide", known, 1, false);
    each_kind("head.conversion", [&](std::size_t k, const std::string& name) {
      conversion_way_[k].wide = Linear::declare(store, name + ".wide", known, 1, false);
    });
  }
  if (const std::int64_t matches = qdir_.match_columns; matches > 0) {
    click_way_.match = Linear::declare(store, "head.click.match", matches, 1, false);
    each_kind("head.conversion", [&](std::size_t k, const std::string& name) {
      conversion_way_[k].match = Linear::declare(store, name + ".match", matches, 1, false);
    });
  }
  list_click_head_ = FeedForward::declare(store, "head.list_click", d, d, 1, drop);
  each_kind("head.list_conversion", [&](std::size_t, const std::string& name) { list_conversion_head_.push_back(FeedForward::declare(store, name, d, d, 1, drop)); });
}

Network::MemoryColumns PianoNetwork::memory_columns() const {
  if (qdir_.mode == QdirMode::off) return {};
  const std::int64_t d = config_.model.d;
  return {qdir_.mode == QdirMode::mean ? 0 : d, qdir_.value == QdirValue::both ? 2 * d : d};
}

Qdir::Input PianoNetwork::past(const Context& ctx, const data::Batch& batch, const RequestEncoder::Lists& lists, bool with_history) const {
  Qdir::Input past;
  past.query = lists.query;
  past.user = lists.user;
  past.lists = lists.lists;
  past.history = view(batch.history_offsets);
  past.past_action = batch.history_action;
  past.past_age = batch.history_age;
  const data::MatchColumns& m = batch.history_match;
  past.candidates = lists.candidates.rows();
  past.matches = {m.offsets.data(), m.candidate.data(), m.event.data(), m.column.data(), batch.lists};
  if (!with_history) return past;
  if (qdir_.reads_past_queries()) past.past_query = request_.query(ctx, batch.history_query, past.history, kPast);   // (history rows, d)
  if (qdir_.reads_past_items()) past.past_item = request_.item(ctx, batch.history_item, batch.history_vector, past.history, kPast);  // (history rows, d)
  return past;
}

// The list token and the encoder: x_i with positions (rows, d), x_0 (lists, d).
PianoNetwork::Encoded PianoNetwork::encode(const Context& ctx, Tensor x, Tensor token, Ragged rows) const {
  if (config_.ian.pool == IanPool::token) {
    x = prepend_row(ctx, token, x, rows);                                             // (rows + lists, d)
    const TokenRows t = with_token(ctx, rows);
    for (const EncoderBlock& block : blocks_) x = block(ctx, x, t.rows);
    x = final_norm_(ctx, x);
    const Tensor h_0 = gather_rows(ctx, x, t.tokens);
    return {gather_rows(ctx, x, t.candidates), h_0};
  }
  for (const EncoderBlock& block : blocks_) x = block(ctx, x, rows);
  const Tensor h_i = final_norm_(ctx, x);
  if (config_.ian.pool == IanPool::mean) return {h_i, segment_mean(ctx, h_i, rows)};
  const Tensor query = gather_rows(ctx, ctx.parameter(pool_query_), zeros(ctx, rows.lists));  // (lists, d)
  return {h_i, attention(ctx, query, h_i, h_i, one_row_per_list(ctx, rows.lists), rows, 1)};
}

void PianoNetwork::judge_lists(const Context& ctx, Tensor h_0, Ragged lists, Logits& out) const {
  out.list_click = list_click_head_(ctx, h_0, lists);
  for (std::size_t k = 0; k < list_conversion_head_.size(); ++k) out.list_conversion[k] = list_conversion_head_[k](ctx, h_0, lists);
}

Logits PianoNetwork::judge(const Context& ctx, Tensor content, Tensor token, std::span<const std::int32_t> positions) const {
  const auto n = static_cast<std::int32_t>(content.shape().rows()), all = static_cast<std::int32_t>(positions.size()), orders = all / n;
  const auto offsets = indices(ctx, orders + 1, [&](std::int32_t* out) { for (std::int32_t s = 0; s <= orders; ++s) out[s] = s * n; });
  const auto repeated = indices(ctx, all, [&](std::int32_t* out) { for (std::int32_t i = 0; i < all; ++i) out[i] = i % n; });
  const Ragged rows{offsets.data(), orders}, lists = one_row_per_list(ctx, orders);
  const Tensor x = join_.place(ctx, gather_rows(ctx, content, repeated), positions, rows);  // (orders * n, d)
  const Tensor h_0 = encode(ctx, x, token ? gather_rows(ctx, token, zeros(ctx, orders)) : token, rows).list;
  Logits out;
  judge_lists(ctx, h_0, lists, out);
  return out;
}

Logits PianoNetwork::forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const {
  const bool remembered = static_cast<bool>(memory.v);
  const RequestEncoder::Lists e = request_.lists(ctx, batch);
  const Qdir::Input in = past(ctx, batch, e, !remembered);
  if (!remembered) memory = qdir_.remember(ctx, in);
  const Ragged rows = e.candidates;
  const auto spread = [&](Tensor per_list) { return gather_rows(ctx, per_list, e.list_of); };  // (lists, d) -> (rows, d)

  const auto [p, attended] = qdir_(ctx, in, memory);                                  // (lists, d), (rows, qdir.match_columns), or none
  const Tensor e_i = request_.items(ctx, batch, rows);                                // (rows, d)

  // x_i = W_x [e_i ; e_q ; e_u ; e_ctx ; p ; e_i * p ; dense ; match ; s0] + P[r_i]
  const Tensor matched = p ? mul(ctx, e_i, spread(p)) : Tensor{};                     // (rows, d)
  const Tensor known = request_.known(ctx, batch);                                    // (rows, known columns)
  const Tensor content = join_.content(ctx, e, e_i, matched, known, p);               // (rows, d)
  const Tensor x = join_.place(ctx, content, join_.positions(batch), rows);

  Tensor token;  // x_0 = a + W_a [p ; e_q] goes before each list's candidates and takes part in the attention
  if (config_.ian.pool == IanPool::token) {
    token = gather_rows(ctx, ctx.parameter(token_), zeros(ctx, rows.lists));          // (lists, d)
    if (config_.ian.condition) token = add(ctx, token, token_condition_(ctx, concat(ctx, {p, e.query})));
  }
  const auto [h_i, h_0] = encode(ctx, x, token, rows);

  const Tensor fed_back = config_.ian.feedback ? h_0 : Tensor{};                      // the item heads see [h_i ; h_0], or h_i
  const auto logit = [&, items = h_i, matches = attended](const FeedForward& head, const Way& way) {  // (rows, 1)
    Tensor sum = head(ctx, items, rows, fed_back, e.list_of);
    if (known) sum = add(ctx, sum, way.wide(ctx, known));
    return matches ? add(ctx, sum, way.match(ctx, matches)) : sum;
  };
  Logits out;
  out.click = logit(click_head_, click_way_);
  for (std::size_t k = 0; k < conversion_head_.size(); ++k) out.conversion[k] = logit(conversion_head_[k], conversion_way_[k]);
  judge_lists(ctx, h_0, e.lists, out);
  out.content = content, out.token = token;
  return out;
}

void PianoNetwork::attention_weights(const Context& ctx, const data::Batch& batch, std::span<double> out) const {
  qdir_.weights(ctx, past(ctx, batch, request_.lists(ctx, batch), true), out);
}

void PianoNetwork::visit_rows(const data::Batch& batch, const VisitRows& visit) const {
  request_.visit_rows(batch, visit);
  if (qdir_.age.table) {
    visit(qdir_.age.table, batch.history_age);
    visit(qdir_.action.table, batch.history_action);
  }
  join_.visit_rows(batch, visit);
}

}  // namespace piano
