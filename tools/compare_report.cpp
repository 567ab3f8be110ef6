#include "tools/compare_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

// A table before it is known whether people or Markdown read it.
struct Block {
  std::string title;
  std::vector<std::vector<std::string>> rows;  // the first one: column names
  std::string alignment;                       // 'l' or 'r' per column
  std::string note;
};

std::string signed_text(double x, int decimals) { return (x < 0 ? "" : "+") + number_text(x, decimals); }

std::string value_text(double x) { return std::isnan(x) ? "-" : number_text(x, 4); }

std::string interval_text(const Estimate& e, bool sign) {
  if (std::isnan(e.low)) return "";
  const auto text = [&](double x) { return sign ? signed_text(x, 4) : number_text(x, 4); };
  return "[" + text(e.low) + ", " + text(e.high) + "]";
}

std::string p_text(double p) { return std::isnan(p) ? "" : p < 0.0001 ? "<0.0001" : number_text(p, 4); }

std::string joined(const std::vector<std::string>& parts, const char* between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

Block metric_block(const ComparisonReport& report, const ComparedTable& table) {
  const Comparison& c = report.comparison;
  const std::string interval = number_text(100 * c.level, 0) + " % interval";
  Block block{table.metric + ": " + counted(table.used, table.unit.substr(0, table.unit.size() - 1)) +
                  (table.skipped > 0 ? ", " + count_text(table.skipped) + " without it" : ""),
              {{"system", "value", interval, "seeds", "spread", "minus " + c.systems[c.reference], interval, "p", "p (Holm)"}}, "lrrrrrrrr", ""};
  for (std::size_t s = 0; s < c.systems.size(); ++s) {
    const ComparedCell& cell = table.cells[s];
    const bool other = s != c.reference && !std::isnan(cell.difference.value);
    block.rows.push_back({c.systems[s], value_text(cell.value.value), interval_text(cell.value, false), std::to_string(cell.seeds.size()),
                          std::isnan(cell.spread()) ? "" : number_text(cell.spread(), 4), other ? signed_text(cell.difference.value, 4) : "",
                          other ? interval_text(cell.difference, true) : "", p_text(cell.p), p_text(cell.p_holm)});
  }
  return block;
}

// One line a system, one column a slice: the value, and how far the reference is.
Block slice_block(const ComparisonReport& report) {
  const Comparison& c = report.comparison;
  Block block{report.metric + " by slice", {{"system"}}, "l", "value and difference to " + c.systems[c.reference] +
              "; *: its interval lies on one side of 0 (not adjusted for the number of slices and systems)"};
  for (const std::string& system : c.systems) block.rows.push_back({system});
  for (const ComparedTable& table : c.tables) {
    if (table.metric != report.metric || table.slice == "all lists") continue;
    block.rows[0].push_back(table.slice + " (" + count_text(table.used) + ")");
    block.alignment += 'r';
    for (std::size_t s = 0; s < c.systems.size(); ++s) {
      const Estimate& d = table.cells[s].difference;
      const bool apart = d.low > 0 || d.high < 0;
      block.rows[s + 1].push_back(value_text(table.cells[s].value.value) +
                                  (s == c.reference ? "" : " " + signed_text(d.value, 4) + (apart ? "*" : " ")));
    }
  }
  return block;
}

Block model_block(const ComparisonReport& report) {
  Block block{"models", {{"model", "runs", "parameters", "of them in tables", "epochs", "training", "settings that differ from the defaults"}}, "lrrrrrl",
              "means over runs; training: wall time of one run"};
  for (const ComparedModel& model : report.models) {
    double parameters = 0, tables = 0, epochs = 0;
    for (const ComparedRun& run : model.runs) {
      parameters += static_cast<double>(run.result.parameters), tables += static_cast<double>(run.result.in_tables);
      epochs += static_cast<double>(run.result.summary.epochs);
    }
    const auto runs = static_cast<double>(model.runs.size());
    block.rows.push_back({model.name, std::to_string(model.runs.size()), count_text(std::llround(parameters / runs)),
                          count_text(std::llround(tables / runs)), number_text(epochs / runs, 1), duration_text(model.seconds()),
                          joined(model.settings, " ")});
  }
  return block;
}

// A column in which no row says anything is left out: probabilities have no intervals, one seed has no spread.
void drop_empty_columns(Block& block) {
  for (std::size_t c = block.alignment.size(); c-- > 0;) {
    const auto says_nothing = [&](const std::vector<std::string>& row) { return row[c].empty(); };
    if (!std::all_of(block.rows.begin() + 1, block.rows.end(), says_nothing)) continue;
    for (std::vector<std::string>& row : block.rows) row.erase(row.begin() + static_cast<std::ptrdiff_t>(c));
    block.alignment.erase(c, 1);
  }
}

// What was tried: one line a model and fold.
Block tuning_block(const ComparisonReport& report) {
  Block block{"tuning, on the validation part alone",
              {{"model", "fold", "tried", "settings as given", "best trial", "all trainings", "chosen"}}, "lrrrrrl", ""};
  for (const SearchOption& option : report.space) {
    block.note += (block.note.empty() ? "space: " : "; ") + option.key + " of " + joined(option.values, ", ");
  }
  block.note += "; both figures: train.select on validation (of a loss: minus it), at the length that a trial reached (report.json has each of them)";
  for (const ComparedModel& model : report.models) {
    for (std::size_t fold = 0; fold < model.tunings.size(); ++fold) {
      const Tuning& t = model.tunings[fold];
      const auto reached = [](const Trial& trial) {
        return trial.rungs.empty() ? std::string("-") : value_text(trial.rungs.back().validation) + " after " + std::to_string(trial.rungs.back().epochs);
      };
      const Trial& chosen = t.trials[t.chosen];
      block.rows.push_back({model.name, std::to_string(fold + 1), std::to_string(t.trials.size()), reached(t.trials[0]), reached(chosen),
                            duration_text(t.seconds), chosen.settings.empty() ? "as given" : joined(chosen.settings, " ")});
    }
  }
  return block;
}

std::vector<Block> blocks_of(const ComparisonReport& report) {
  std::vector<Block> blocks;
  for (const bool primary : {true, false}) {
    for (const ComparedTable& table : report.comparison.tables) {
      const bool shown = table.slice == "all lists" && (table.headline || table.metric == report.metric);
      if (shown && primary == (table.metric == report.metric)) blocks.push_back(metric_block(report, table));
    }
  }
  Block slices = slice_block(report);
  if (slices.alignment.size() > 1) blocks.push_back(std::move(slices));
  if (!report.models.empty()) blocks.push_back(model_block(report));
  if (!report.space.empty()) blocks.push_back(tuning_block(report));
  for (Block& block : blocks) drop_empty_columns(block);
  return blocks;
}

std::string headline(const ComparisonReport& report) {
  const Comparison& c = report.comparison;
  return counted(c.lists, "list") + " of " + counted(c.users, "user") + " (" + report.part + ", " +
         counted(static_cast<std::int64_t>(report.data.size()), "data set") + "), reference: " + c.systems[c.reference];
}

std::string footnotes() {
  return "value: seeds averaged per user; interval: bootstrap over users; spread: standard deviation over seeds; p: paired randomisation over users, "
         "Holm-adjusted over the systems of a table";
}

Json to_object(const Estimate& e) {
  return {{"value", number_or_null(e.value)}, {"low", number_or_null(e.low)}, {"high", number_or_null(e.high)}};
}

Json to_object(const ComparedCell& cell, bool reference) {
  Json object = to_object(cell.value);
  Json seeds = Json::array();
  for (const double v : cell.seeds) seeds.push_back(number_or_null(v));
  object["seeds"] = std::move(seeds);
  object["spread"] = number_or_null(cell.spread());
  if (reference) return object;
  object["difference"] = to_object(cell.difference);
  object["p"] = number_or_null(cell.p);
  object["p_holm"] = number_or_null(cell.p_holm);
  return object;
}

Json to_object(const Tuning& tuning) {
  Json trials = Json::array();
  for (const Trial& trial : tuning.trials) {
    Json rungs = Json::array();
    for (const Trial::Rung& rung : trial.rungs) rungs.push_back({{"epochs", rung.epochs}, {"validation", number_or_null(rung.validation)}});
    trials.push_back({{"settings", trial.settings}, {"rungs", std::move(rungs)}});
  }
  return {{"trials", std::move(trials)}, {"chosen", tuning.chosen}};
}

// {model: [fold]}
Json choices(const ComparisonReport& report) {
  Json all = Json::object();
  for (const ComparedModel& model : report.models) {
    for (const Tuning& tuning : model.tunings) all[model.name].push_back(to_object(tuning));
  }
  return all;
}

Json to_object(const ComparedModel& model) {
  Json runs = Json::array();
  for (const ComparedRun& run : model.runs) {
    const RunResult& r = run.result;
    runs.push_back({{"fold", run.fold}, {"seed", run.seed}, {"folder", run.folder}, {"steps", r.summary.steps}, {"epochs", r.summary.epochs},
                    {"best_epoch", r.summary.best_epoch}, {"validation", number_or_null(r.summary.best)}, {"stopped_by", r.summary.stopped_by},
                    {"seconds", r.seconds}, {"parameters", r.parameters}, {"in_tables", r.in_tables}});
  }
  return {{"name", model.name}, {"settings", model.settings}, {"seconds", model.seconds()}, {"runs", std::move(runs)}};
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string csv_number(double x) { return std::isfinite(x) ? json_text(Json(x)) : ""; }

}  // namespace

double ComparedModel::seconds() const {
  double sum = 0;
  for (const ComparedRun& run : runs) sum += run.result.seconds;
  return runs.empty() ? 0 : sum / static_cast<double>(runs.size());
}

std::string choices_json(const ComparisonReport& report) { return json_text(choices(report)) + "\n"; }

std::string to_text(const ComparisonReport& report) {
  std::string text = headline(report) + "\n";
  for (const Block& block : blocks_of(report)) {
    text += "\n" + block.title + "\n" + aligned(block.rows, block.alignment) + (block.note.empty() ? "" : block.note + "\n");
  }
  return text + "\n" + footnotes() + "\n";
}

std::string to_markdown(const ComparisonReport& report) {
  std::string text = headline(report) + "\n";
  for (const Block& block : blocks_of(report)) {
    text += "\n### " + block.title + "\n\n";
    for (std::size_t r = 0; r < block.rows.size(); ++r) {
      text += "| " + joined(block.rows[r], " | ") + " |\n";
      if (r > 0) continue;
      for (const char a : block.alignment) text += a == 'l' ? "|---" : "|---:";
      text += "|\n";
    }
    if (!block.note.empty()) text += "\n" + block.note + "\n";
  }
  return text + "\n" + footnotes() + "\n";
}

std::string to_csv(const ComparisonReport& report) {
  const Comparison& c = report.comparison;
  std::string text = "slice,metric,unit,used,skipped,system,value,low,high,seeds,spread,reference,difference,difference_low,difference_high,p,p_holm\n";
  for (const ComparedTable& table : c.tables) {
    for (std::size_t s = 0; s < c.systems.size(); ++s) {
      const ComparedCell& cell = table.cells[s];
      std::vector<std::string> fields{table.slice, table.metric, table.unit, std::to_string(table.used), std::to_string(table.skipped), c.systems[s]};
      for (const double x : {cell.value.value, cell.value.low, cell.value.high}) fields.push_back(csv_number(x));
      fields.push_back(std::to_string(cell.seeds.size()));
      fields.push_back(csv_number(cell.spread()));
      fields.push_back(c.systems[c.reference]);
      for (const double x : {cell.difference.value, cell.difference.low, cell.difference.high, cell.p, cell.p_holm}) {
        fields.push_back(s == c.reference ? "" : csv_number(x));
      }
      for (std::size_t f = 0; f < fields.size(); ++f) text += (f == 0 ? "" : ",") + csv_field(fields[f]);
      text += "\n";
    }
  }
  return text;
}

std::string to_json(const ComparisonReport& report) {
  const Comparison& c = report.comparison;
  Json models = Json::array(), tables = Json::array();
  for (const ComparedModel& model : report.models) models.push_back(to_object(model));
  for (const ComparedTable& table : c.tables) {
    Json cells;
    for (std::size_t s = 0; s < c.systems.size(); ++s) cells[c.systems[s]] = to_object(table.cells[s], s == c.reference);
    tables.push_back({{"slice", table.slice}, {"metric", table.metric}, {"unit", table.unit}, {"used", table.used}, {"skipped", table.skipped},
                      {"systems", std::move(cells)}});
  }
  Json object{{"split", report.part}, {"data", report.data}, {"lists", c.lists}, {"users", c.users}, {"interval", c.level},
              {"reference", c.systems[c.reference]}, {"metric", report.metric}, {"models", std::move(models)}};
  if (!report.space.empty()) {
    for (const SearchOption& option : report.space) object["space"][option.key] = option.values;
    object["tuning"] = choices(report);
  }
  object["tables"] = std::move(tables);
  return json_text(object) + "\n";
}

}  // namespace piano::tools
