// From a head's logit to the probability that is reported: sigmoid, or a map fitted on the validation part that makes "0.2" happen one time in
// five. It never falls, and it is no part of the order: lists are sorted by the logits as they come from the network.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/base/safetensors.h"
#include "piano/evaluation.h"
#include "piano/predictor.h"

namespace piano {

class HeadCalibration {
 public:
  HeadCalibration() = default;  // sigmoid(logit)

  // sigmoid(logit / T), T with the least log loss (Guo et al., "On calibration of modern neural networks", ICML 2017), 0.05 <= T <= 20.
  static HeadCalibration temperature(std::span<const double> logit, std::span<const double> label);
  // The non-decreasing map with the least squared error (Zadrozny & Elkan, KDD 2002), by pooling adjacent violators; linear between its steps.
  // A first or last step at which all labels are alike stays half an observation away from 0 and 1, but not
  // beyond its neighbour.
  static HeadCalibration isotonic(std::span<const double> logit, std::span<const double> label);

  double operator()(double logit) const;
  bool fitted() const { return temperature_ != 1 || !logit_.empty(); }
  std::string text() const;  // "none", "temperature 1.250", "isotonic, 12 knots"

  void save(SafetensorsWriter& writer, const std::string& name) const;                     // must live until the writer's commit()
  static HeadCalibration load(const SafetensorsFile& file, const std::string& name);      // throws ErrorCode::model

 private:
  float temperature_ = 1;
  std::vector<float> logit_, probability_;  // knots, logits ascending and probabilities not descending; none: the temperature alone
};

struct Calibration {
  HeadCalibration click;
  std::vector<HeadCalibration> conversion;  // of each kind of conversion
  bool fitted() const;
  // Replaces pctr and pcvr, where there are any, by the calibrated ones; the product pctr * pcvr follows.
  void apply(const PredictedLogits& logits, Predictions& predictions) const;
};

// Logits and labels of one head: of the click head on all labelled items, of a conversion head on clicked ones whose label of that kind is known.
struct HeadExamples {
  std::vector<double> logit, label;
  bool constant() const;  // fewer than two examples, or one label alone: nothing can be fitted
};
HeadExamples click_examples(const LabelledLists& lists, const PredictedLogits& logits);
HeadExamples conversion_examples(const LabelledLists& lists, const PredictedLogits& logits, std::size_t kind = 0);

}  // namespace piano
