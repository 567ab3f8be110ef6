#include "piano/model_predictions.h"

#include "piano/models.h"

namespace piano {

Predictions predictions_of(const Config& config, const PredictedLogits& logits) {
  const ModelTraits& gives = traits(config);
  const bool counts = config.list.label == ListLabel::count;  // no probabilities
  const auto probabilities = [](const std::vector<float>& column, bool given) {
    std::vector<double> p;
    for (std::size_t i = 0; given && i < column.size(); ++i) p.push_back(sigmoid(column[i]));
    return p;
  };
  Predictions p;
  for (std::size_t i = 0; i < logits.click.size(); ++i) {
    p.score.push_back(ranking_score(config, logits.click[i], logits.conversion[i], logits.value[i]));
  }
  p.pctr = probabilities(logits.click, gives.probabilities);
  p.pcvr = probabilities(logits.conversion, gives.conversion);
  p.list_ctr = probabilities(logits.list_click, gives.list_click && !counts);
  p.list_cvr = probabilities(logits.list_conversion, gives.list_conversion && !counts);
  return p;
}

Predictions predict(const Model& model, const data::Dataset& dataset, std::span<const std::int64_t> requests, ThreadPool& pool,
                    bool permute_past_queries) {
  const Model::Impl& m = model.impl();
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(dataset);
  Predictor predictor(m.config, *m.network, m.parameters, m.features, builder, pool);
  const PredictedLogits logits = predictor.predict(dataset, requests, permute_past_queries);
  Predictions predictions = predictions_of(m.config, logits);
  m.calibration.apply(logits, predictions);
  return predictions;
}

}  // namespace piano
