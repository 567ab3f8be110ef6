// A trained model as a system to evaluate.
#pragma once

#include "piano/evaluation.h"
#include "piano/model_file.h"
#include "piano/predictor.h"

namespace piano {

// Throws ErrorCode::model for a score that is not finite. Scores, and the probabilities that the model gives (traits()); no P_ctr and P_cvr where it predicts counts. The name is left empty.
Predictions predictions_of(const Config& config, const PredictedLogits& logits);

// What the model says of these requests, probabilities calibrated where it is. The data set need not be the one it was trained on.
// `by`: as if the model's rank.by were that.
Predictions predict(const Model& model, const data::Dataset& dataset, std::span<const std::int64_t> requests, ThreadPool& pool,
                    bool permute_past_queries = false, const Device& device = cpu_device());
Predictions predict(const Model& model, const data::Dataset& dataset, std::span<const std::int64_t> requests, ThreadPool& pool,
                    bool permute_past_queries, RankBy by, const Device& device = cpu_device());

// Whether a model tells the orders of a list apart, as rank.by = list_search needs.
bool judges_orders(const Config& config);
// What such a model says of every system's order: fills order_ctr and order_cvr. requires: judges_orders()
void judge_orders(const Model& model, const data::Dataset& dataset, std::span<const std::int64_t> requests, ThreadPool& pool,
                  std::span<Predictions> systems, const Device& device = cpu_device());

}  // namespace piano
