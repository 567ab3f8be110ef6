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
    p.score.push_back(logits.place.empty() ? ranking_score(config, logits, i) : -static_cast<double>(logits.place[i]));
  }
  require_finite(p.score);
  p.pctr = probabilities(logits.click, gives.probabilities);
  p.pcvr = probabilities(logits.conversion, gives.conversion);
  p.list_ctr = probabilities(logits.list_click, gives.list_click && !counts);
  p.list_cvr = probabilities(logits.list_conversion, gives.list_conversion && !counts);
  return p;
}

Predictions predict(const Model& model, const data::Dataset& dataset, std::span<const std::int64_t> requests, ThreadPool& pool,
                    bool permute_past_queries, const Device& device) {
  return predict(model, dataset, requests, pool, permute_past_queries, model.impl().config.rank.by, device);
}

Predictions predict(const Model& model, const data::Dataset& dataset, std::span<const std::int64_t> requests, ThreadPool& pool,
                    bool permute_past_queries, RankBy by, const Device& device) {
  const Model::Impl& m = model.impl();
  Config config = m.config;
  config.rank.by = by;
  check(config);
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(dataset);
  Predictor predictor(config, *m.network, m.parameters, m.features, builder, pool, device);
  const PredictedLogits logits = predictor.predict(dataset, requests, permute_past_queries);
  Predictions predictions = predictions_of(config, logits);
  m.calibration.apply(logits, predictions);
  return predictions;
}

bool judges_orders(const Config& config) {
  return traits(config).list_conversion && config.encoder.position == PositionMode::displayed && config.list.label != ListLabel::count;
}

void judge_orders(const Model& model, const data::Dataset& dataset, std::span<const std::int64_t> requests, ThreadPool& pool,
                  std::span<Predictions> systems, const Device& device) {
  const Model::Impl& m = model.impl();
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(dataset);
  Predictor predictor(m.config, *m.network, m.parameters, m.features, builder, pool, device);
  std::vector<std::span<const double>> scores;
  for (const Predictions& s : systems) scores.emplace_back(s.score);
  const std::vector<JudgedOrders> judged = predictor.judge(dataset, requests, scores);
  for (std::size_t s = 0; s < systems.size(); ++s) {
    systems[s].order_ctr.clear(), systems[s].order_cvr.clear();
    for (std::size_t l = 0; l < requests.size(); ++l) {
      const double p_ctr = sigmoid(judged[s].list_click[l]);
      systems[s].order_ctr.push_back(p_ctr);
      const std::size_t kinds = m.features.schema.kinds();
      for (std::size_t k = 0; k < kinds; ++k) systems[s].order_cvr.push_back(p_ctr * sigmoid(judged[s].list_conversion[l * kinds + k]));
    }
  }
}

}  // namespace piano
