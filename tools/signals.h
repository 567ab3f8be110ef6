// Ctrl-C and its kin: nothing half-written stays behind.
#pragma once

#include <atomic>

namespace piano::tools {

// From here on SIGINT, SIGTERM and SIGHUP remove the temporary files before they end the process. One that is ignored (nohup) stays ignored.
void clean_up_on_signals();

// While it lives, the first SIGINT, SIGTERM or SIGHUP asks to stop; the next one ends the process as above.
class StopOnSignal {
 public:
  StopOnSignal();
  ~StopOnSignal();
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

  const std::atomic<bool>& asked() const;
};

}  // namespace piano::tools
