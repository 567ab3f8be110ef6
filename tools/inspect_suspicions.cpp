#include "tools/inspect_suspicions.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/dataset_columns.h"
#include "data/labels.h"
#include "piano/metrics_pointwise.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

constexpr std::int64_t kMostCandidates = std::int64_t{1} << 18;
constexpr std::int64_t kFewestOfAClass = 20;  // positives, and negatives: fewer say nothing
constexpr double kNearOne = 0.98;
constexpr std::size_t kShown = 5;

using Log = data::Dataset::Columns;

struct Sample {
  std::vector<std::int64_t> candidates, places;  // labelled; place in the list, from 0
  std::vector<char> training;
  std::vector<double> click;
  std::string kind = "conversion";              // what features are measured against beside clicks: of any kind, or of one
  std::span<const std::uint8_t> happened;        // of all candidates of the log: 0, 1 or kUnknownLabel
};

Sample sample_of(const data::Dataset& d) {
  const Log& log = d.columns();
  Sample s;
  s.happened = log.conversion;
  const std::int64_t step = (static_cast<std::int64_t>(log.item.size()) + kMostCandidates - 1) / kMostCandidates;
  for (std::int64_t r = 0; r < d.size(); r += std::max<std::int64_t>(1, step)) {
    for (std::int64_t c = d.candidate_begin(r); c < d.candidate_end(r); ++c) {
      const auto at = static_cast<std::size_t>(c);
      if (log.labelled[at] == 0) continue;
      s.candidates.push_back(c);
      s.places.push_back(c - d.candidate_begin(r));
      s.training.push_back(d.split(r) == data::Split::train ? 1 : 0);
      s.click.push_back(log.click[at]);
    }
  }
  return s;
}

// AUC above one half, whatever the feature's direction; one half when a class has too few.
double strength(std::span<const double> feature, std::span<const double> label) {
  const auto positives = std::count(label.begin(), label.end(), 1.0);
  if (positives < kFewestOfAClass || static_cast<std::int64_t>(label.size()) - positives < kFewestOfAClass) return 0.5;
  const double a = *auc(feature, label);
  return std::max(a, 1 - a);
}

struct Feature {
  std::string name, kind;
  double click = 0.5, conversion = 0.5;
};

// value(i): of the sample's i-th candidate; NaN where there is none. Such rows are left out.
template <class Value>
Feature measure(const std::string& name, const Sample& s, Value value) {
  std::vector<double> of_all, clicks, of_clicked, conversions;
  for (std::size_t i = 0; i < s.candidates.size(); ++i) {
    const double x = value(i);
    if (std::isnan(x)) continue;
    of_all.push_back(x), clicks.push_back(s.click[i]);
    const std::uint8_t happened = s.happened[static_cast<std::size_t>(s.candidates[i])];
    if (s.click[i] > 0 && happened != data::kUnknownLabel) of_clicked.push_back(x), conversions.push_back(happened);
  }
  return {name, s.kind, strength(of_all, clicks), strength(of_clicked, conversions)};
}

void measure_column(const std::string& name, const data::DenseColumn& column, const Sample& s, std::vector<Feature>& features) {
  if (column.width == 0) return;
  features.push_back(measure("has " + name, s, [&](std::size_t i) { return column.has(s.candidates[i]) ? 1.0 : 0.0; }));
  for (std::int32_t k = 0; k < column.width; ++k) {
    const std::string number = column.width == 1 ? name : name + "[" + std::to_string(k) + "]";
    features.push_back(measure(number, s, [&](std::size_t i) {
      return column.has(s.candidates[i]) ? static_cast<double>(column[s.candidates[i]][static_cast<std::size_t>(k)]) : std::nan("");
    }));
  }
}

// The mean click rate of the candidate's values in the training part: what a model could know of the field alone.
Feature measure_field(const std::string& name, const data::Bags& bags, std::int64_t values, const Sample& s) {
  std::vector<double> shown(static_cast<std::size_t>(values), 0), clicked = shown;
  for (std::size_t i = 0; i < s.candidates.size(); ++i) {
    if (s.training[i] == 0) continue;
    for (const std::int32_t v : bags[s.candidates[i]]) shown[static_cast<std::size_t>(v)] += 1, clicked[static_cast<std::size_t>(v)] += s.click[i];
  }
  return measure("field " + name, s, [&](std::size_t i) {
    double sum = 0, known = 0;
    for (const std::int32_t v : bags[s.candidates[i]])
      if (const auto at = static_cast<std::size_t>(v); shown[at] > 0) sum += clicked[at] / shown[at], known += 1;
    return s.training[i] != 0 || known == 0 ? std::nan("") : sum / known;
  });
}

std::vector<Feature> measure_all(const data::Dataset& d) {
  const Log& log = d.columns();
  Sample s = sample_of(d);
  std::vector<Feature> features;
  features.push_back(measure("place in the list", s, [&](std::size_t i) { return -static_cast<double>(s.places[i]); }));
  measure_column("score", log.score, s, features);
  measure_column("value", log.value, s, features);
  measure_column("dense", log.dense, s, features);
  measure_column("vector", log.vector, s, features);
  for (std::size_t f = 0; f < log.item_fields.size(); ++f)
    features.push_back(measure_field(log.strings.item_fields.names[f], log.item_fields[f], log.strings.item_fields.values[f].size(), s));
  for (std::size_t k = 0; k < log.values.size(); ++k) {
    s.kind = log.strings.kinds[k], s.happened = log.conversions[k];
    measure_column("value." + s.kind, log.values[k], s, features);
  }
  return features;
}

// Lists that have both: the share in which everything clicked stands before everything else, and what chance makes of it, 1 / C(n, clicks).
void inspect_order(const data::Dataset& d, nlohmann::ordered_json& rates, std::vector<std::string>& warnings) {
  const Log& log = d.columns();
  double lists = 0, first = 0, chance = 0;
  for (std::int64_t r = 0; r < d.size(); ++r) {
    double n = 0, clicks = 0;
    bool broken = false, other = false;  // a click after something else
    for (auto c = static_cast<std::size_t>(d.candidate_begin(r)); c < static_cast<std::size_t>(d.candidate_end(r)); ++c) {
      if (log.labelled[c] == 0) continue;
      n += 1;
      if (log.click[c] != 0) clicks += 1, broken = broken || other;
      else other = true;
    }
    if (clicks == 0 || clicks == n) continue;
    lists += 1;
    first += broken ? 0 : 1;
    chance += std::exp(std::lgamma(clicks + 1) + std::lgamma(n - clicks + 1) - std::lgamma(n + 1));
  }
  if (lists == 0) return;
  rates["lists_that_begin_with_all_clicks"] = first / lists;
  rates["of_these_by_chance"] = chance / lists;
  if (lists >= kFewestOfAClass && first > 0.8 * lists && first > 3 * chance)
    warnings.push_back("suspicious order: " + percent_text(1, first / lists) + " of the lists begin with all that was clicked, by chance " +
                       percent_text(1, chance / lists) + " would; the order knows the labels, shuffle it");
}

}  // namespace

void inspect_suspicions(const data::Dataset& dataset, nlohmann::ordered_json& out, std::vector<std::string>& warnings) {
  inspect_order(dataset, out["rates"], warnings);
  std::vector<Feature> features = measure_all(dataset);
  for (const Feature& f : features) {
    const auto warn = [&](double strength, const std::string& label) {
      if (strength >= kNearOne) warnings.push_back("a feature knows the label: AUC of " + label + " by " + f.name + " alone is " +
                                                   number_text(strength, 4));
    };
    warn(f.click, "click");
    warn(f.conversion, f.kind + " among the clicked");
  }
  std::stable_sort(features.begin(), features.end(), [](const Feature& a, const Feature& b) { return a.click > b.click; });
  nlohmann::ordered_json shown = nlohmann::ordered_json::object();
  for (const Feature& f : features)
    if (shown.size() < kShown && f.click > 0.5) shown[f.name] = f.click;
  if (!shown.empty()) out["click_auc_of_one_feature_alone"] = shown;
}

}  // namespace piano::tools
