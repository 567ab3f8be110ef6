// A report as aligned text and as JSON.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"
#include "piano/evaluation.h"

namespace piano {
namespace {

std::string number(double x, bool with_sign) {
  char text[40];
  std::snprintf(text, sizeof text, with_sign ? "%+.4f" : "%.4f", x);
  return text;
}

std::string cell_text(const Cell& cell, bool with_sign) {
  if (!cell.reason.empty()) return "n/a (" + cell.reason + ")";
  if (std::isnan(cell.estimate.value)) return "n/a";
  std::string text = number(cell.estimate.value, with_sign);
  if (cell.estimate.replicates > 0)
    text += " [" + number(cell.estimate.low, with_sign) + ", " + number(cell.estimate.high, with_sign) + "]";
  return text;
}

// Columns as wide as their widest cell; the first column to the left, the others to the right.
std::string aligned(const std::vector<std::vector<std::string>>& lines) {
  std::vector<std::size_t> width;
  for (const auto& line : lines) {
    width.resize(std::max(width.size(), line.size()), 0);
    for (std::size_t c = 0; c < line.size(); ++c) width[c] = std::max(width[c], line[c].size());
  }
  std::string text;
  for (const auto& line : lines) {
    for (std::size_t c = 0; c < line.size(); ++c) {
      const std::string padding(width[c] - line[c].size(), ' ');
      text += c == 0 ? line[c] + padding : "  " + padding + line[c];
    }
    text += '\n';
  }
  return text;
}

nlohmann::ordered_json to_object(const Cell& cell) {
  nlohmann::ordered_json object;
  object["value"] = number_or_null(cell.estimate.value);
  object["low"] = number_or_null(cell.estimate.low);
  object["high"] = number_or_null(cell.estimate.high);
  if (!cell.reason.empty()) object["reason"] = cell.reason;
  return object;
}

}  // namespace

std::string to_text(const Report& report) {
  std::string text;
  for (std::size_t t = 0; t < report.tables.size(); ++t) {
    const Table& table = report.tables[t];
    const bool differences = table.title.starts_with("paired differences");
    if (t > 0) text += '\n';
    text += table.title + " (" + std::to_string(table.lists) + " lists)\n";
    std::vector<std::vector<std::string>> lines{{"metric", "used", "skipped", ""}};
    lines[0].insert(lines[0].end(), table.columns.begin(), table.columns.end());
    for (const Row& row : table.rows) {
      lines.push_back({row.name, std::to_string(row.used), std::to_string(row.skipped), row.unit});
      for (const Cell& cell : row.cells) lines.back().push_back(cell_text(cell, differences));
    }
    text += aligned(lines);
  }
  char level[80];
  std::snprintf(level, sizeof level, "\n[low, high]: %g %% bootstrap interval over users\n", 100 * report.level);
  return text + level;
}

std::string to_json(const Report& report) {
  nlohmann::ordered_json tables = nlohmann::ordered_json::array();
  for (const Table& table : report.tables) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (const Row& row : table.rows) {
      nlohmann::ordered_json cells;
      for (std::size_t c = 0; c < row.cells.size(); ++c) cells[table.columns[c]] = to_object(row.cells[c]);
      rows.push_back({{"metric", row.name}, {"unit", row.unit}, {"used", row.used}, {"skipped", row.skipped}, {"systems", cells}});
    }
    tables.push_back({{"title", table.title}, {"lists", table.lists}, {"rows", rows}});
  }
  const nlohmann::ordered_json object{{"interval", report.level}, {"tables", tables}};
  return json_text(object);
}

}  // namespace piano
