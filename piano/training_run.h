// A training done once: a folder that holds the model and, when it is complete, a result that says what it was made from. Asked for again, it is
// only read; interrupted, it goes on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "piano/train.h"

namespace piano {

struct RunResult {
  TrainSummary summary;
  double seconds = 0;            // of training, over all sittings
  std::int64_t parameters = 0, in_tables = 0;
  bool reused = false;           // it was there
};

// What differs from the defaults, as "key=value", in the order of the docs: what a run is named after and compared by.
std::vector<std::string> changed_options(const Config& config);

// "fold1.seed2.3f2a91c0": the same for the same configuration and place, another for any other.
std::string run_name(std::size_t fold, const Config& config);
std::string run_model(const std::string& folder);  // the path of the model in it

// Trains into `folder` (made when absent; options.out and options.resume are set here) unless it holds a complete result of the same
// configuration and data whose model is as it was. A finished run keeps model, log and result.json; its training state is removed.
// A stop by options.stop leaves what a later call goes on from: then summary.stopped_by is "interrupted" and there is no result.
// Throws ErrorCode::usage when the folder belongs to another configuration or other data: nothing in it is overwritten; and as train().
RunResult train_once(const std::string& folder, const Config& config, const data::Dataset& data, ThreadPool& pool, TrainOptions options);

}  // namespace piano
