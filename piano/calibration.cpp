#include "piano/calibration.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <numeric>

namespace piano {
namespace {

constexpr double kColdest = 0.05, kHottest = 20;

}  // namespace

HeadCalibration HeadCalibration::temperature(std::span<const double> logit, std::span<const double> label) {
  // The log loss is convex in s = 1 / T; its derivative, sum x (sigmoid(s x) - y), rises.
  const auto derivative = [&](double s) {
    double total = 0;
    for (std::size_t i = 0; i < logit.size(); ++i) total += logit[i] * (sigmoid(s * logit[i]) - label[i]);
    return total;
  };
  double low = 1 / kHottest, high = 1 / kColdest;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (derivative(middle) < 0 ? low : high) = middle;
  }
  HeadCalibration result;
  result.temperature_ = static_cast<float>(2 / (low + high));
  return result;
}

HeadCalibration HeadCalibration::isotonic(std::span<const double> logit, std::span<const double> label) {
  std::vector<std::size_t> order(logit.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logit[a] < logit[b]; });
  struct Step {
    double low, high;  // logits
    double labels, items;
    double mean() const { return labels / items; }
  };
  std::vector<Step> steps;
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    Step step{logit[order[begin]], logit[order[begin]], 0, 0};
    for (end = begin; end < order.size() && logit[order[end]] == step.low; ++end) step.labels += label[order[end]], step.items += 1;
    steps.push_back(step);
    while (steps.size() > 1 && steps[steps.size() - 2].mean() >= steps.back().mean()) {
      const Step last = steps.back();
      steps.pop_back();
      steps.back().high = last.high, steps.back().labels += last.labels, steps.back().items += last.items;
    }
  }
  HeadCalibration result;
  for (const Step& step : steps) {
    // An end at which all labels are alike stays half an observation away from 0 and 1, but not beyond its neighbour.
    const double half = 0.5 / (step.items + 1);
    const double least = &step == &steps.front() && steps.size() > 1 ? std::min(half, steps[1].mean()) : half;
    const auto p = static_cast<float>(std::clamp(step.mean(), least, 1 - half));
    for (const double x : {step.low, step.high}) {
      if (!result.logit_.empty() && static_cast<float>(x) <= result.logit_.back()) continue;
      result.logit_.push_back(static_cast<float>(x));
      result.probability_.push_back(std::max(p, result.probability_.empty() ? p : result.probability_.back()));
    }
  }
  return result;
}

double HeadCalibration::operator()(double logit) const {
  if (logit_.empty()) return sigmoid(logit / static_cast<double>(temperature_));
  const auto above = static_cast<std::size_t>(std::upper_bound(logit_.begin(), logit_.end(), logit) - logit_.begin());
  if (above == 0) return static_cast<double>(probability_.front());
  if (above == logit_.size()) return static_cast<double>(probability_.back());
  const double x0 = static_cast<double>(logit_[above - 1]), x1 = static_cast<double>(logit_[above]);
  const double y0 = static_cast<double>(probability_[above - 1]), y1 = static_cast<double>(probability_[above]);
  return y0 + (y1 - y0) * ((logit - x0) / (x1 - x0));
}

std::string HeadCalibration::text() const {
  char text[64] = "none";
  if (!logit_.empty()) std::snprintf(text, sizeof text, "isotonic, %zu knots", logit_.size());
  else if (temperature_ != 1) std::snprintf(text, sizeof text, "temperature %.3f", static_cast<double>(temperature_));
  return text;
}

void HeadCalibration::save(SafetensorsWriter& writer, const std::string& name) const {
  writer.add(name + ".temperature", std::span<const float>(&temperature_, 1));
  writer.add(name + ".logit", std::span<const float>(logit_));
  writer.add(name + ".probability", std::span<const float>(probability_));
}

HeadCalibration HeadCalibration::load(const SafetensorsFile& file, const std::string& name) {
  const auto temperature = file.values<float>(name + ".temperature"), logit = file.values<float>(name + ".logit");
  const auto probability = file.values<float>(name + ".probability");
  bool fine = temperature.size() == 1 && temperature[0] > 0 && std::isfinite(temperature[0]) && logit.size() == probability.size();
  for (std::size_t i = 0; fine && i < logit.size(); ++i) {
    fine = std::isfinite(logit[i]) && probability[i] >= 0 && probability[i] <= 1 &&
           (i == 0 || (logit[i - 1] < logit[i] && probability[i - 1] <= probability[i]));
  }
  if (!fine) throw Error(ErrorCode::model, file.path() + ": " + name + ": expected a temperature above 0 and knots that rise; the file is damaged");
  HeadCalibration result;
  result.temperature_ = temperature[0];
  result.logit_.assign(logit.begin(), logit.end());
  result.probability_.assign(probability.begin(), probability.end());
  return result;
}

bool Calibration::fitted() const {
  return click.fitted() || std::any_of(conversion.begin(), conversion.end(), [](const HeadCalibration& head) { return head.fitted(); });
}

void Calibration::apply(const PredictedLogits& logits, Predictions& predictions) const {
  const auto replace = [](std::vector<double>& probability, const std::vector<float>& logit, const HeadCalibration& head, std::size_t k, std::size_t columns) {
    for (std::size_t i = k; head.fitted() && i < probability.size(); i += columns) probability[i] = head(static_cast<double>(logit[i]));
  };
  replace(predictions.pctr, logits.click, click, 0, 1);
  for (std::size_t k = 0; k < conversion.size(); ++k) replace(predictions.pcvr, logits.conversion, conversion[k], k, conversion.size());
}

bool HeadExamples::constant() const {
  return std::adjacent_find(label.begin(), label.end(), std::not_equal_to<>()) == label.end();
}

HeadExamples click_examples(const LabelledLists& lists, const PredictedLogits& logits) {
  HeadExamples result;
  for (std::size_t row = 0; row < logits.click.size(); ++row) {
    if (lists.labelled[row] == 0) continue;
    result.logit.push_back(static_cast<double>(logits.click[row]));
    result.label.push_back(lists.click[row]);
  }
  return result;
}

HeadExamples conversion_examples(const LabelledLists& lists, const PredictedLogits& logits, std::size_t kind) {
  HeadExamples result;
  for (std::size_t row = 0; row < logits.click.size(); ++row) {
    const float logit = logits.conversion[row * logits.kinds + kind];
    if (!lists.known(row, kind) || lists.click[row] == 0 || std::isnan(logit)) continue;  // a model may lack a head
    result.logit.push_back(static_cast<double>(logit));
    result.label.push_back(lists.converted(row, kind));
  }
  return result;
}

}  // namespace piano
