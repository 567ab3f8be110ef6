#include "piano/tuning.h"
#include "piano/models.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "engine/base/check.h"
#include "engine/base/error.h"
#include "engine/base/random.h"

namespace piano {

std::vector<SearchOption> default_search_space() {
  return {{"train.learning_rate", {"0.0003", "0.001", "0.003"}},
          {"model.dropout", {"0", "0.1", "0.2", "0.4"}},
          {"model.oov_dropout", {"0.02", "0.2", "0.5"}},
          {"model.d", {"32", "64"}},
          {"train.batch", {"64", "256"}}};
}

std::vector<Trial> draw_trials(const Config& config, std::span<const SearchOption> space, std::span<const std::string> own, std::int64_t count) {
  constexpr int kPatience = 100;  // draws in a row that were there already: the space has no more
  std::vector<Trial> trials{{{}, config, {}}};
  std::set<std::vector<std::string>> known{changed_options(config)};
  RandomStream random(1, "tuning");
  for (int old = 0; static_cast<std::int64_t>(trials.size()) < count && old < kPatience; ++old) {
    Trial trial{{}, config, {}};
    for (const SearchOption& option : space) {
      const std::string& value = option.values[static_cast<std::size_t>(random.below(option.values.size()))];  // drawn also when it is not used
      if (!reads(config.model.name, option.key) || std::find(own.begin(), own.end(), option.key) != own.end()) continue;
      set_option(trial.config, option.key, value);
      trial.settings.push_back(option.key + "=" + value);
    }
    check(trial.config);
    if (!known.insert(changed_options(trial.config)).second) continue;
    trials.push_back(std::move(trial));
    old = -1;
  }
  return trials;
}

Tuning tune(std::vector<Trial> trials, const std::function<RunResult(const Config&, const std::string&)>& train) {
  Tuning result{std::move(trials), 0, 0};
  std::vector<std::size_t> alive(result.trials.size());
  std::iota(alive.begin(), alive.end(), std::size_t{0});
  int rungs = 0;
  for (std::size_t n = alive.size(); n > 1; n = (n + 1) / 2) ++rungs;
  for (int rung = rungs - 1; alive.size() > 1; --rung) {
    for (const std::size_t t : alive) {
      Trial& trial = result.trials[t];
      Config config = trial.config;
      config.train.epochs = std::max<std::int64_t>(1, config.train.epochs >> rung);
      double validation = -std::numeric_limits<double>::infinity();
      try {
        const RunResult run = train(config, "trial " + std::to_string(t + 1) + " of " + std::to_string(result.trials.size()));
        const bool again = !trial.rungs.empty() && trial.rungs.back().epochs == config.train.epochs;  // two rungs of one epoch: one training
        if (!again) result.seconds += run.seconds;
        if (run.summary.best_epoch == 0 || std::isnan(run.summary.best)) {
          throw Error(ErrorCode::usage, "tuning needs a validation at the end of an epoch: a validation part with labels, and no train.max_steps "
                                        "that stops before");
        }
        validation = run.summary.best;
      } catch (const Error& e) {
        if (e.code() != ErrorCode::diverged) throw;
      }
      trial.rungs.push_back({config.train.epochs, validation});
    }
    std::stable_sort(alive.begin(), alive.end(), [&](std::size_t a, std::size_t b) {
      return result.trials[a].rungs.back().validation > result.trials[b].rungs.back().validation;
    });
    alive.resize((alive.size() + 1) / 2);
    std::sort(alive.begin(), alive.end());  // equals: the earlier trial
  }
  result.chosen = alive[0];
  return result;
}

}  // namespace piano
