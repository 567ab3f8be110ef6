#include "piano/network.h"

#include <algorithm>
#include <string>

namespace piano {
namespace {

constexpr std::uint32_t kPast = site_hash("past");  // salt of random numbers for past queries and items

Ragged view(const std::vector<std::int32_t>& offsets) { return {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}; }

template <class Fill>
std::span<const std::int32_t> indices(const Context& ctx, std::int32_t n, Fill fill) {
  auto* out = ctx.arena->array<std::int32_t>(std::max<std::int32_t>(n, 1));
  fill(out);
  return {out, static_cast<std::size_t>(n)};
}

Ragged one_row_per_list(const Context& ctx, std::int32_t lists) {
  const auto offsets = indices(ctx, lists + 1, [&](std::int32_t* out) { for (std::int32_t l = 0; l <= lists; ++l) out[l] = l; });
  return {offsets.data(), lists};
}

// The list of each row: gathering by it gives every candidate its list's vector.
std::span<const std::int32_t> list_of_row(const Context& ctx, Ragged rows) {
  return indices(ctx, rows.rows(), [&](std::int32_t* out) {
    for (std::int32_t l = 0; l < rows.lists; ++l) std::fill(out + rows.begin(l), out + rows.end(l), l);
  });
}

}  // namespace

Network::Network(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : config_(config) {
  const std::int64_t d = config.model.d;
  const double drop = config.model.dropout, id_drop = config.model.oov_dropout;
  const data::Schema& schema = features.schema;

  query_ = QueryEncoder::declare(store, features, d, id_drop);
  item_ = ItemEncoder::declare(store, features, d, id_drop);
  user_ = UserEncoder::declare(store, features, d, id_drop);
  context_ = ContextEncoder::declare(store, features, d, id_drop);
  qdir_ = Qdir::declare(store, config, features);

  const bool interest = config.qdir.mode != QdirMode::off;
  const bool context = !schema.context_fields.empty();
  dense_columns_ = schema.item_dense > 0 ? schema.item_dense + 1 : 0;
  match_columns_ = config.model.match ? static_cast<std::int64_t>(data::match_feature_names(schema).size()) : 0;
  score_columns_ = schema.has_score ? 2 : 0;
  known_columns_ = dense_columns_ + match_columns_ + score_columns_;
  join_item_ = Linear::declare(store, "join.item", (interest ? 2 : 1) * d + known_columns_, d);
  join_list_ = Linear::declare(store, "join.list", (2 + (context ? 1 : 0) + (interest ? 1 : 0)) * d, d, false);
  if (config.encoder.position == PositionMode::initial_rank) {
    position_ = Embedding::declare(store, "encoder.position", config.encoder.positions, d, 0);
  }

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
  click_head_ = FeedForward::declare(store, "head.click", seen, d, 1, drop);
  conversion_head_ = FeedForward::declare(store, "head.conversion", seen, d, 1, drop);
  if (known_columns_ > 0) {
    click_wide_ = Linear::declare(store, "head.click.wide", known_columns_, 1, false);
    conversion_wide_ = Linear::declare(store, "head.conversion.wide", known_columns_, 1, false);
  }
  if (qdir_.match_columns > 0) {
    click_match_ = Linear::declare(store, "head.click.match", qdir_.match_columns, 1, false);
    conversion_match_ = Linear::declare(store, "head.conversion.match", qdir_.match_columns, 1, false);
  }
  list_click_head_ = FeedForward::declare(store, "head.list_click", d, d, 1, drop);
  list_conversion_head_ = FeedForward::declare(store, "head.list_conversion", d, d, 1, drop);
}

Network::Entities Network::encode(const Context& ctx, const data::Batch& batch, bool with_past) const {
  Entities e;
  e.lists = one_row_per_list(ctx, batch.lists);
  e.candidates = view(batch.offsets);
  e.query = query_(ctx, batch.query, e.lists, 0);   // (lists, d)
  e.user = user_(ctx, batch, e.lists);              // (lists, d)
  e.context = context_(ctx, batch, e.lists);        // (lists, d) or none
  e.past.query = e.query;
  e.past.user = e.user;
  e.past.lists = e.lists;
  e.past.history = view(batch.history_offsets);
  e.past.past_action = batch.history_action;
  e.past.past_age = batch.history_age;
  const data::MatchColumns& m = batch.history_match;
  e.past.candidates = e.candidates.rows();
  e.past.matches = {m.offsets.data(), m.candidate.data(), m.event.data(), m.column.data(), batch.lists};
  if (!with_past) return e;
  if (qdir_.reads_past_queries()) e.past.past_query = query_(ctx, batch.history_query, e.past.history, kPast);   // (history rows, d)
  if (qdir_.reads_past_items()) e.past.past_item = item_(ctx, batch.history_item, {}, e.past.history, kPast);    // (history rows, d)
  return e;
}

Logits Network::operator()(const Context& ctx, const data::Batch& batch) const {
  Qdir::Memory memory;
  return (*this)(ctx, batch, memory);
}

Logits Network::operator()(const Context& ctx, const data::Batch& batch, Qdir::Memory& memory) const {
  const bool remembered = static_cast<bool>(memory.v);
  const Entities e = encode(ctx, batch, !remembered);
  if (!remembered) memory = qdir_.remember(ctx, e.past);
  const Ragged rows = e.candidates;
  const std::int32_t n = rows.rows(), lists = rows.lists;
  const auto list_of = list_of_row(ctx, rows);                                        // (rows)
  const auto spread = [&](Tensor per_list) { return gather_rows(ctx, per_list, list_of); };  // (lists, d) -> (rows, d)

  const auto [p, attended] = qdir_(ctx, e.past, memory);                              // (lists, d), (rows, qdir.match_columns), or none
  const Tensor e_i = item_(ctx, batch.item, batch.vector, rows, 0);                   // (rows, d)

  // x_i = W_x [e_i ; e_q ; e_u ; e_ctx ; p ; e_i * p ; dense ; match ; s0] + P[r_i], the list's share computed once per list.
  const Tensor matched = p ? mul(ctx, e_i, spread(p)) : Tensor{};                     // (rows, d)
  const Tensor dense = dense_columns_ > 0 ? ctx.constant(batch.dense, {n, dense_columns_}) : Tensor{};
  const Tensor match = match_columns_ > 0 ? ctx.constant(batch.match, {n, match_columns_}) : Tensor{};
  const Tensor score = score_columns_ > 0 ? ctx.constant(batch.score, {n, score_columns_}) : Tensor{};
  const Tensor known = known_columns_ > 0 ? concat(ctx, {dense, match, score}) : Tensor{};  // (rows, known columns)
  Tensor x = add(ctx, join_item_(ctx, concat(ctx, {e_i, matched, known})),
                 spread(join_list_(ctx, concat(ctx, {e.query, e.user, e.context, p}))));  // (rows, d)
  if (config_.encoder.position == PositionMode::initial_rank) {
    const auto last = static_cast<std::int32_t>(config_.encoder.positions - 1);
    const auto ranks = indices(ctx, n, [&](std::int32_t* out) {
      for (std::int32_t i = 0; i < n; ++i) out[i] = std::min(batch.rank[static_cast<std::size_t>(i)], last);
    });
    x = add(ctx, x, position_(ctx, ranks, rows));
  }

  Tensor h_i, h_0;  // (rows, d), (lists, d)
  if (config_.ian.pool == IanPool::token) {
    // x_0 = a + W_a [p ; e_q] goes before each list's candidates and takes part in the attention.
    const auto zeros = indices(ctx, lists, [&](std::int32_t* out) { std::fill(out, out + lists, 0); });
    Tensor token = gather_rows(ctx, ctx.parameter(token_), zeros);                    // (lists, d)
    if (config_.ian.condition) token = add(ctx, token, token_condition_(ctx, concat(ctx, {p, e.query})));
    x = prepend_row(ctx, token, x, rows);                                             // (rows + lists, d)
    const auto offsets = indices(ctx, lists + 1, [&](std::int32_t* out) {
      for (std::int32_t l = 0; l <= lists; ++l) out[l] = rows.offsets[l] + l;
    });
    const Ragged with_token{offsets.data(), lists};
    for (const EncoderBlock& block : blocks_) x = block(ctx, x, with_token);
    x = final_norm_(ctx, x);
    h_0 = gather_rows(ctx, x, {offsets.data(), static_cast<std::size_t>(lists)});
    h_i = gather_rows(ctx, x, indices(ctx, n, [&](std::int32_t* out) {
      for (std::int32_t i = 0; i < n; ++i) out[i] = i + list_of[static_cast<std::size_t>(i)] + 1;
    }));
  } else {
    for (const EncoderBlock& block : blocks_) x = block(ctx, x, rows);
    h_i = final_norm_(ctx, x);
    if (config_.ian.pool == IanPool::mean) {
      h_0 = segment_mean(ctx, h_i, rows);
    } else {
      const auto zeros = indices(ctx, lists, [&](std::int32_t* out) { std::fill(out, out + lists, 0); });
      h_0 = attention(ctx, gather_rows(ctx, ctx.parameter(pool_query_), zeros), h_i, h_i, e.lists, rows, 1);
    }
  }

  const auto logit = [&, matches = attended](Tensor deep, const Linear& wide, const Linear& match_weights) {  // (rows, 1)
    if (known) deep = add(ctx, deep, wide(ctx, known));
    return matches ? add(ctx, deep, match_weights(ctx, matches)) : deep;
  };
  const Tensor seen = config_.ian.feedback ? concat(ctx, {h_i, spread(h_0)}) : h_i;   // (rows, d or 2d)
  return {logit(click_head_(ctx, seen, rows), click_wide_, click_match_),
          logit(conversion_head_(ctx, seen, rows), conversion_wide_, conversion_match_), list_click_head_(ctx, h_0, e.lists),
          list_conversion_head_(ctx, h_0, e.lists)};
}

void Network::attention_weights(const Context& ctx, const data::Batch& batch, std::span<double> out) const {
  qdir_.weights(ctx, encode(ctx, batch, true).past, out);
}

void Network::visit_rows(const data::Batch& batch, const std::function<void(ParameterId, std::span<const std::int32_t>)>& visit) const {
  const auto fields = [&](const std::vector<Embedding>& layers, const std::vector<data::BagColumn>& bags) {
    for (std::size_t i = 0; i < layers.size(); ++i) visit(layers[i].table, bags[i].ids);
  };
  for (const data::QueryColumns* queries : {&batch.query, &batch.history_query}) {
    visit(query_.id.table, queries->id);
    visit(query_.term.table, queries->terms.ids);
  }
  for (const data::ItemColumns* items : {&batch.item, &batch.history_item}) {
    visit(item_.id.table, items->id);
    fields(item_.fields, items->fields);
  }
  visit(user_.id.table, batch.user);
  fields(user_.fields, batch.user_fields);
  fields(context_.fields, batch.context_fields);
  if (qdir_.age.table) {
    visit(qdir_.age.table, batch.history_age);
    visit(qdir_.action.table, batch.history_action);
  }
  if (position_.table) visit(position_.table, batch.rank);
}

}  // namespace piano
