// Pointwise models: a candidate's logits depend on its own request and on nothing of its neighbours, but for what its features say of the list
// (two match features count places in it). Two heads each, trained by click and by
// click-and-convert over all items (the two terms of PIANO's loss that are ESMM's), so that no model is judged by a label it was never shown.
#pragma once

#include "piano/baselines/baseline.h"

namespace piano {

// The embedding & MLP network that deep click models start from (Zhou et al. 2018, "Deep Interest Network", arXiv 1706.06978, section 4.2, with
// its loss, eq. 2: pointwise cross-entropy). Ours: the past is not read, so there is no pooling of behaviours (eq. 1); the second head; shared
// layers with one head a task are the shared-bottom network of Ma et al. 2018 (MMoE), eq. 1.
class Dnn : public Baseline {
 public:
  Dnn(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  Tower body_;
};

// DIN (Zhou et al. 2018, arXiv 1706.06978), eq. 3: v_U(A) = sum_j a(e_j, v_A) e_j over the past e_1 .. e_H, a a small network whose weights are
// not normalised by a softmax, so that their sum says how strong an interest is. Loss: eq. 2.
// Ours: a sees [e_j ; e_j * v_A ; v_A], the elementwise product in place of the outer one; GELU in place of Dice; past items carry action and
// age; no mini-batch aware regularisation (weight decay and id dropout are every model's).
// Costs candidates x past events: several times PIANO's time with long histories.
class Din : public Baseline {
 public:
  Din(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  Tensor interest(const Context& ctx, Tensor items, Tensor past, Ragged rows, Ragged history) const;  // v_U(A) (rows, d)
  FeedForward activation_;
  Tower body_;
};

// ESMM (Ma et al. 2018, "Entire Space Multi-Task Model", arXiv 1804.07931): two towers on shared embeddings, pctcvr = pctr * pcvr (eq. 1), loss
// on click and on click-and-convert over all impressions (eq. 3). Ours: the first linear map (the join) is shared as well.
class Esmm : public Baseline {
 public:
  Esmm(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  Tower click_tower_, conversion_tower_;
};

}  // namespace piano
