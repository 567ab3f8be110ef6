// Messages for people, on stderr. Results go to stdout and never through here.
#pragma once

#include <string_view>

namespace piano {

void log_info(std::string_view message);     // one line
void log_warning(std::string_view message);  // one line, prefixed "warning: "
bool log_is_terminal();                      // stderr is a terminal: progress lines may rewrite themselves
void set_log_quiet(bool quiet);              // drops log_info; warnings stay

}  // namespace piano
