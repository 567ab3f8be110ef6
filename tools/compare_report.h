// What `piano compare` prints and writes: one comparison as text, Markdown, CSV and JSON.
#pragma once

#include <string>
#include <vector>

#include "piano/comparison.h"
#include "piano/tuning.h"

namespace piano::tools {

struct ComparedRun {
  std::size_t fold = 0;               // from 1
  std::int64_t seed = 0;
  std::string folder;
  RunResult result;
};

// How a system came about. Heuristics and scores from elsewhere have neither settings nor runs.
struct ComparedModel {
  std::string name;
  std::vector<std::string> settings;  // what differs from the defaults, but for the seed
  std::vector<ComparedRun> runs;
  std::vector<Tuning> tunings;        // one per fold, or none

  double seconds() const;             // mean over runs
};

struct ComparisonReport {
  Comparison comparison;
  std::string part;                   // "test"
  std::vector<std::string> data;      // one file per fold
  std::vector<ComparedModel> models;
  std::vector<SearchOption> space;    // what was tuned; empty: nothing
  std::string metric;                 // the one that comes first, and that slices are shown for in text and Markdown
};

// What each model tried on which fold, what validation said, and what was chosen: a function of the training and validation parts alone.
std::string choices_json(const ComparisonReport& report);

std::string to_text(const ComparisonReport& report);
std::string to_markdown(const ComparisonReport& report);
std::string to_csv(const ComparisonReport& report);   // a line per slice, metric and system
std::string to_json(const ComparisonReport& report);

}  // namespace piano::tools
