// piano compare: models x seeds x folds, trained in turn, measured on the same lists beside heuristics and other programs' scores; one table.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "engine/base/files.h"
#include "engine/base/log.h"
#include "piano/evaluation_pool.h"
#include "piano/model_predictions.h"
#include "piano/models.h"
#include "piano/score_file.h"
#include "tools/command_line.h"
#include "tools/compare_models.h"
#include "tools/compare_report.h"
#include "tools/oracle.h"
#include "tools/output.h"
#include "tools/signals.h"
#include "tools/train_progress.h"

namespace piano::tools {
namespace {

// The first five in the order of EvaluationSet::heuristics.
const std::vector<std::string> kHeuristics{"initial", "popularity", "last", "cosine", "memorised", "random", "oracle"};

constexpr const char* kPermuted = "+permuted";

std::vector<std::string> split_at_commas(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

std::vector<std::int64_t> seeds_of(const CommandLine& line) {
  std::vector<std::int64_t> seeds;
  for (const std::string& text : split_at_commas(line.text("seeds"))) {
    Config config;
    set_option(config, "train.seed", text);
    seeds.push_back(config.train.seed);
    if (std::count(seeds.begin(), seeds.end(), seeds.back()) > 1) throw Error(ErrorCode::usage, "--seeds: " + text + " stands there twice");
  }
  return seeds;
}

// Everything that the command line names, checked before the first training.
struct Plan {
  std::string out, reference, metric;
  std::vector<data::Dataset> data;
  std::vector<EvaluationPart> parts;                               // one per data set
  std::vector<NamedConfig> models;
  std::vector<std::int64_t> seeds;
  std::int64_t trials = 0;                                         // 0: no tuning
  std::vector<SearchOption> space;
  bool permuted = false;                                           // beside the reference, itself on shuffled histories
  std::vector<std::string> heuristics;
  std::vector<std::pair<std::string, std::vector<std::string>>> scores;  // name, files; a name again: a further seed
  std::vector<std::string> systems() const;
};

std::vector<std::string> Plan::systems() const {
  std::vector<std::string> names = heuristics;
  for (const auto& [name, files] : scores) names.push_back(name);
  for (const NamedConfig& model : models) names.push_back(model.name);
  return names;
}

// The declared space; each --vary replaces it, one option at a time.
std::vector<SearchOption> space_of(const CommandLine& line) {
  std::vector<SearchOption> space;
  for (const std::string& text : line.all("vary")) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) throw Error(ErrorCode::usage, "--vary: expected KEY=VALUE,VALUE,.., got '" + text + "'");
    space.push_back({text.substr(0, equals), split_at_commas(text.substr(equals + 1))});
    Config config;
    for (const std::string& value : space.back().values) set_option(config, space.back().key, value);
    if (space.back().key == "train.epochs" || space.back().key == "train.seed") {
      throw Error(ErrorCode::usage, "--vary " + space.back().key + ": the budget and the seeds are the same for all");
    }
  }
  return space.empty() ? default_search_space() : space;
}

Plan plan_of(const CommandLine& line, std::size_t part) {
  Plan plan;
  plan.out = line.required("out");
  plan.seeds = seeds_of(line);
  plan.models = models_of(line);
  for (const NamedConfig& model : plan.models) {
    if (model.config.train.seed != Config{}.train.seed) {
      throw Error(ErrorCode::usage, model.name + ": train.seed means nothing here: each model is trained under each of --seeds");
    }
  }
  plan.trials = line.integer("tune", 0, 10000);
  plan.space = space_of(line);
  if (line.given("vary") && plan.trials == 0) throw Error(ErrorCode::usage, "--vary means nothing without --tune N");
  for (const NamedConfig& model : plan.models) {
    for (const SearchOption& option : plan.space) {
      if (plan.trials > 0 && model.config.train.select == SelectBy::loss && option.key.starts_with("loss.")) {
        throw Error(ErrorCode::usage, model.name + ": train.select = loss cannot compare settings of " + option.key + "; choose by another measure");
      }
    }
  }
  std::vector<std::string> taken;
  for (const NamedConfig& model : plan.models) taken.push_back(model.name);
  if (line.text("heuristics") != "none") {
    std::vector<std::string> heuristics(kHeuristics.begin(), kHeuristics.end() - (line.given("oracle") ? 0 : 1));
    if (line.given("heuristics")) heuristics = split_at_commas(line.text("heuristics"));
    for (const std::string& name : heuristics) {
      if (std::find(kHeuristics.begin(), kHeuristics.end(), name) == kHeuristics.end()) {
        const std::string near = nearest(name, kHeuristics);
        throw Error(ErrorCode::usage, "--heuristics: unknown heuristic '" + name + "'" + (near.empty() ? "" : ": did you mean '" + near + "'?"));
      }
      if (name == "oracle" && !line.given("oracle")) throw Error(ErrorCode::usage, "--heuristics: oracle needs --oracle FILE");
      require_name(name, taken);
      taken.push_back(name);
      plan.heuristics.push_back(name);
    }
  }
  for (const std::string& text : line.all("scores")) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) throw Error(ErrorCode::usage, "--scores: expected NAME=FILE,.., got '" + text + "'");
    require_name(text.substr(0, equals), taken);
    plan.scores.emplace_back(text.substr(0, equals), split_at_commas(text.substr(equals + 1)));
  }
  const std::vector<std::string> systems = plan.systems();
  if (systems.empty()) throw Error(ErrorCode::usage, "nothing to compare: give a --model, --heuristics or --scores");
  plan.reference = line.given("reference") ? line.text("reference") : plan.models.empty() ? systems[0] : plan.models[0].name;
  if (std::find(systems.begin(), systems.end(), plan.reference) == systems.end()) {
    const std::string near = nearest(plan.reference, systems);
    throw Error(ErrorCode::usage, "--reference: no system is called '" + plan.reference + "'" + (near.empty() ? "" : ": did you mean '" + near + "'?"));
  }
  plan.permuted = line.given("permute-past-queries");
  if (plan.permuted) {
    require_name(plan.reference + kPermuted, systems);
    const bool model = std::any_of(plan.models.begin(), plan.models.end(), [&](const NamedConfig& m) {
      return m.name == plan.reference && reads(m.config.model.name, "qdir.mode") && m.config.qdir.mode != QdirMode::off &&
             m.config.qdir.mode != QdirMode::item_only;
    });
    if (!model) throw Error(ErrorCode::usage, "--permute-past-queries: the reference, '" + plan.reference + "', is no model that reads them");
  }
  if (line.all("data").empty()) throw Error(ErrorCode::usage, "--data FILE is needed; see piano help compare");
  for (const std::string& path : line.all("data")) plan.data.push_back(open_dataset(path));
  for (const data::Dataset& data : plan.data) plan.parts.push_back({&data, requests_of(data, part)});
  return plan;
}

// Trains what is not there yet: for every model, the trials on each fold, then every fold under every seed.
class Trainings {
 public:
  Trainings(const Plan& plan, ThreadPool& pool) : plan_(plan), pool_(pool) {}

  ComparedModel train(const NamedConfig& named) {
    ComparedModel model{named.name, changed_options(named.config), {}, {}};
    std::erase_if(model.settings, [](const std::string& s) { return s.starts_with("train.seed="); });
    std::vector<Config> chosen(plan_.data.size(), named.config);
    for (std::size_t fold = 1; plan_.trials > 0 && fold <= chosen.size(); ++fold) {
      Config config = named.config;
      config.train.seed = plan_.seeds[0];
      model.tunings.push_back(tune(draw_trials(config, plan_.space, named.own, plan_.trials), [&](const Config& trial, const std::string& what) {
        return run(named.name, fold, trial, what).result;
      }));
      chosen[fold - 1] = model.tunings.back().trials[model.tunings.back().chosen].config;
    }
    for (const std::int64_t seed : plan_.seeds) {
      for (std::size_t fold = 1; fold <= chosen.size(); ++fold) {
        Config config = chosen[fold - 1];
        config.train.seed = seed;
        const std::size_t total = plan_.models.size() * plan_.data.size() * plan_.seeds.size();
        model.runs.push_back(run(named.name, fold, config, std::to_string(++done_) + " of " + std::to_string(total)));
      }
    }
    return model;
  }

 private:
  ComparedRun run(const std::string& name, std::size_t fold, const Config& config, const std::string& what) {
    const std::string label = name + ", fold " + std::to_string(fold) + ", seed " + std::to_string(config.train.seed) + " (" + what + ")";
    const std::string folder = (std::filesystem::path(plan_.out) / name / run_name(fold, config)).string();
    ProgressLine progress;
    TrainOptions options;
    options.stop = &stop_.asked();
    options.progress = [&](const TrainProgress& p) { show(progress, p, label); };
    RunResult result;
    try {
      result = train_once(folder, config, plan_.data[fold - 1], pool_, options);
    } catch (const Error& e) {
      throw Error(e.code(), label + ": " + e.what());
    }
    progress.clear();
    if (result.summary.stopped_by == "interrupted" || stop_.asked()) {
      throw Error(ErrorCode::interrupted, label + ": interrupted; the same command goes on from there");
    }
    log_info(label + (result.reused ? ": was there" : ": trained in " + duration_text(result.seconds)) + ", " +
             counted(result.summary.epochs, "epoch") +
             (std::isnan(result.summary.best) ? "" : ", best validation " + validation_text(config, result.summary.best)));
    return {fold, config.train.seed, folder, result};
  }

  const Plan& plan_;
  ThreadPool& pool_;
  StopOnSignal stop_;
  std::size_t done_ = 0;
};

void add_systems(const Plan& plan, const EvaluationSet& set, const std::vector<ComparedModel>& models, ThreadPool& pool, Comparer& comparer) {
  for (const std::string& name : plan.heuristics) {
    const auto place = static_cast<std::size_t>(std::find(kHeuristics.begin(), kHeuristics.end(), name) - kHeuristics.begin());
    if (name == "oracle") comparer.add(name, {name, set.lists.true_conversion, {}, {}, {}, {}});
    else if (name == "random") comparer.add(name, {name, std::vector<double>(static_cast<std::size_t>(set.lists.rows()), 0.0), {}, {}, {}, {}});
    else comparer.add(name, set.heuristics[place]);
  }
  for (const auto& [name, files] : plan.scores) comparer.add(name, {name, read_scores(files, set.lists), {}, {}, {}, {}});
  for (const ComparedModel& model : models) {
    for (const bool permuted : {false, true}) {
      if (permuted && !(plan.permuted && model.name == plan.reference)) continue;
      for (std::size_t run = 0; run < model.runs.size(); run += plan.data.size()) {  // one seed: its folds, in order
        Predictions all;
        for (std::size_t fold = 0; fold < plan.data.size(); ++fold) {
          append(all, predict(*Model::load(run_model(model.runs[run + fold].folder)), plan.data[fold], plan.parts[fold].requests, pool, permuted));
        }
        comparer.add(model.name + (permuted ? kPermuted : ""), all);
      }
    }
  }
}

void write(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace

void compare(const Arguments& arguments) {
  const ComparisonOptions defaults;
  CommandLine line("compare", "--out FOLDER --data FILE [--data FILE ..] --model MODEL [--model MODEL ..] [flags]",
                   "trains models under several seeds and folds, and measures them on the same lists (docs/compare.md)");
  line.value("out", "FOLDER", "", "where the runs go, one folder each, and report.{txt,md,csv,json}; what is done there is not done again")
      .repeatable("data", "FILE", "packed data set; several: the folds of one log (piano prepare --split user --folds K --fold k)")
      .repeatable("model", "MODEL", "NAME=KEY=VALUE,.. | NAME= (as all) | FILE.toml | a folder of TOML files")
      .value("config", "FILE", "", "options that all models share, as TOML")
      .repeatable("set", "KEY=VALUE", "one option that all models share; a model's own win")
      .value("seeds", "LIST", "1,2,3", "each model is trained under each of these")
      .value("tune", "N", "0", "settings that each model tries on each fold's validation part; 0: as given")
      .repeatable("vary", "KEY=VALUE,..", "with --tune: an option to try values of (default: learning rate, dropouts, width, batch; docs/compare.md)")
      .value("heuristics", "LIST", "", "some of initial,popularity,last,cosine,memorised,random,oracle, or none (default: all; oracle with --oracle)")
      .repeatable("scores", "NAME=FILE,..", "scores from elsewhere: lines of request, item, score; the name again: a further seed")
      .flag("permute-past-queries", "beside the reference NAME a system NAME+permuted: a control, itself with the queries within each history shuffled")
      .value("reference", "NAME", "", "what all others are compared with (default: the first model)")
      .value("metric", "NAME", "", "what comes first, and is shown by slice (default: MRR target where there are targets, else NDCG@10 click+conversion)")
      .value("split", "PART", "test", "train | valid | test | all")
      .value("oracle", "FILE", "", "a simulator's true probabilities: adds the gap closed")
      .value("ties", "HOW", "hash", "exact ties: hash (the one order shown) | average (over all orders)")
      .value("replicates", "N", std::to_string(defaults.evaluation.bootstrap.replicates), "bootstrap draws of users; fewer than 40: no intervals")
      .value("randomisations", "N", std::to_string(defaults.randomisations), "draws of the paired test; 0: no p-values")
      .value("threads", "N", "", "workers (default: all cores); the result does not depend on it")
      .flag("json", "the report as JSON")
      .example("piano compare --out runs --data data.safetensors --model piano= --model mean=qdir.mode=mean --seeds 1,2,3")
      .example("piano compare --out runs --data=fold{1..5}.safetensors --config common.toml --model piano/configs/ablations --scores lambdamart=scores.tsv");
  if (!line.parse(arguments)) return;
  line.no_files();

  ComparisonOptions options;
  options.evaluation.ties = line.choice("ties", {"hash", "average"}) == 1 ? TieBreak::average : TieBreak::hash;
  options.evaluation.bootstrap.replicates = static_cast<std::int32_t>(line.integer("replicates", 0, 1000000));
  options.randomisations = static_cast<std::int32_t>(line.integer("randomisations", 0, 10000000));
  const std::size_t part = line.choice("split", kParts);
  const Plan plan = plan_of(line, part);
  ThreadPool pool(threads_of(line));
  EvaluationSet set = pooled_evaluation_set(plan.parts);
  if (line.given("oracle")) set.lists.true_conversion = true_conversion(line.text("oracle"), set.lists);

  ComparisonReport report;
  report.part = kParts[part];
  report.data = line.all("data");
  const bool targets = std::any_of(set.lists.target.begin(), set.lists.target.end(), [](std::int32_t t) { return t >= 0; });
  const std::string usual = targets ? "MRR target" : "NDCG@10 click+conversion";
  report.metric = options.metric = line.given("metric") ? line.text("metric") : usual;
  const auto file = [&](const char* name) { return (std::filesystem::path(plan.out) / name).string(); };
  Comparer comparer(set.lists, options);
  const std::vector<std::string> metrics = comparer.metrics();
  const auto measured = [&](const std::string& metric) { return std::find(metrics.begin(), metrics.end(), metric) != metrics.end(); };
  if (!measured(report.metric)) {
    if (!measured(usual)) throw Error(ErrorCode::data, report.data[0] + ": no list of the part '" + report.part + "' has a click or a conversion, there is "
                                                       "nothing to compare by");
    const std::string near = nearest(report.metric, metrics);
    throw Error(ErrorCode::usage, "--metric: '" + report.metric + "' is not measured on these lists" + (near.empty() ? "" : ": did you mean '" + near + "'?"));
  }
  std::error_code failed;
  std::filesystem::create_directories(plan.out, failed);
  if (failed) throw Error(ErrorCode::io, plan.out + ": cannot make the folder: " + failed.message());
  {
    Trainings trainings(plan, pool);
    for (const NamedConfig& model : plan.models) report.models.push_back(trainings.train(model));
  }
  if (plan.trials > 0) {
    report.space = plan.space;
    write(file("choices.json"), choices_json(report));
  }
  add_systems(plan, set, report.models, pool, comparer);
  report.comparison = comparer.compare(plan.reference);
  const std::string json = to_json(report), text = to_text(report);
  write(file("report.txt"), text);
  write(file("report.md"), to_markdown(report));
  write(file("report.csv"), to_csv(report));
  write(file("report.json"), json);
  print(line.given("json") ? json : text);
}

}  // namespace piano::tools
