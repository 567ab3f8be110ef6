#include "tools/systems.h"

#include "engine/base/error.h"
#include "engine/core/thread_pool.h"
#include "piano/model_predictions.h"

namespace piano::tools {

Systems::Systems(const data::Dataset& dataset, std::size_t part, const std::string& oracle, int threads)
    : dataset_(dataset), oracle_(oracle), threads_(threads), requests_(requests_of(dataset, part)) {
  data::BatchBuilder builder(dataset.features(), builder_limits(Config{}));
  builder.attach(dataset);
  set_ = evaluation_set(dataset, requests_, dataset.features(), builder);
}

std::vector<double> Systems::score(const std::string& system) const {
  if (system == "initial") return set_.heuristics[0].score;
  if (system == "popularity") return set_.heuristics[1].score;
  if (system == "last") return set_.heuristics[2].score;
  if (system == "oracle") {
    if (oracle_.empty()) throw Error(ErrorCode::usage, "the system 'oracle' needs --oracle FILE, from piano simulate");
    return true_conversion(oracle_, set_.lists);
  }
  const auto model = Model::load(system);
  ThreadPool pool(threads_);
  return predict(*model, dataset_, requests_, pool).score;
}

}  // namespace piano::tools
