// The whole model: entity encoders -> QDIR -> joining -> IAN and list encoder -> heads. Stateless but for parameter handles: the same code
// runs in training, evaluation and serving, in float on the kernels and in double on the reference.
#pragma once

#include <vector>

#include "layers/encoder.h"
#include "piano/entity_encoders.h"
#include "piano/qdir.h"

namespace piano {

// Logits. pctr_i = s(click), pcvr_i = s(conversion) (conversion given click), the same for the list.
struct Logits {
  Tensor click, conversion;            // (rows, 1), per candidate
  Tensor list_click, list_conversion;  // (lists, 1); with list.label = count: log-rates before softplus
};

class Network {
 public:
  // Declares every parameter in `store` (then: store.allocate()).
  Network(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

  Logits operator()(const Context& ctx, const data::Batch& batch) const;
  // The same. `memory`, when it holds tensors, is what an earlier batch with the same history columns left there: the bits are the same, the
  // work on the history is not done again.
  Logits operator()(const Context& ctx, const data::Batch& batch, Qdir::Memory& memory) const;

  // QDIR's weight of each past event of the batch, (history rows): for people.
  void attention_weights(const Context& ctx, const data::Batch& batch, std::span<double> out) const;

  // Which rows of which tables a batch reads (repeats included), before id dropout. For optimisers that update rows on demand.
  // Initial ranks are as in the batch: those past the last row of the position table stand for that row.
  void visit_rows(const data::Batch& batch, const std::function<void(ParameterId, std::span<const std::int32_t>)>& visit) const;

 private:
  struct Entities {
    Ragged lists, candidates;
    Tensor query, user, context;  // (lists, d); context may be none
    Qdir::Input past;
  };
  Entities encode(const Context& ctx, const data::Batch& batch, bool with_past) const;

  Config config_;
  QueryEncoder query_;
  ItemEncoder item_;
  UserEncoder user_;
  ContextEncoder context_;
  Qdir qdir_;
  Linear join_item_, join_list_;      // x_i, split: what differs from candidate to candidate, and what all candidates of a list share
  // A straight way from what is known of a candidate to its logits, beside the encoder (wide & deep, Cheng et al. 2016).
  Linear click_wide_, conversion_wide_, click_match_, conversion_match_;
  Embedding position_;
  ParameterId token_;                 // (1, d): the list token
  Linear token_condition_;            // (2d -> d), from [p ; e_q]
  ParameterId pool_query_;            // (1, d), ian.pool = attention
  std::vector<EncoderBlock> blocks_;
  LayerNorm final_norm_;
  FeedForward click_head_, conversion_head_, list_click_head_, list_conversion_head_;
  std::int64_t dense_columns_ = 0, match_columns_ = 0, score_columns_ = 0, known_columns_ = 0;
};

}  // namespace piano
