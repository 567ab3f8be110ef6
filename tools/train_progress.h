// How far a training is, on one line.
#pragma once

#include <string>

#include "piano/config.h"
#include "piano/train.h"
#include "tools/output.h"

namespace piano::tools {

// `what` is named first: which of several trainings it is.
void show(ProgressLine& line, const TrainProgress& progress, const std::string& what = "");

// TrainSummary::best for people: a loss is shown as one, not as the negative number that is maximised.
std::string validation_text(const Config& config, double best);

}  // namespace piano::tools
