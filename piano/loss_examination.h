// Losses that know of position bias: a logged click is P(position looked at) times P(relevant), and the model shall learn the second. theta_r,
// the chance that position r is looked at, is given (loss.theta); `piano ope --theta-out` estimates it.
//
// likelihood: P(click at r) = theta_r sigmoid(a), the position-based model (Richardson et al., WWW 2007) as a likelihood; clipping is not needed.
// weighted: a click counts 1 / max(theta_r, clip) times, and as much less of a non-click: (t, 1 - t) with t = y / max(theta_r, clip) in place of
//   (y, 1 - y), whose mean is the loss against relevance wherever theta_r >= clip (Joachims, Swaminathan & Schnabel, WSDM 2017, propensity
//   weights; Saito et al., WSDM 2020, with negative ones for non-clicks). clip bounds its variance.
// The conversion head learns from clicked items alone, P(conversion | click): under the position-based model the likelihood of click and conversion
// is the product of the two, and `weighted` gives each click its weight.
#pragma once

#include <vector>

#include "data/batch.h"
#include "engine/ops/ops.h"
#include "piano/config.h"

namespace piano {

struct ExaminationLoss {
  LossExamination mode = LossExamination::none;
  std::vector<double> theta;  // of position 1, 2, ..; beyond the last: the last
  double clip = 0;

  explicit operator bool() const { return mode != LossExamination::none; }
  double at(std::int32_t position) const;      // theta, at most 1 - 1e-6; what was not shown (position 0) has no labels, and 1 - 1e-6
  double weight(std::int32_t position) const;  // of a click: 1 with `likelihood`

  // The sum over the labelled rows, (1, 1). (Of conversions: loss.cpp.)
  Tensor click(const Context& ctx, Tensor logit, const data::Batch& batch) const;

  // One labelled item's terms, for validation.
  double click_term(double logit, double click, std::int32_t position) const;
  double conversion_term(double logit, double click, double conversion, std::int32_t position) const;
};

}  // namespace piano
