// One request of the demo's test part, before and after, with what QDIR attended to and with the truth that only the simulator knows.
#pragma once

#include <string>

#include "data/simulator.h"

namespace piano::tools {

// Text for people. `options` are those that the log was simulated with.
std::string show_request(const data::SimulatorOptions& options, const std::string& data, const std::string& model, const std::string& oracle);

}  // namespace piano::tools
