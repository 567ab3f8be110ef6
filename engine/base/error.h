// The one exception type that a user of PIANO can meet, and the process exit codes it maps to.
#pragma once

#include <stdexcept>
#include <string>

namespace piano {

// The numeric value is the exit code of the `piano` binary.
enum class ErrorCode : int {
  internal = 1,     // a bug in PIANO
  usage = 2,        // wrong flag, verb, config key or argument
  data = 3,         // bad input data
  model = 4,        // bad, incompatible or too new model / data container
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
