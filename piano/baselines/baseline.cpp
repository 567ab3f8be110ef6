#include "piano/baselines/baseline.h"

#include "piano/batch_rows.h"

namespace piano {

ItemHead ItemHead::declare(ParameterStore& store, const std::string& name, const Config& config, std::int64_t in, std::int64_t known,
                           bool bias) {
  ItemHead head;
  head.deep = {Linear::declare(store, name + ".up", in, config.model.d), Linear::declare(store, name + ".down", config.model.d, 1, bias),
               site_hash(name), config.model.dropout};
  if (known > 0) head.wide = Linear::declare(store, name + ".wide", known, 1, false);
  return head;
}

Tensor ItemHead::operator()(const Context& ctx, Tensor h, Tensor known, Ragged rows) const {
  const Tensor logit = deep(ctx, h, rows);  // (rows, 1)
  return known ? add(ctx, logit, wide(ctx, known)) : logit;
}

ItemHeads ItemHeads::declare(ParameterStore& store, const Config& config, const data::FeatureSpace& features, std::int64_t in, std::int64_t known) {
  ItemHeads heads;
  heads.click = ItemHead::declare(store, "head.click", config, in, known);
  for (std::size_t k = 0; k < features.schema.kinds(); ++k) {
    heads.conversion.push_back(ItemHead::declare(store, name_of_kind("head.conversion", k), config, in, known));
  }
  return heads;
}

Tower Tower::declare(ParameterStore& store, const std::string& name, const Config& config) {
  Tower tower;
  tower.dropout_rate = config.model.dropout;
  tower.width = config.model.d;
  for (std::int64_t m = 0; m < config.model.layers; ++m) {
    const std::string layer = name + "." + std::to_string(m);
    tower.layers.push_back(Linear::declare(store, layer, tower.width, config.model.ffn * config.model.d));
    tower.sites.push_back(site_hash(layer));
    tower.width = config.model.ffn * config.model.d;
  }
  return tower;
}

Tensor Tower::operator()(const Context& ctx, Tensor x, Ragged rows) const {
  for (std::size_t m = 0; m < layers.size(); ++m) x = dropout(ctx, layers[m](ctx, x, Activation::gelu), dropout_rate, sites[m], rows);
  return x;
}

ListEncoder ListEncoder::declare(ParameterStore& store, const Config& config) {
  ListEncoder encoder;
  const std::int64_t d = config.model.d, points = config.encoder.attention == EncoderAttention::induced ? config.encoder.points : 0;
  for (std::int64_t m = 0; m < config.model.layers; ++m) {
    encoder.blocks.push_back(EncoderBlock::declare(store, "encoder." + std::to_string(m), d, static_cast<int>(config.model.heads),
                                                   config.model.ffn * d, config.model.dropout, points));
  }
  encoder.norm = LayerNorm::declare(store, "encoder.norm", d);
  return encoder;
}

Tensor ListEncoder::operator()(const Context& ctx, Tensor x, Ragged rows) const {
  for (const EncoderBlock& block : blocks) x = block(ctx, x, rows);
  return norm(ctx, x);
}

PastItems PastItems::declare(ParameterStore& store, const Config& config, const data::FeatureSpace& features) {
  return {Embedding::declare(store, "history.age", data::kAgeBuckets, config.model.d, 0),
          Embedding::declare(store, "history.action", features.action.rows(), config.model.d, config.model.oov_dropout)};
}

Tensor PastItems::operator()(const Context& ctx, const data::Batch& batch, const RequestEncoder& request) const {
  const Ragged history = view(batch.history_offsets);
  const Tensor item = request.item(ctx, batch.history_item, batch.history_vector, history, site_hash("past"));
  return add(ctx, item, add(ctx, age(ctx, batch.history_age, history), action(ctx, batch.history_action, history)));
}

void Baseline::visit_rows(const data::Batch& batch, const VisitRows& visit) const {
  request_.visit_rows(batch, visit);
  if (past_.age.table) {
    visit(past_.age.table, batch.history_age);
    visit(past_.action.table, batch.history_action);
  }
  join_.visit_rows(batch, visit);
}

Baseline::Candidates Baseline::candidates(const Context& ctx, const data::Batch& batch) const {
  Candidates c;
  c.lists = request_.lists(ctx, batch);
  c.rows = c.lists.candidates;
  c.items = request_.items(ctx, batch, c.rows);
  c.known = request_.known(ctx, batch);
  return c;
}

}  // namespace piano
