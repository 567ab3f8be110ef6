// piano calibrate: the probabilities of a model, held against what happened, and corrected (docs/experiments.md).
#include <algorithm>
#include <cmath>
#include <optional>
#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"
#include "engine/base/log.h"
#include "piano/evaluation_probabilities.h"
#include "piano/evaluation_set.h"
#include "piano/metrics_pointwise.h"
#include "piano/model_file.h"
#include "piano/models.h"
#include "piano/predictor.h"
#include "tools/command_line.h"
#include "tools/output.h"
#include "tools/systems.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

// The labelled examples of a part.
struct Part {
  HeadExamples click;
  std::vector<HeadExamples> conversion;  // per kind
};

Part examples_of(const Model::Impl& m, const data::Dataset& dataset, std::size_t part, ThreadPool& pool) {
  const std::vector<std::int64_t> requests = requests_of(dataset, part);
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(dataset);
  const EvaluationSet set = evaluation_set(dataset, requests, m.features, builder);
  const PredictedLogits logits = Predictor(m.config, *m.network, m.parameters, m.features, builder, pool).predict(dataset, requests);
  Part examples{click_examples(set.lists, logits), {}};
  for (std::size_t k = 0; k < logits.kinds; ++k) examples.conversion.push_back(conversion_examples(set.lists, logits, k));
  return examples;
}

HeadCalibration fit(const HeadExamples& examples, bool isotonic, const std::string& head) {
  if (examples.constant()) {
    log_warning("the " + head + " head stays as it is: the validation part has no examples for it, or one label everywhere");
    return {};
  }
  return isotonic ? HeadCalibration::isotonic(examples.logit, examples.label) : HeadCalibration::temperature(examples.logit, examples.label);
}

// One head's probabilities against the labels: summary and table.
struct Reliability {
  double log_loss = 0, ece = 0, pcoc = 0;
  std::vector<ReliabilityBin> bins;
};

Reliability reliability_of(const HeadExamples& examples, const HeadCalibration& head) {
  std::vector<double> p;
  for (const double logit : examples.logit) p.push_back(head(logit));
  const auto value = [](std::optional<double> x) { return x.value_or(std::nan("")); };
  return {value(log_loss(p, examples.label)), value(expected_calibration_error(p, examples.label)),
          value(predicted_over_observed(p, examples.label)), reliability(p, examples.label)};
}

std::string number_or_none(double x) { return std::isnan(x) ? "n/a" : number_text(x, 4); }

std::string to_text(const std::string& title, std::size_t examples, const Reliability& before, const Reliability& after, const HeadCalibration& head) {
  std::vector<std::vector<std::string>> rows{{title + ", " + count_text(static_cast<std::int64_t>(examples)) + " examples", "as before", head.text()}};
  for (const auto& [name, number] : {std::pair("log loss", &Reliability::log_loss), std::pair("ECE", &Reliability::ece), std::pair("predicted / observed", &Reliability::pcoc)})
    rows.push_back({name, number_or_none(before.*number), number_or_none(after.*number)});
  std::vector<std::vector<std::string>> table{{"before: predicted", "observed", "items", "after: predicted", "observed", "items"}};
  for (std::size_t b = 0; b < std::max(before.bins.size(), after.bins.size()); ++b) {
    std::vector<std::string> line;
    for (const Reliability* side : {&before, &after}) {
      const bool has = b < side->bins.size();
      line.push_back(has ? number_text(side->bins[b].predicted, 4) : "");
      line.push_back(has ? number_text(side->bins[b].observed, 4) : "");
      line.push_back(has ? count_text(side->bins[b].items) : "");
    }
    table.push_back(line);
  }
  return aligned(rows, "lrr") + aligned(table, "rrrrrr", "  ");
}

Json to_json(const Reliability& r) {
  Json bins = Json::array();
  for (const ReliabilityBin& bin : r.bins) bins.push_back({{"items", bin.items}, {"predicted", bin.predicted}, {"observed", bin.observed}});
  return {{"log_loss", number_or_null(r.log_loss)}, {"ece", number_or_null(r.ece)}, {"predicted_over_observed", number_or_null(r.pcoc)}, {"bins", bins}};
}

}  // namespace

void calibrate(const Arguments& arguments) {
  CommandLine line("calibrate", "--data FILE --model FILE [--out FILE] [flags]",
                   "reliability of a model's click and conversion probabilities; fitted on the validation part, shown on another (docs/experiments.md)");
  line.value("data", "FILE", "", "packed data set, with a validation part")
      .value("model", "FILE", "", "model, from piano train")
      .value("out", "FILE", "", "write the calibrated model: the same order, corrected probabilities")
      .value("method", "HOW", "isotonic", "isotonic: any rising map | temperature: one number")
      .value("split", "PART", "test", "what the table is of: train | valid | test | all")
      .value("threads", "N", "", "workers (default: all cores); the result does not depend on it")
      .flag("json", "the tables as JSON")
      .example("piano calibrate --data data.safetensors --model model.safetensors --out calibrated.safetensors");
  if (!line.parse(arguments)) return;
  line.no_files();
  const std::size_t part = line.choice("split", kParts);
  const bool isotonic = line.choice("method", {"isotonic", "temperature"}) == 0;
  require_distinct({{"--out", line.text("out")}}, {{"--data", line.text("data")}, {"--model", line.text("model")}});
  const auto model = Model::load(line.required("model"));
  const Model::Impl& m = model->impl();
  if (!traits(m.config).probabilities) {
    throw Error(ErrorCode::usage, line.text("model") + ": model.name = " + traits(m.config).key +
                                      " gives scores; expected a model that gives probabilities (docs/models.md)");
  }
  const data::Dataset dataset = dataset_of(line);
  if (dataset.requests(data::Split::valid).empty()) {
    throw Error(ErrorCode::data, dataset.path() + ": no validation part, on which calibration is fitted; prepare the log with --split time or user");
  }
  ThreadPool pool(threads_of(line));

  const Part valid = examples_of(m, dataset, static_cast<std::size_t>(data::Split::valid), pool);
  const std::vector<std::string>& kinds = model->conversions();
  Calibration fitted{fit(valid.click, isotonic, "click"), {}};
  for (std::size_t k = 0; k < valid.conversion.size(); ++k) fitted.conversion.push_back(fit(valid.conversion[k], isotonic, of_kind("conversion", kinds, k)));
  const Part shown = kParts[part] == "valid" ? valid : examples_of(m, dataset, part, pool);
  if (line.given("out")) {
    save_model(line.text("out"), m.config, m.features, m.parameters, fitted);
    log_info("calibrate: " + line.text("out") + " has the order of " + line.text("model") + (fitted.fitted() ? " and corrected probabilities" : ", nothing to correct"));
  }
  const auto text = [](const std::string& title, const HeadExamples& examples, const HeadCalibration& before, const HeadCalibration& after) {
    return to_text(title, examples.label.size(), reliability_of(examples, before), reliability_of(examples, after), after);
  };
  const auto json = [](const HeadExamples& examples, const HeadCalibration& before, const HeadCalibration& after) {
    return Json{{"calibration", after.text()}, {"examples", examples.label.size()}, {"before", to_json(reliability_of(examples, before))},
                {"after", to_json(reliability_of(examples, after))}};
  };
  std::string tables = text("pctr", shown.click, m.calibration.click, fitted.click);
  Json object{{"model", model->name()}, {"data", dataset.path()}, {"split", kParts[part]}, {"pctr", json(shown.click, m.calibration.click, fitted.click)}};
  for (std::size_t k = 0; k < shown.conversion.size(); ++k) {
    tables += "\n" + text(of_kind("pcvr", kinds, k) + ", of clicked items", shown.conversion[k], m.calibration.conversion[k], fitted.conversion[k]);
    object[of_kind("pcvr", kinds, k)] = json(shown.conversion[k], m.calibration.conversion[k], fitted.conversion[k]);
  }
  print(line.given("json") ? json_text(object) + "\n" : tables);
}

}  // namespace piano::tools
