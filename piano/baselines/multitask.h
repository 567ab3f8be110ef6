// Pointwise multi-task models with experts and gates. Their second task is conversion among the clicked items, each task on its own sample space
// (Tang et al. 2020, PLE, section 4.3): the logit is that of conversion given click, as everywhere, but trained without ESMM's product.
#pragma once

#include "piano/baselines/baseline.h"

namespace piano {

// config.model.experts small networks that read the same input, their outputs side by side: (rows, d) -> (rows, experts * d).
struct Experts {
  std::vector<FeedForward> experts;

  static Experts declare(ParameterStore& store, const std::string& name, const Config& config);  // <name>.0, <name>.1, ...: d -> d -> d
  Tensor operator()(const Context& ctx, Tensor x, Ragged rows) const;
};

// MMoE (Ma et al. 2018, "Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts"), eq. 6-8:
// y_k = h_k(f_k(x)), f_k(x) = sum_e g_k(x)_e f_e(x), g_k(x) = softmax(W_k x).
class Mmoe : public Baseline {
 public:
  Mmoe(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  Experts experts_;
  Linear click_gate_, conversion_gate_;
};

// PLE (Tang et al. 2020, "Progressive Layered Extraction"), section 4: model.layers levels of experts, each level with experts of either task and
// shared ones; a task's gate mixes its own and the shared experts, the shared gate all of them, into the inputs of the next level (eq. 1-5); the
// last level has no shared gate; then a head a task (eq. 6). Ours: constant weights of the two losses (loss.click, loss.conversion).
class Ple : public Baseline {
 public:
  Ple(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

 private:
  Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const override;
  struct Level {
    Experts click, conversion, shared;
    Linear click_gate, conversion_gate, shared_gate;  // (d -> 2 or 3 experts); no shared gate in the last level
  };
  std::vector<Level> levels_;
};

}  // namespace piano
