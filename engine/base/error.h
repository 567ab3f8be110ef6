// The one exception type that a user of PIANO can meet, and the process exit codes it maps to.
#pragma once

#include <stdexcept>
#include <string>

namespace piano {

// The numeric value is the exit code of the `piano` binary.
enum class ErrorCode : int {
  internal = 1,     // a bug in PIANO, or out of memory (std::bad_alloc)
  usage = 2,        // wrong flag, verb, config key or argument
  data = 3,         // a wrong line in a log or a request, or files that do not fit each other
  model = 4,        // a container of PIANO's own (model, packed data, training state) that is damaged, of another kind or too new
  diverged = 5,     // a non-finite loss in training
  io = 6,           // the operating system refused to read or write
  interrupted = 130 // Ctrl-C, after a checkpoint was written
};

// requires: `message` is one line: what was expected, what came, what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace piano
