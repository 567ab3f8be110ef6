// An equal tuning budget: each model tries as many settings as every other, drawn from one declared space, and is judged on the validation part
// alone. Successive halving (Jamieson and Talwalkar, AISTATS 2016): all trials train a little, the better half twice as long, until two have
// trained in full.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "piano/training_run.h"

namespace piano {

struct SearchOption {
  std::string key;
  std::vector<std::string> values;  // each as likely as the others
};
std::vector<SearchOption> default_search_space();

struct Trial {
  std::vector<std::string> settings;  // what was drawn, "key=value"; empty: the model's own settings
  Config config;
  struct Rung {
    std::int64_t epochs;
    double validation;                // of train.select; -infinity when the training diverged
  };
  std::vector<Rung> rungs;            // as far as it got
};

struct Tuning {
  std::vector<Trial> trials;
  std::size_t chosen = 0;
  double seconds = 0;                 // of all trainings
};

// `count` trials, or as many different ones as the space has: first the model's own settings, then draws of every key of the space but those in
// `own`, the same draws for each model that leaves the space's keys alone. Throws ErrorCode::usage for a value that the option refuses.
std::vector<Trial> draw_trials(const Config& config, std::span<const SearchOption> space, std::span<const std::string> own, std::int64_t count);

// Trains by `train`, which is told the configuration and what to call it, and says how it went. Equal validations: the earlier trial. Throws
// ErrorCode::usage when there is nothing to validate on; passes on what `train` throws, but for ErrorCode::diverged.
Tuning tune(std::vector<Trial> trials, const std::function<RunResult(const Config& config, const std::string& what)>& train);

}  // namespace piano
