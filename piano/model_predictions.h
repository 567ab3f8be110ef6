// A trained model as a system to evaluate.
#pragma once

#include "piano/evaluation.h"
#include "piano/model_file.h"
#include "piano/predictor.h"

namespace piano {

// Scores, and the probabilities that the model gives (traits()); no P_ctr and P_cvr where it predicts counts. The name is left empty.
Predictions predictions_of(const Config& config, const PredictedLogits& logits);

// What the model says of these requests, probabilities calibrated where it is. The data set need not be the one it was trained on.
Predictions predict(const Model& model, const data::Dataset& dataset, std::span<const std::int64_t> requests, ThreadPool& pool,
                    bool permute_past_queries = false);

}  // namespace piano
