#include "engine/base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>

namespace piano {
namespace {

std::atomic<bool> quiet{false};

void write_line(std::string_view prefix, std::string_view message) {
  std::string line(prefix);
  line.append(message).push_back('\n');
  std::fwrite(line.data(), 1, line.size(), stderr);  // one call per line: lines of several threads do not mix
}

}  // namespace

void log_info(std::string_view message) {
  if (!quiet) write_line("", message);
}

void log_warning(std::string_view message) { write_line("warning: ", message); }

bool log_is_terminal() { return isatty(STDERR_FILENO) == 1; }

void set_log_quiet(bool value) { quiet = value; }

}  // namespace piano
