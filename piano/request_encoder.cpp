#include "piano/request_encoder.h"

#include "piano/batch_rows.h"

namespace piano {

RequestEncoder RequestEncoder::declare(ParameterStore& store, const Config& config, const data::FeatureSpace& features) {
  const std::int64_t d = config.model.d;
  const double id_drop = config.model.oov_dropout;
  const data::Schema& schema = features.schema;
  RequestEncoder e;
  e.query = QueryEncoder::declare(store, features, d, id_drop);
  e.item = ItemEncoder::declare(store, features, d, id_drop);
  e.user = UserEncoder::declare(store, features, d, id_drop);
  e.context = ContextEncoder::declare(store, features, d, id_drop);
  e.dense_columns = schema.item_dense > 0 ? schema.item_dense + 1 : 0;
  e.match_columns = config.model.match ? static_cast<std::int64_t>(data::match_feature_names(schema).size()) : 0;
  e.score_columns = schema.has_score ? 2 : 0;
  return e;
}

RequestEncoder::Lists RequestEncoder::lists(const Context& ctx, const data::Batch& batch) const {
  Lists e;
  e.lists = one_row_per_list(ctx, batch.lists);
  e.candidates = view(batch.offsets);
  e.list_of = list_of_row(ctx, e.candidates);
  e.query = query(ctx, batch.query, e.lists, 0);   // (lists, d)
  e.user = user(ctx, batch, e.lists);              // (lists, d)
  e.context = context(ctx, batch, e.lists);        // (lists, d) or none
  return e;
}

Tensor RequestEncoder::items(const Context& ctx, const data::Batch& batch, Ragged candidates) const {
  return item(ctx, batch.item, batch.vector, candidates, 0);
}

Tensor RequestEncoder::known(const Context& ctx, const data::Batch& batch) const {
  if (known_columns() == 0) return {};
  const std::int32_t n = batch.rows();
  const Tensor dense = dense_columns > 0 ? ctx.constant(batch.dense, {n, dense_columns}) : Tensor{};
  const Tensor match = match_columns > 0 ? ctx.constant(batch.match, {n, match_columns}) : Tensor{};
  const Tensor score = score_columns > 0 ? ctx.constant(batch.score, {n, score_columns}) : Tensor{};
  return concat(ctx, {dense, match, score});
}

void RequestEncoder::visit_rows(const data::Batch& batch, const Network::VisitRows& visit) const {
  const auto fields = [&](const std::vector<Embedding>& layers, const std::vector<data::BagColumn>& bags) {
    for (std::size_t i = 0; i < layers.size(); ++i) visit(layers[i].table, bags[i].ids);
  };
  for (const data::QueryColumns* queries : {&batch.query, &batch.history_query}) {
    visit(query.id.table, queries->id);
    visit(query.term.table, queries->terms.ids);
  }
  for (const data::ItemColumns* items : {&batch.item, &batch.history_item}) {
    visit(item.id.table, items->id);
    fields(item.fields, items->fields);
  }
  visit(user.id.table, batch.user);
  fields(user.fields, batch.user_fields);
  fields(context.fields, batch.context_fields);
}

Join Join::declare(ParameterStore& store, const Config& config, const RequestEncoder& request, bool positions, std::int64_t item_columns,
                   std::int64_t list_columns) {
  const std::int64_t d = config.model.d, shared = request.context.fields.empty() ? 2 : 3;
  Join join;
  join.item = Linear::declare(store, "join.item", d + item_columns + request.known_columns(), d);
  join.list = Linear::declare(store, "join.list", shared * d + list_columns, d, false);
  if (positions && config.encoder.position != PositionMode::none) {
    join.displayed = config.encoder.position == PositionMode::displayed;
    join.position = Embedding::declare(store, "encoder.position", config.encoder.positions + (join.displayed ? 1 : 0), d, 0);
  }
  return join;
}

Tensor Join::content(const Context& ctx, const RequestEncoder::Lists& lists, Tensor items, Tensor added_to_items, Tensor known,
                     Tensor added_to_lists) const {
  return add(ctx, item(ctx, concat(ctx, {items, added_to_items, known})),
             gather_rows(ctx, list(ctx, concat(ctx, {lists.query, lists.user, lists.context, added_to_lists})), lists.list_of));
}

Tensor Join::place(const Context& ctx, Tensor x, std::span<const std::int32_t> positions, Ragged candidates) const {
  if (!position.table) return x;
  const auto last = static_cast<std::int32_t>((*ctx.parameters)[position.table].shape.rows() - 1);
  const auto rows = indices(ctx, candidates.rows(), [&](std::int32_t* out) {
    for (std::size_t i = 0; i < positions.size(); ++i) out[i] = std::min(positions[i], last);
  });
  return add(ctx, x, position(ctx, rows, candidates));
}

Tensor Join::operator()(const Context& ctx, const data::Batch& batch, const RequestEncoder::Lists& lists, Tensor items, Tensor added_to_items,
                        Tensor known, Tensor added_to_lists) const {
  return place(ctx, content(ctx, lists, items, added_to_items, known, added_to_lists), positions(batch), lists.candidates);
}

void Join::visit_rows(const data::Batch& batch, const Network::VisitRows& visit) const {
  if (position.table) visit(position.table, positions(batch));
}

}  // namespace piano
