// Cases timed on demand, so that another program can take our times and its own in turn, in one run.
#pragma once

#include <string>
#include <vector>

#include "engine/core/device.h"

namespace piano::tools {

// Reads commands from stdin, one a line, and answers each with one JSON object a line, until `quit` or the end. `folder` is from export_cases().
//   train CASE THREADS STEPS           {"ms": [of each step], "loss": of the last one, "step_flops"}
//   infer CASE THREADS REPEATS [COUNT] {"us": [of each answer], "p50", "p99", "max"}; COUNT requests in turn, default 1: always the first.
//                                      Nothing is kept of a history from one request to the next
//   infer-known ...                    the same, with what was computed of a user's history kept, as a session does unless told not to
//   forward CASE LISTS REPEATS         {"ms": [of each pass over the first request, LISTS times, until the logits are the host's], "flops", "difference": from the CPU's}
//   throughput CASE THREADS SECONDS    {"lists_per_second"}: a session a thread
//   machine THREADS                    {"level", "fma_gflops", "dram_gb_s", "l2_gb_s"}: peaks of THREADS cores, now
//   memory                             {"peak", "current", "anonymous", "file"}: bytes of this process
// The first command of a case loads it and takes two steps or answers that are not counted; a case stays loaded until another one comes.
// `train` and `forward` run on `device`, the others on the CPU; of a GPU's steps there is one time, their mean. A command that fails is answered with {"error": "..."}.
void serve_cases(const std::string& folder, const std::vector<std::string>& assignments, const Device& device);

}  // namespace piano::tools
