#include "piano/entity_encoders.h"

#include <array>

namespace piano {
namespace {

std::vector<Embedding> declare_fields(ParameterStore& store, const std::string& owner, const std::vector<std::string>& names,
                                      const std::vector<data::Vocabulary>& vocabularies, std::int64_t d, double id_dropout) {
  std::vector<Embedding> fields;
  for (std::size_t i = 0; i < names.size(); ++i) {
    fields.push_back(Embedding::declare(store, owner + ".field." + names[i], vocabularies[i].rows(), d, id_dropout));
  }
  return fields;
}

// The parts of an entity's input, side by side.
class Parts {
 public:
  void add(Tensor part) {
    PIANO_CHECK(count_ < parts_.size(), "[entity] too many fields: at most 14");
    parts_[count_++] = part;
  }
  void add_fields(const Context& ctx, const std::vector<Embedding>& fields, const std::vector<data::BagColumn>& bags, Ragged rows,
                  std::uint32_t salt) {
    for (std::size_t i = 0; i < fields.size(); ++i) add(fields[i](ctx, bags[i].offsets, bags[i].ids, rows, salt));
  }
  Tensor concat(const Context& ctx) const { return piano::concat(ctx, std::span<const Tensor>{parts_.data(), count_}); }

 private:
  std::array<Tensor, Node::kMaxInputs> parts_;
  std::size_t count_ = 0;
};

}  // namespace

QueryEncoder QueryEncoder::declare(ParameterStore& store, const data::FeatureSpace& features, std::int64_t d, double id_dropout) {
  return {Embedding::declare(store, "query.id", features.query.rows(), d, id_dropout),
          Embedding::declare(store, "query.term", features.term_rows(), d, id_dropout), Linear::declare(store, "query.project", 2 * d, d),
          LayerNorm::declare(store, "query.norm", d)};
}

Tensor QueryEncoder::operator()(const Context& ctx, const data::QueryColumns& queries, Ragged rows, std::uint32_t salt) const {
  const Tensor e_id = id(ctx, queries.id, rows, salt);                                        // (rows, d)
  const Tensor e_terms = term(ctx, queries.terms.offsets, queries.terms.ids, rows, salt);     // (rows, d)
  return norm(ctx, project(ctx, concat(ctx, {e_id, e_terms})));                               // (rows, d)
}

ItemEncoder ItemEncoder::declare(ParameterStore& store, const data::FeatureSpace& features, std::int64_t d, double id_dropout) {
  ItemEncoder e;
  const data::Schema& schema = features.schema;
  e.id = Embedding::declare(store, "item.id", features.item.rows(), d, id_dropout);
  e.fields = declare_fields(store, "item", schema.item_fields, features.item_fields, d, id_dropout);
  e.vector_columns = schema.item_vector > 0 ? schema.item_vector + 1 : 0;
  const auto parts = static_cast<std::int64_t>(1 + e.fields.size());
  e.project = Linear::declare(store, "item.project", parts * d + e.vector_columns, d);
  e.norm = LayerNorm::declare(store, "item.norm", d);
  return e;
}

Tensor ItemEncoder::operator()(const Context& ctx, const data::ItemColumns& items, std::span<const float> vectors, Ragged rows,
                               std::uint32_t salt) const {
  Parts parts;
  parts.add(id(ctx, items.id, rows, salt));
  parts.add_fields(ctx, fields, items.fields, rows, salt);
  if (vector_columns > 0) {
    const std::int64_t n = rows.rows();
    if (vectors.empty() && n > 0) {
      auto* zeros = ctx.arena->array<float>(n * vector_columns);
      for (std::int64_t i = 0; i < n * vector_columns; ++i) zeros[i] = 0;
      vectors = {zeros, static_cast<std::size_t>(n * vector_columns)};
    }
    parts.add(ctx.constant(vectors, {n, vector_columns}));
  }
  return norm(ctx, project(ctx, parts.concat(ctx)));
}

UserEncoder UserEncoder::declare(ParameterStore& store, const data::FeatureSpace& features, std::int64_t d, double id_dropout) {
  UserEncoder e;
  const data::Schema& schema = features.schema;
  e.id = Embedding::declare(store, "user.id", features.user.rows(), d, id_dropout);
  e.fields = declare_fields(store, "user", schema.user_fields, features.user_fields, d, id_dropout);
  e.dense_columns = schema.user_dense > 0 ? schema.user_dense + 1 : 0;
  const auto parts = static_cast<std::int64_t>(1 + e.fields.size());
  e.project = Linear::declare(store, "user.project", parts * d + e.dense_columns, d);
  e.norm = LayerNorm::declare(store, "user.norm", d);
  return e;
}

Tensor UserEncoder::operator()(const Context& ctx, const data::Batch& batch, Ragged rows) const {
  Parts parts;
  parts.add(id(ctx, batch.user, rows));
  parts.add_fields(ctx, fields, batch.user_fields, rows, 0);
  if (dense_columns > 0) parts.add(ctx.constant(batch.user_dense, {batch.lists, dense_columns}));
  return norm(ctx, project(ctx, parts.concat(ctx)));
}

ContextEncoder ContextEncoder::declare(ParameterStore& store, const data::FeatureSpace& features, std::int64_t d, double id_dropout) {
  ContextEncoder e;
  e.fields = declare_fields(store, "context", features.schema.context_fields, features.context_fields, d, id_dropout);
  if (e.fields.empty()) return e;
  e.project = Linear::declare(store, "context.project", static_cast<std::int64_t>(e.fields.size()) * d, d);
  e.norm = LayerNorm::declare(store, "context.norm", d);
  return e;
}

Tensor ContextEncoder::operator()(const Context& ctx, const data::Batch& batch, Ragged rows) const {
  if (fields.empty()) return {};
  Parts parts;
  parts.add_fields(ctx, fields, batch.context_fields, rows, 0);
  return norm(ctx, project(ctx, parts.concat(ctx)));
}

}  // namespace piano
