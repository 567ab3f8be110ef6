#include "tools/systems.h"

#include "engine/base/error.h"
#include "engine/core/thread_pool.h"
#include "piano/model_file.h"
#include "piano/predictor.h"

namespace piano::tools {

std::vector<std::int64_t> requests_of(const data::Dataset& dataset, const std::string& part) {
  std::vector<std::int64_t> requests;
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    if (part == "all" || kParts[static_cast<std::size_t>(dataset.split(r))] == part) requests.push_back(r);
  }
  if (requests.empty()) throw Error(ErrorCode::data, dataset.path() + ": no request in the part '" + part + "'; try --split all");
  return requests;
}

Systems::Systems(const data::Dataset& dataset, const std::string& part, const std::string& oracle, int threads)
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
  const Model::Impl& m = model->impl();
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(dataset_);
  ThreadPool pool(threads_);
  const PredictedLogits logits = Predictor(m.config, *m.network, m.parameters, m.features, builder, pool).predict(dataset_, requests_);
  std::vector<double> score;
  for (std::size_t i = 0; i < logits.click.size(); ++i) {
    score.push_back(ranking_score(m.config, logits.click[i], logits.conversion[i], logits.value[i]));
  }
  return score;
}

}  // namespace piano::tools
