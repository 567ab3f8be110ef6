// piano evaluate: a model beside heuristics on the same lists.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "engine/base/files.h"
#include "engine/base/json_text.h"
#include "engine/base/log.h"
#include "piano/collaborative.h"
#include "piano/evaluation_probabilities.h"
#include "piano/evaluation_set.h"
#include "piano/model_predictions.h"
#include "piano/models.h"
#include "piano/trec.h"
#include "tools/command_line.h"
#include "tools/device_flag.h"
#include "tools/oracle.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

// Headline rows of the table of all lists.
std::vector<Row> headlines(const Report& report, const LabelledLists& lists) {
  std::vector<std::string> names{"gap closed", "true conversions a list", "gap closed, whole orders"};
  for (const ProbabilityTask& task : probability_tasks(lists, ListLabel::any)) names.push_back(task.name + " AUC");
  for (const RankingMetric& m : ranking_metrics(lists.kinds)) {
    if (m.headline) names.push_back(m.name);
  }
  std::vector<Row> rows;
  for (const Row& row : report.tables[0].rows) {
    const bool known = std::any_of(row.cells.begin(), row.cells.end(), [](const Cell& c) { return c.reason.empty(); });
    if (known && std::find(names.begin(), names.end(), row.name) != names.end()) rows.push_back(row);
  }
  return rows;
}

// One line a metric; the interval for the model alone.
std::string brief_text(const Table& table, double level) {
  std::vector<std::vector<std::string>> rows{{count_text(table.lists) + " lists"}};
  std::vector<std::string> reasons;  // each once
  rows[0].insert(rows[0].end(), table.columns.begin(), table.columns.end());
  rows[0].push_back(number_text(100 * level, 0) + " % interval");
  for (const Row& row : table.rows) {
    rows.push_back({row.name});
    for (const Cell& cell : row.cells) {
      rows.back().push_back(cell.reason.empty() ? number_text(cell.estimate.value, 4) : "-");
      if (!cell.reason.empty() && std::find(reasons.begin(), reasons.end(), cell.reason) == reasons.end()) reasons.push_back(cell.reason);
    }
    const Estimate& e = row.cells.back().estimate;
    rows.back().push_back(e.replicates > 0 ? "[" + number_text(e.low, 4) + ", " + number_text(e.high, 4) + "]" : "");
  }
  std::string note;
  for (const std::string& reason : reasons) note += (note.empty() ? "-: " : ", ") + reason;
  return aligned(rows, "l" + std::string(table.columns.size() + 1, 'r')) + (note.empty() ? "" : note + "\n");
}

// One line a list and system: request, user, system, then one column per headline metric, empty where it is undefined.
// Separated by tabs, which ids written as in run files cannot hold.
void write_per_list(const std::string& path, const data::Dataset& dataset, const std::vector<std::int64_t>& requests, const LabelledLists& lists,
                    const std::vector<Predictions>& systems, const EvaluationOptions& options) {
  std::vector<RankingMetric> metrics;
  std::string header = "request\tuser\tsystem";
  for (const RankingMetric& metric : ranking_metrics(lists.kinds)) {
    if (!metric.headline || (metric.gain == Gain::true_conversion && lists.true_conversion.empty())) continue;
    metrics.push_back(metric);
    header += "\t" + metric.name;
  }
  AtomicFile file(path);
  file.write(header + "\n");
  for (const Predictions& system : systems) {
    const auto values = ranking_values(lists, system.score, metrics, options);  // [metric][list]
    for (std::size_t l = 0; l < requests.size(); ++l) {
      std::string row = trec_field(dataset.id(requests[l])) + "\t" + trec_field(dataset.user(requests[l])) + "\t" + system.name;
      for (const std::vector<double>& metric : values) {
        char number[32] = "\t";
        if (!std::isnan(metric[l])) std::snprintf(number, sizeof number, "\t%.9g", metric[l]);
        row += number;
      }
      file.write(row + "\n");
    }
  }
  file.commit();
}

}  // namespace

void evaluate(const Arguments& arguments) {
  const BootstrapOptions bootstrap;
  CommandLine line("evaluate", "--data FILE --model FILE [flags]",
                   "measures a model beside heuristics (docs/metrics.md)");
  line.value("data", "FILE", "", "packed data set; it need not be the one the model was trained on")
      .value("model", "FILE", "", "model, from piano train")
      .value("split", "PART", "test", "train | valid | test | all")
      .value("oracle", "FILE", "", "a simulator's true probabilities: adds the gap closed, the oracle that sorts by them, the best order found, and what whole orders are worth")
      .value("run", "FILE", "", "write the model's order as a TREC run")
      .value("qrels", "FILE", "", "write the labels as TREC qrels: the target where there are targets, else click + conversion")
      .value("per-list", "FILE", "", "write each list's headline metrics for each system, tab-separated: for statistics over several runs")
      .value("ties", "HOW", "hash", "exact ties: hash (the one order shown) | average (over all orders)")
      .value("replicates", "N", std::to_string(bootstrap.replicates), "bootstrap draws of users; fewer than 40: no intervals")
      .value("threads", "N", "", "workers (default: all cores); the result does not depend on it")
      .flag("permute-past-queries", "a control: shuffle the queries within each history first; what it costs is what they are worth")
      .flag("brief", "headline metrics on all lists alone")
      .flag("json", "the report as JSON")
      .example("piano evaluate --data data.safetensors --model model.safetensors --split test --json --run test.run");
  with_device(line);
  if (!line.parse(arguments)) return;
  line.no_files();

  EvaluationOptions options;
  options.ties = line.choice("ties", {"hash", "average"}) == 1 ? TieBreak::average : TieBreak::hash;
  options.bootstrap.replicates = static_cast<std::int32_t>(line.integer("replicates", 0, 1000000));
  const std::size_t part = line.choice("split", kParts);
  require_distinct({{"--run", line.text("run")}, {"--qrels", line.text("qrels")}, {"--per-list", line.text("per-list")}},
                   {{"--data", line.text("data")}, {"--model", line.text("model")}, {"--oracle", line.text("oracle")}});
  const Device& device = device_of(line);
  const auto model = Model::load(line.required("model"));
  const Model::Impl& m = model->impl();
  const data::Dataset dataset = dataset_of(line);
  const std::vector<std::int64_t> requests = requests_of(dataset, part);
  options.list_label = m.config.list.label;
  if (options.list_label == ListLabel::count) log_info("P_ctr and P_cvr: n/a, the model predicts counts (list.label = count), no probabilities");

  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(dataset);
  EvaluationSet set = evaluation_set(dataset, requests, m.features, builder);
  if (line.given("oracle")) {
    set.lists.true_conversion = true_conversion(line.text("oracle"), set.lists);
  }
  const bool orders = line.given("oracle") && knows_orders(line.text("oracle"));
  if (orders) {
    set.lists.truth = simulated_truth(line.text("oracle"), set.lists);
    set.lists.best_order = best_order(set.lists.truth, set.lists.offsets);
  } else if (line.given("oracle")) {
    log_warning(line.text("oracle") + ": an oracle of version 1, which does not say which items are alike; what whole orders are worth is left out");
  }
  ThreadPool pool(threads_of(line));
  std::vector<Predictions> systems = std::move(set.heuristics);
  for (Predictions& p : collaborative_heuristics(dataset, requests, set.lists)) systems.push_back(std::move(p));
  if (line.given("oracle")) systems.push_back({"oracle", set.lists.true_conversion, {}, {}, {}, {}});
  if (orders) systems.push_back({"best order", set.lists.best_order, {}, {}, {}, {}});
  const bool permuted = line.given("permute-past-queries"), searches = m.config.rank.by == RankBy::list_search;
  const std::string title = traits(m.config).title;
  systems.push_back(predict(*model, dataset, requests, pool, permuted, RankBy::score, device));
  systems.back().name = searches ? title + " by score" : title;
  if (searches) {
    systems.push_back(predict(*model, dataset, requests, pool, permuted, device));
    systems.back().name = title;
  }
  if (judges_orders(m.config)) judge_orders(*model, dataset, requests, pool, systems, device);

  const bool targets = std::any_of(set.lists.target.begin(), set.lists.target.end(), [](std::int32_t t) { return t >= 0; });
  const TrecGrades grades = targets ? TrecGrades::target : TrecGrades::click_plus_conversion;
  if (line.given("run")) write_trec_run(line.text("run"), set.lists, systems.back(), grades, options);
  if (line.given("qrels")) write_trec_qrels(line.text("qrels"), set.lists, grades);

  if (line.given("per-list")) write_per_list(line.text("per-list"), dataset, requests, set.lists, systems, options);

  Report report = piano::evaluate(set.lists, systems, options);
  if (line.given("brief")) {
    report.tables[0].rows = headlines(report, set.lists);
    report.tables.resize(1);
  }
  if (!line.given("json")) return print(line.given("brief") ? brief_text(report.tables[0], report.level) : to_text(report));
  nlohmann::ordered_json object{{"model", model->name()}, {"data", dataset.path()}, {"split", kParts[part]}, {"requests", requests.size()}};
  object.update(parse_ordered_json(to_json(report)));
  print(json_text(object) + "\n");
}

}  // namespace piano::tools
