// PIANO's loss, of whose terms the baselines have some (docs/models.md):
// L = w1 BCE(y, pctr) + w2 BCE(y z, pctcvr) + w3 BCE(Y, P_ctr) + w4 BCE(Z, P_ctr P_cvr) + w5 listwise, all from logits (ESMM's entire space,
// Ma et al. 2018, for items and for lists). Item terms are means over the batch's labelled items, list terms over its lists.
//
// A micro-batch computes its share: sums divided by the counts of the whole batch, which are passed in.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <tuple>

#include "data/batch.h"
#include "piano/loss_examination.h"
#include "piano/network.h"

namespace piano {

// The terms of one kind of conversion; each further kind adds two, its own kConversion and kListConversion.
enum LossTerm : std::size_t { kClick, kConversion, kListClick, kListConversion, kListwise, kLossTerms };
inline constexpr std::array<const char*, kLossTerms> kLossNames{"click", "conversion", "list_click", "list_conversion", "listwise"};

// A number for each term: the first kLossTerms in their order, then the further kinds'.
using LossTerms = std::array<double, kLossTerms + 2 * (kMostKinds - 1)>;
constexpr std::size_t conversion_term(std::size_t kind) { return kind == 0 ? std::size_t{kConversion} : kLossTerms + 2 * (kind - 1); }
constexpr std::size_t list_conversion_term(std::size_t kind) { return kind == 0 ? std::size_t{kListConversion} : kLossTerms + 2 * (kind - 1) + 1; }
// "click"; of kinds that have names "conversion.save", else "conversion".
std::string term_name(std::size_t term, const data::Schema& schema);

// Over the whole batch: what turns sums into means.
struct LossCounts {
  std::int64_t items = 0;           // labelled candidates
  std::int64_t lists = 0;           // lists with at least one labelled candidate
  std::int64_t positive_lists = 0;  // lists with a click (a conversion is also a click)
  std::int64_t clicked = 0;         // labelled candidates with a click
  struct Unknown { std::int64_t items = 0, lists = 0, clicked = 0; };
  std::array<Unknown, kMostKinds> unknown{};  // of these, those that a kind of conversion is not known of
};

struct LossWeights {
  LossTerms term{};                       // 0: the term is not computed
  double lambda = 1;                      // listwise target: click + lambda * conversion
  bool values = false;                    // ... * the candidate's value, at least 0
  ListLabel label = ListLabel::any;
  bool clicked_items = false;             // the conversion term is BCE(z, pcvr) over the clicked items, not click-and-convert over all
  enum class Listwise { softmax, attention_rank, lambda } listwise = Listwise::softmax;  // attention_rank: DLCM's
  bool scores = false;                    // the listwise term looks at the click logit itself, which is a score
  ExaminationLoss examination{};          // position bias (loss_examination.h); list terms know nothing of it
  std::array<ParameterId, std::tuple_size_v<LossTerms>> log_variance{};  // loss.weighting = uncertainty: s of each term that is on, else none
  std::size_t kinds = 1;                  // of conversion
  std::array<double, kMostKinds> kind_weight{1};  // of each in the listwise term
};

// loss.weighting = uncertainty (Kendall, Gal & Cipolla 2018, "Multi-Task Learning Using Uncertainty to Weigh Losses", arXiv 1705.07115): with
// s_k = log sigma_k^2 the loss is L = sum_k exp(-s_k) w_k L_k + s_k / 2, their eq. 10 for cross-entropies (1 / sigma^2 L + log sigma). At the best
// s_k = log(2 w_k L_k): the w_k are where the weights start, not where they end. s_k begins at 0; after each step it is put back into -3 .. 3, so
// that a term that has all but vanished cannot take over, nor one be given up.
inline constexpr double kMostLogVariance = 3;
// Declares loss.log_variance.<term> for each term that is on.
void declare_log_variances(ParameterStore& store, LossWeights& weights);

// Of config.model.name: the terms that it has, weighted by the options that it reads.
LossWeights loss_weights(const Config& config, std::size_t kinds = 1);

// The labels of one list under `label`, from its labelled candidates. A kind that one of these is not known of is not known of the list.
struct ListTargets { float click = 0, conversion = 0; bool labelled = false, known = false; };
ListTargets list_targets(const data::Batch& batch, std::int32_t list, ListLabel label, std::size_t kind = 0);

// Each term's unweighted share (1, 1); none of a term that is not computed.
using TermTensors = std::array<Tensor, std::tuple_size_v<LossTerms>>;

// The weighted sum (1, 1). s_k / 2 is counted once a batch, with its first list. `terms`, when given, receives each term's share: to be read before
// backward, which may give back their memory, or later from a device that keeps it.
Tensor loss(const Context& ctx, const Logits& logits, const data::Batch& batch, const LossWeights& weights, const LossCounts& counts,
            TermTensors* terms = nullptr);

}  // namespace piano
