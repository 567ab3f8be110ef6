// Listwise re-rankers that set the candidates against the user's past items, with probabilities of click and conversion. Two heads and two losses
// as in pointwise.h.
#pragma once

#include "layers/gru.h"
#include "piano/baselines/baseline.h"

namespace piano {

// MIR (Xi et al. 2022, "Multi-Level Interaction Reranking with User Behavior History", arXiv 2204.09370): the candidates are a set (self-attention
// without positions), the past is a list (a recurrent network); set-to-list attention: each candidate attends to the past, each past event to
// the candidates. Pointwise cross-entropy. No position anywhere: with model.match = false the scores do not depend on the order of the
// candidates (two match features count places in the list).
// Ours: one-way GRU for the two-way LSTM; multi-head attention either way for the paper's affinity matrix with its two softmaxes; age embeddings
// for its learnt decay; no attention between single features; the second head.
class Mir : public Baseline {
 public:
  Mir(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  ListEncoder encoder_;
  Gru gru_;
  MultiHeadAttention to_past_, to_candidates_;
};

// After PEAR (Li et al. 2022, "PEAR: Personalized Re-ranking with Contextualized Transformer", arXiv 2203.12267): a transformer over the initial
// list and the user's clicked items, with attention within each and from the list to the past, and a list-level classification task beside the
// items', from a token of the list. "Like" it and not it: only its abstract was at hand.
// Ours: pre-LN blocks; the list's label is list.label's (any click); the second head; no feature-level interaction.
class PearLike : public Baseline {
 public:
  PearLike(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  ParameterId token_;                       // (1, d)
  std::vector<EncoderBlock> past_blocks_;   // within the past, one before each block of the list
  std::vector<EncoderBlock> blocks_;        // within the list
  std::vector<LayerNorm> norms_;            // x <- x + MHA(LN(x), past)
  std::vector<MultiHeadAttention> to_past_;
  LayerNorm norm_;
  FeedForward list_click_;
};

}  // namespace piano
