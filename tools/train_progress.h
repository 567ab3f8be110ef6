// How far a training is, on one line.
#pragma once

#include <string>

#include "piano/train.h"
#include "tools/output.h"

namespace piano::tools {

// `what` is named first: which of several trainings it is.
void show(ProgressLine& line, const TrainProgress& progress, const std::string& what = "");

}  // namespace piano::tools
