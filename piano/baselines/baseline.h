// What the baselines share: they read a request as PIANO does (request_encoder.h) and end in PIANO's heads, a straight way from the numbers
// known of a candidate included. What differs between two models is what lies between.
#pragma once

#include <string>
#include <vector>

#include "layers/encoder.h"
#include "layers/feed_forward.h"
#include "piano/request_encoder.h"

namespace piano {

// What an encoder of a candidate (rows, in) ends in: W_2 gelu(W_1 h) + w known, (rows, 1).
struct ItemHead {
  FeedForward deep;
  Linear wide;  // none when nothing is known

  // Declares <name>.up, <name>.down and <name>.wide. A listwise loss does not see what is added to a whole list: no last `bias` then.
  static ItemHead declare(ParameterStore& store, const std::string& name, const Config& config, std::int64_t in, std::int64_t known,
                          bool bias = true);
  Tensor operator()(const Context& ctx, Tensor h, Tensor known, Ragged rows) const;
};

// The heads of a model that is trained item by item: head.click, and head.conversion of each kind of conversion.
struct ItemHeads {
  ItemHead click;
  std::vector<ItemHead> conversion;

  static ItemHeads declare(ParameterStore& store, const Config& config, const data::FeatureSpace& features, std::int64_t in, std::int64_t known);
};

// A stack of config.model.layers hidden layers of width ffn * d, GELU, dropout: (rows, d) -> (rows, width).
struct Tower {
  std::vector<Linear> layers;
  std::vector<std::uint32_t> sites;
  double dropout_rate = 0;
  std::int64_t width = 0;

  static Tower declare(ParameterStore& store, const std::string& name, const Config& config);  // <name>.0, <name>.1, ...
  Tensor operator()(const Context& ctx, Tensor x, Ragged rows) const;
};

// config.model.layers transformer blocks over a list, then a layer norm: (rows, d) -> (rows, d).
struct ListEncoder {
  std::vector<EncoderBlock> blocks;
  LayerNorm norm;

  static ListEncoder declare(ParameterStore& store, const Config& config);  // encoder.0, encoder.1, ..., encoder.norm
  Tensor operator()(const Context& ctx, Tensor x, Ragged rows) const;
};

// The user's past as the models see it that read it: past items, what was done to them, and when. (Past queries are PIANO's own.)
struct PastItems {
  Embedding age, action;

  static PastItems declare(ParameterStore& store, const Config& config, const data::FeatureSpace& features);
  Tensor operator()(const Context& ctx, const data::Batch& batch, const RequestEncoder& request) const;  // (history rows, d)
};

class Baseline : public Network {
 public:
  void visit_rows(const data::Batch& batch, const VisitRows& visit) const final;

 protected:
  Baseline(const Config& config, const data::FeatureSpace& features, ParameterStore& store)
      : request_(RequestEncoder::declare(store, config, features)) {}

  // A batch as the models begin with it.
  struct Candidates {
    RequestEncoder::Lists lists;
    Ragged rows;
    Tensor items, known;  // (rows, d), (rows, known columns) or none
  };
  Candidates candidates(const Context& ctx, const data::Batch& batch) const;
  Tensor join(const Context& ctx, const data::Batch& batch, const Candidates& c, Tensor added_to_items = {}) const {
    return join_(ctx, batch, c.lists, c.items, added_to_items, c.known, {});
  }

  // The logits of what a model made of the candidates, for either task, (rows, in).
  Logits logits(const Context& ctx, const Candidates& c, Tensor for_click, Tensor for_conversion) const {
    Logits out{heads_.click(ctx, for_click, c.known, c.rows)};
    for (std::size_t k = 0; k < heads_.conversion.size(); ++k) out.conversion[k] = heads_.conversion[k](ctx, for_conversion, c.known, c.rows);
    return out;
  }

  RequestEncoder request_;
  PastItems past_;  // none for a model that does not read the past
  Join join_;
  ItemHeads heads_; // none for a model with one score
};

}  // namespace piano
