#include "piano/model_predictions.h"

namespace piano {

Predictions predictions_of(const Config& config, const PredictedLogits& logits) {
  Predictions p;
  for (std::size_t i = 0; i < logits.click.size(); ++i) {
    p.score.push_back(ranking_score(config, logits.click[i], logits.conversion[i], logits.value[i]));
    p.pctr.push_back(sigmoid(logits.click[i]));
    p.pcvr.push_back(sigmoid(logits.conversion[i]));
  }
  if (config.list.label == ListLabel::count) return p;  // counts, no probabilities
  for (std::size_t l = 0; l < logits.list_click.size(); ++l) {
    p.list_ctr.push_back(sigmoid(logits.list_click[l]));
    p.list_cvr.push_back(sigmoid(logits.list_conversion[l]));
  }
  return p;
}

Predictions predict(const Model& model, const data::Dataset& dataset, std::span<const std::int64_t> requests, ThreadPool& pool,
                    bool permute_past_queries) {
  const Model::Impl& m = model.impl();
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(dataset);
  Predictor predictor(m.config, *m.network, m.parameters, m.features, builder, pool);
  return predictions_of(m.config, predictor.predict(dataset, requests, permute_past_queries));
}

}  // namespace piano
