// piano abtest: a randomised experiment without users, in the simulator's world (docs/experiments.md).
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"
#include "engine/base/log.h"
#include "piano/experiment.h"
#include "tools/command_line.h"
#include "tools/output.h"
#include "tools/systems.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kLevel = 0.95, kAaAlpha = 0.01;

std::string signed_percent(double x) { return std::isnan(x) ? "n/a" : (x < 0 ? "" : "+") + number_text(100 * x, 2) + " %"; }
std::string interval_text(double low, double high) { return "[" + signed_percent(low) + ", " + signed_percent(high) + "]"; }
std::string p_text(double p) { return std::isnan(p) ? "n/a" : p < 0.0001 ? "<0.0001" : number_text(p, 4); }
std::string up_text(double n) { return n < 9e18 ? count_text(static_cast<std::int64_t>(std::ceil(n))) : "n/a"; }

// Logged labels before the experiment: the same users, and lists that both arms saw alike.
OutcomeLog past_of(const data::Dataset& dataset, const Systems& systems) {
  const LabelledLists& lists = systems.lists();
  std::map<std::string_view, std::int32_t> users;
  std::int64_t begin = INT64_MAX;
  for (std::size_t l = 0; l < systems.requests().size(); ++l) {
    const std::int64_t request = systems.requests()[l];
    begin = std::min(begin, dataset.time(request));  // unknown times are the smallest number: then there is no past
    if (!dataset.user(request).empty()) users.emplace(dataset.user(request), lists.user[l]);
  }
  OutcomeLog past;
  past.users = lists.users;
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    const auto user = users.find(dataset.user(r));
    if (user == users.end() || dataset.time(r) >= begin || dataset.time(r) == std::numeric_limits<std::int64_t>::min()) continue;
    Outcome outcome;
    for (auto c = static_cast<std::size_t>(dataset.candidate_begin(r)); c < static_cast<std::size_t>(dataset.candidate_end(r)); ++c) {
      outcome.items += dataset.labelled()[c], outcome.clicks += dataset.clicks()[c], outcome.conversions += dataset.conversions()[c];
    }
    past.outcome.push_back(outcome);
    past.user.push_back(user->second);
  }
  return past;
}

struct AaCheck {
  std::string metric;
  double distance = 0;
};

std::string to_text(const ArmComparison& c, const std::vector<AaCheck>& checks, double bound, const Plan& plan, const std::string& a,
                    const std::string& b, std::int64_t requests) {
  std::string text = "synthetic users: A = " + a + " (" + counted(c.users_a, "user") + "), B = " + b + " (" + counted(c.users_b, "user") +
                     "), " + counted(requests, "request") + "\n\nA/A: distance of p-values from uniform, " + number_text(bound, 3) + " allowed\n";
  std::vector<std::vector<std::string>> rows;
  for (const AaCheck& check : checks) rows.push_back({check.metric, std::isnan(check.distance) ? "n/a" : number_text(check.distance, 3),
                                                                  std::isnan(check.distance) ? "nothing happened" : check.distance <= bound ? "fine" : "NOT UNIFORM"});
  text += aligned(rows, "lrl", "  ");
  rows = {{"B against A", "A", "B", "lift", "delta method", "p", "user bootstrap"}};
  for (const MetricComparison& m : c.metrics) {
    rows.push_back({m.name, number_text(m.a.value, 4), number_text(m.b.value, 4), signed_percent(m.delta.relative),
                    interval_text(m.delta.low, m.delta.high), p_text(m.delta.p),
                    m.bootstrap.replicates > 0 ? interval_text(m.bootstrap.low, m.bootstrap.high) : "-"});
  }
  text += "\n" + aligned(rows, "lrrrrrr");
  rows = {{"CUPED", "lift", "delta method", "p", "variance left"}};
  for (const MetricComparison& m : c.metrics) {
    if (!m.has_past) continue;
    rows.push_back({m.name, signed_percent(m.cuped.relative), interval_text(m.cuped.low, m.cuped.high), p_text(m.cuped.p), percent_text(1, m.variance_left)});
  }
  text += "\n" + (rows.size() > 1 ? aligned(rows, "lrrrr") : "CUPED: n/a, no earlier requests of these users\n");
  rows = {{"users an arm for " + signed_percent(plan.lift), "needed", "had", "design effect"}};
  for (const MetricComparison& m : c.metrics) {
    rows.push_back({m.name, up_text(m.users_needed), count_text(std::min(m.a.users, m.b.users)), number_text(m.design_effect, 2)});
  }
  return text + "\n" + aligned(rows, "lrrr");
}

Json to_json(const Lift& lift) {
  return {{"relative", number_or_null(lift.relative)}, {"low", number_or_null(lift.low)}, {"high", number_or_null(lift.high)}, {"p", number_or_null(lift.p)}};
}

Json to_json(const ArmComparison& c, const std::vector<AaCheck>& checks, double bound) {
  Json metrics = Json::array(), aa = Json::array();
  for (const AaCheck& check : checks) aa.push_back({{"metric", check.metric}, {"distance", number_or_null(check.distance)}, {"uniform", check.distance <= bound}});
  for (const MetricComparison& m : c.metrics) {
    metrics.push_back({{"metric", m.name}, {"a", number_or_null(m.a.value)}, {"b", number_or_null(m.b.value)}, {"delta", to_json(m.delta)},
                       {"bootstrap", {{"low", number_or_null(m.bootstrap.low)}, {"high", number_or_null(m.bootstrap.high)}}},
                       {"cuped", m.has_past ? to_json(m.cuped) : Json(nullptr)}, {"variance_left", m.variance_left},
                       {"design_effect", number_or_null(m.design_effect)}, {"users_needed", number_or_null(std::ceil(m.users_needed))}});
  }
  return {{"users_a", c.users_a}, {"users_b", c.users_b}, {"aa_bound", bound}, {"aa", aa}, {"metrics", metrics}};
}

void warn_of_peeking(const ArmComparison& c, const Plan& plan) {
  std::string names;
  for (const MetricComparison& m : c.metrics) {
    if (static_cast<double>(std::min(m.a.users, m.b.users)) < m.users_needed) names += (names.empty() ? "" : ", ") + m.name;
  }
  if (names.empty()) return;
  log_warning("too few users to find " + signed_percent(plan.lift) + " in " + names + ": do not look before the planned size and stop at what is " +
              "significant. Five looks at 5 % find a difference that is not there in 14 % of all tests");
}

Plan plan_of(const CommandLine& line) {
  Plan plan{line.number("lift"), line.number("power"), 0.05};
  if (plan.lift == 0 || !(std::fabs(plan.lift) < 100)) throw Error(ErrorCode::usage, "--lift: expected a relative change such as 0.01, got '" + line.text("lift") + "'");
  if (!(plan.power > 0.05 && plan.power < 1)) throw Error(ErrorCode::usage, "--power: expected a chance such as 0.8, got '" + line.text("power") + "'");
  return plan;
}

void print_plan(const CommandLine& line, const Plan& plan) {
  for (const char* flag : {"data", "oracle", "control", "treatment", "aa", "split", "seed", "splits", "replicates", "threads"}) {
    if (line.given(flag)) throw Error(ErrorCode::usage, std::string("--") + flag + " means nothing with --rate, which computes a sample size alone");
  }
  const double rate = line.number("rate"), effect = line.number("design-effect");
  if (!(rate > 0 && rate < 1)) throw Error(ErrorCode::usage, "--rate: expected a rate between 0 and 1, got '" + line.text("rate") + "'");
  if (!(effect > 0)) throw Error(ErrorCode::usage, "--design-effect: expected a number above 0, got '" + line.text("design-effect") + "'");
  const double lifted = rate * (1 + plan.lift);
  if (!(lifted >= 0 && lifted <= 1)) {
    throw Error(ErrorCode::usage, "--lift: " + line.text("lift") + " makes a rate of " + number_text(lifted, 4) + " out of --rate " + line.text("rate"));
  }
  const double units = sample_size(rate, plan.lift, plan.power, plan.alpha) * effect;
  if (!(units < 9e18)) throw Error(ErrorCode::usage, "--rate, --lift: no number of units that can be counted would find that");
  if (line.given("json")) {
    return print(json_text(Json{{"rate", rate}, {"lift", plan.lift}, {"power", plan.power}, {"alpha", plan.alpha}, {"design_effect", effect},
                                {"units_per_arm", std::ceil(units)}}) + "\n");
  }
  print(up_text(units) + " units an arm to find " + signed_percent(plan.lift) + " on " + number_text(rate, 4) + " with " +
        percent_text(0, plan.power) + " power at " + percent_text(0, plan.alpha) + ", design effect " + number_text(effect, 2) + "\n");
}

}  // namespace

void abtest(const Arguments& arguments) {
  const Plan defaults;
  const BootstrapOptions bootstrap;
  CommandLine line("abtest", "--data FILE --oracle FILE --control SYSTEM --treatment SYSTEM [flags] | --rate X [--lift Y]",
                   "a randomised experiment in the simulator: half of the users see one system's order, half the other's (docs/experiments.md)");
  line.value("data", "FILE", "", "packed data set of a simulated log")
      .value("oracle", "FILE", "", "its true probabilities, from piano simulate: they answer to the order shown")
      .value("control", "SYSTEM", "initial", std::string("what arm A sees: ") + kSystemHelp)
      .value("treatment", "SYSTEM", "", "what arm B sees, likewise")
      .flag("aa", "arm B sees what A sees: nothing may be significant but by chance")
      .value("split", "PART", "test", "train | valid | test | all; what is earlier is the past for CUPED")
      .value("seed", "N", "1", "of the users' arms and answers")
      .value("splits", "N", "500", "random splits of the A/A check that comes first")
      .value("replicates", "N", std::to_string(bootstrap.replicates), "bootstrap draws of users; fewer than 40: no interval from them")
      .value("lift", "X", number_text(defaults.lift, 2), "the smallest relative change worth finding: what the sample size is planned for")
      .value("power", "X", number_text(defaults.power, 1), "chance to find it")
      .value("rate", "X", "", "no experiment: the sample size for independent units of this rate")
      .value("design-effect", "X", "1", "with --rate: how many times the variance of independent units")
      .value("threads", "N", "", "workers (default: all cores); the result does not depend on it")
      .flag("json", "the result as JSON")
      .example("piano abtest --data data.safetensors --oracle oracle.safetensors --control initial --treatment model.safetensors");
  if (!line.parse(arguments)) return;
  line.no_files();
  const Plan plan = plan_of(line);
  if (line.given("rate")) return print_plan(line, plan);

  const auto seed = static_cast<std::uint64_t>(line.integer("seed", 0, INT64_MAX));
  const auto splits = static_cast<std::int32_t>(line.integer("splits", 1, 1000000));
  BootstrapOptions options{static_cast<std::int32_t>(line.integer("replicates", 0, 1000000)), kLevel, seed};
  const std::size_t part = line.choice("split", kParts);
  const std::string oracle = line.required("oracle");
  const std::string a = line.text("control"), b = line.given("aa") ? a : line.required("treatment");
  const data::Dataset dataset = dataset_of(line);
  const Systems systems(dataset, part, oracle, threads_of(line));
  const LabelledLists& lists = systems.lists();
  if (lists.users < 4) throw Error(ErrorCode::data, dataset.path() + ": expected at least 4 users in the part '" + kParts[part] + "', got " + std::to_string(lists.users));
  const SimulatedTruth truth = simulated_truth(oracle, lists);

  OutcomeLog all_a{answers(truth, lists.offsets, systems.score(a), seed), lists.user, lists.users};
  std::vector<AaCheck> checks;
  for (const ExperimentMetric& metric : experiment_metrics()) {
    checks.push_back({metric.name, distance_from_uniform(aa_p_values(all_a, metric, splits, seed + 1))});
  }
  const double bound = uniform_bound(splits, kAaAlpha);

  const std::vector<Outcome> all_b = b == a ? all_a.outcome : answers(truth, lists.offsets, systems.score(b), seed);
  const std::vector<std::uint8_t> arm = randomise(lists.users, seed);
  OutcomeLog log = all_a;
  for (std::size_t l = 0; l < log.outcome.size(); ++l) {
    if (arm[static_cast<std::size_t>(log.user[l])] == 1) log.outcome[l] = all_b[l];
  }
  const ArmComparison comparison = compare_arms(log, arm, past_of(dataset, systems), plan, options);
  for (const AaCheck& check : checks) {
    if (check.distance > bound) log_warning("A/A: the p-values of " + check.metric + " are not uniform: do not trust its row");
  }
  warn_of_peeking(comparison, plan);
  if (!line.given("json")) return print(to_text(comparison, checks, bound, plan, a, b, static_cast<std::int64_t>(log.outcome.size())));
  Json object{{"synthetic", true}, {"data", dataset.path()}, {"split", kParts[part]}, {"control", a}, {"treatment", b}, {"requests", log.outcome.size()}, {"lift", plan.lift}};
  object.update(to_json(comparison, checks, bound));
  print(json_text(object) + "\n");
}

}  // namespace piano::tools
