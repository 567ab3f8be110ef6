// Listwise re-rankers with one score a candidate, trained by a loss over the list's scores. Their target is click + loss.lambda * conversion, so
// that both labels reach them as they reach every model. The score is no probability: its order within a list is all it says.
#pragma once

#include "layers/gru.h"
#include "piano/baselines/baseline.h"

namespace piano {

// DLCM, the Deep Listwise Context Model (Ai et al. 2018, arXiv 1804.05936, section 4): a GRU reads the list from its lowest rank to its highest,
// o_i the state after candidate i, s the last one, that of rank 1; score_i = v . (o_i * tanh(W s + b)). Loss: attention rank (section 4.3), with
// psi(y) = exp(y) for y > 0, else 0.
// Ours: the local ranking function's tensor W (d x k x d) has k = 1, with a weight v for each unit in place of one for each of the k; PyTorch's
// form of the GRU; the numbers' straight way to the score, as in every model.
class Dlcm : public Baseline {
 public:
  Dlcm(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  Gru gru_;
  Linear context_, score_, wide_;
};

// PRM (Pei et al. 2019, arXiv 1904.06813, section 4): a transformer over [x_i ; pv_i] + position, then a score a candidate and a softmax over the
// list; loss: -sum_i y_i log softmax_i, here with targets that sum to 1.
// Ours: the personal vector pv_i = gelu(W [e_i ; e_u ; mean of the past items] + b) is learnt with the rest, not taken from another model
// trained before; pre-LN blocks; the score from PIANO's head; encoder.attention = induced for long lists.
class Prm : public Baseline {
 public:
  Prm(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  Linear personal_;
  ListEncoder encoder_;
  ItemHead score_;
};

// SetRank (Pang et al. 2020, arXiv 1912.05891, section 3): self-attention blocks over the candidates as a set, without positions (MSAB), or
// through induced points (IMSAB: encoder.attention = induced), then a row-wise network; the attention rank loss of DLCM. Whatever order the
// candidates come in, each gets the same score (with model.match = false: two match features count places in the list).
// Ours: pre-LN blocks. The paper's ordinal embeddings of initial ranks are left out: they are what PRM has.
class SetRank : public Baseline {
 public:
  SetRank(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  ListEncoder encoder_;
  ItemHead score_;
};

}  // namespace piano
