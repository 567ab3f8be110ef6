// piano ope: what another order would have earned, from a log alone (docs/experiments.md).
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"
#include "engine/base/log.h"
#include "piano/off_policy.h"
#include "tools/command_line.h"
#include "tools/output.h"
#include "tools/systems.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

// The shown and labelled items of the lists, with the score that the new order sorts them by.
struct Shown {
  ShownLog log;
  std::vector<double> score;
};

Shown shown_of(const data::Dataset& dataset, const Systems& systems, const std::vector<double>& score) {
  const LabelledLists& lists = systems.lists();
  Shown shown;
  shown.log.users = lists.users;
  shown.log.items = dataset.raw_items();
  for (std::size_t l = 0; l < systems.requests().size(); ++l) {
    const std::int64_t first = dataset.candidate_begin(systems.requests()[l]);
    for (std::int64_t row = lists.offsets[l]; row < lists.offsets[l + 1]; ++row) {
      const std::int64_t candidate = first + row - lists.offsets[l];
      const auto c = static_cast<std::size_t>(candidate);
      if (dataset.labelled()[c] == 0) continue;
      shown.log.position.push_back(dataset.positions()[c]);
      shown.log.rank.push_back(static_cast<std::int32_t>(row - lists.offsets[l]) + 1);
      shown.log.item.push_back(dataset.raw_item(candidate));
      shown.log.click.push_back(dataset.clicks()[c]);
      shown.log.conversion.push_back(dataset.conversions()[c]);
      shown.score.push_back(score[static_cast<std::size_t>(row)]);
    }
    shown.log.offsets.push_back(static_cast<std::int64_t>(shown.log.position.size()));
    shown.log.user.push_back(lists.user[l]);
  }
  if (shown.log.rows() == 0) throw Error(ErrorCode::data, dataset.path() + ": expected items with labels, the part has none");
  return shown;
}

struct NamedEstimate {
  const char* name;
  const char* key;
  Estimate OffPolicyEstimates::* estimate;
};
constexpr NamedEstimate kRows[] = {
    {"logged order", "logged", &OffPolicyEstimates::logged},
    {"IPS", "ips", &OffPolicyEstimates::ips},
    {"doubly robust", "doubly_robust", &OffPolicyEstimates::doubly_robust},
    {"SNIPS: examination of what is relevant", "snips", &OffPolicyEstimates::snips},
    {"the same in the logged order", "snips_logged", &OffPolicyEstimates::snips_logged}};

std::string text_of(const Estimate& e) {
  if (std::isnan(e.value)) return "n/a";
  return number_text(e.value, 4) + (e.replicates > 0 ? " [" + number_text(e.low, 4) + ", " + number_text(e.high, 4) + "]" : "");
}
Json to_json(const OffPolicyEstimates& estimates) {
  Json object;
  for (const NamedEstimate& row : kRows) {
    const Estimate& e = estimates.*row.estimate;
    object[row.key] = {{"value", number_or_null(e.value)}, {"low", number_or_null(e.low)}, {"high", number_or_null(e.high)}};
  }
  return object;
}

}  // namespace

void ope(const Arguments& arguments) {
  const BootstrapOptions bootstrap;
  CommandLine line("ope", "--data FILE --policy SYSTEM [flags]",
                   "estimates from a log what another order would have earned, with position bias taken out (docs/experiments.md)");
  line.value("data", "FILE", "", "packed data set of the log")
      .value("policy", "SYSTEM", "", kSystemHelp)
      .value("split", "PART", "test", "train | valid | test | all; a model must not have learned from it")
      .value("theta", "FILE", "", "chance that position 1, 2, .. is looked at, one number a line; without it, estimated by EM from random swaps")
      .value("theta-out", "FILE", "", "write what was estimated")
      .value("oracle", "FILE", "", "a simulator's true probabilities: adds the truth, and the estimates' errors")
      .value("replicates", "N", std::to_string(bootstrap.replicates), "bootstrap draws of users; fewer than 40: no intervals")
      .value("threads", "N", "", "workers (default: all cores); the result does not depend on it")
      .flag("json", "the result as JSON")
      .example("piano ope --data data.safetensors --policy model.safetensors --theta theta.txt");
  if (!line.parse(arguments)) return;
  line.no_files();
  require_distinct({{"--theta-out", line.text("theta-out")}},
                   {{"--data", line.text("data")}, {"--theta", line.text("theta")}, {"--oracle", line.text("oracle")}, {"--policy", line.text("policy")}});
  BootstrapOptions options;
  options.replicates = static_cast<std::int32_t>(line.integer("replicates", 0, 1000000));
  const std::string policy = line.required("policy");
  const std::size_t part = line.choice("split", kParts);
  const data::Dataset dataset = dataset_of(line);
  const Systems systems(dataset, part, line.text("oracle"), threads_of(line));
  const std::vector<double> score = systems.score(policy);
  const Shown shown = shown_of(dataset, systems, score);
  const std::vector<std::int32_t> places = positions_by_score(shown.log, shown.score);

  const bool given = line.given("theta");
  const OffPolicyReport report = given ? off_policy(shown.log, places, read_examination(line.text("theta")), options)
                                       : off_policy(shown.log, places, ExaminationEstimator(shown.log, dataset.path()), options);
  const std::int32_t furthest = *std::max_element(shown.log.position.begin(), shown.log.position.end());
  if (const std::size_t known = report.examination.theta.size(); given && known < static_cast<std::size_t>(furthest)) {
    log_warning(line.text("theta") + " has " + counted(static_cast<std::int64_t>(known), "number") + " and lists were shown down to position " +
                std::to_string(furthest) + ": the last one stands for all positions beyond");
  }
  if (line.given("theta-out")) write_examination(report.examination, line.text("theta-out"));
  log_info(!report.positions_vary ? "every item was logged at the first ranker's place: doubly robust is the same as IPS"
                                  : std::string(given ? "doubly robust takes" : "doubly robust and EM take") + " it that items left the first ranker's place "
                                    "at random; an order by another ranker in the log makes them wrong");

  Json object{{"data", dataset.path()}, {"split", kParts[part]}, {"policy", policy}, {"requests", systems.requests().size()},
              {"theta", report.examination.theta}, {"theta_from", given ? "file" : "em"}, {"level", options.level}};
  object["clicks"] = to_json(report.click);
  object["conversions"] = to_json(report.conversion);
  std::vector<std::vector<std::string>> rows{{counted(static_cast<std::int64_t>(systems.requests().size()), "request"), "clicks a request", "conversions a request"}};
  for (const NamedEstimate& row : kRows) rows.push_back({row.name, text_of(report.click.*row.estimate), text_of(report.conversion.*row.estimate)});
  if (line.given("oracle")) {
    const SimulatedTruth truth = simulated_truth(line.text("oracle"), systems.lists());
    const ExpectedAnswer answer = expected_answer(truth, systems.lists().offsets, score);
    object["truth"] = {{"clicks", answer.clicks}, {"conversions", answer.conversions}, {"eta", truth.dials.eta}};
    rows.push_back({"truth (synthetic)", number_text(answer.clicks, 4), number_text(answer.conversions, 4)});
    const auto bias = [](double estimate, double value) { return percent_text(1, estimate / value - 1); };
    for (const auto& [name, estimate] : {std::pair("error of IPS", &OffPolicyEstimates::ips), std::pair("error of doubly robust", &OffPolicyEstimates::doubly_robust)}) {
      rows.push_back({name, bias((report.click.*estimate).value, answer.clicks), bias((report.conversion.*estimate).value, answer.conversions)});
    }
    if (truth.dials.eta > 0) log_info("eta = " + number_text(truth.dials.eta, 2) + ": neighbours take each other's clicks, which these estimates know nothing of");
  }
  if (line.given("json")) return print(json_text(object) + "\n");
  print(aligned(rows, "lrr") + "examination (" + (given ? "given" : "EM") + "):");
  for (const double theta : report.examination.theta) print(" " + number_text(theta, 3));
  print("\n");
}

}  // namespace piano::tools
