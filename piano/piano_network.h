// PIANO: entity encoders -> QDIR -> joining -> IAN and list encoder -> heads.
#pragma once

#include <vector>

#include "layers/encoder.h"
#include "piano/network.h"
#include "piano/qdir.h"
#include "piano/request_encoder.h"

namespace piano {

class PianoNetwork : public Network {
 public:
  PianoNetwork(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

  MemoryColumns memory_columns() const override;
  Logits judge(const Context& ctx, Tensor content, Tensor token, std::span<const std::int32_t> positions) const override;
  void attention_weights(const Context& ctx, const data::Batch& batch, std::span<double> out) const override;  // QDIR's
  void visit_rows(const data::Batch& batch, const VisitRows& visit) const override;

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  struct Encoded { Tensor items, list; };  // h_i (rows, d), h_0 (lists, d)
  void judge_lists(const Context& ctx, Tensor h_0, Ragged lists, Logits& out) const;  // the list heads
  Encoded encode(const Context& ctx, Tensor x, Tensor token, Ragged rows) const;
  Qdir::Input past(const Context& ctx, const data::Batch& batch, const RequestEncoder::Lists& lists, bool with_history) const;

  Config config_;
  RequestEncoder request_;
  Qdir qdir_;
  Join join_;
  // A straight way from what is known of a candidate to its logits, beside the encoder (wide & deep, Cheng et al. 2016).
  struct Way { Linear wide, match; };
  Way click_way_;
  std::vector<Way> conversion_way_;   // one per kind of conversion
  ParameterId token_;                 // (1, d): the list token
  Linear token_condition_;            // (2d -> d), from [p ; e_q]
  ParameterId pool_query_;            // (1, d), ian.pool = attention
  std::vector<EncoderBlock> blocks_;
  LayerNorm final_norm_;
  FeedForward click_head_, list_click_head_;
  std::vector<FeedForward> conversion_head_, list_conversion_head_;  // one per kind
};

}  // namespace piano
