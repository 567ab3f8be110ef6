// Results, on stdout, and what people see meanwhile, on stderr.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

namespace piano::tools {

// The reader of stdout has closed its end (`piano ... | head`). Not worth a message.
struct ReaderGone {};

// Throws ErrorCode::io when stdout cannot be written, ReaderGone when nobody reads it any more. Buffered: flush_results() at the end.
void print(std::string_view text);
void flush_results();

// "1 h 02 min", "3 min 20 s", "12 s".
std::string duration_text(double seconds);
std::string bytes_text(double bytes);     // "4.2 MB"
std::string count_text(std::int64_t n);   // "1,234,567"
std::string counted(std::int64_t n, const std::string& noun);  // "1 request", "2,000 requests"
std::string number_text(double x, int decimals);
std::string percent_text(int decimals, double fraction);  // "12.5 %"

// Columns as wide as their widest cell. alignment[c]: 'l' or 'r'. Widths count UTF-8 code points.
std::string aligned(const std::vector<std::vector<std::string>>& rows, std::string_view alignment, std::string_view indent = "");

// One line that says how far something is: rewritten in place on a terminal, otherwise a plain line every few seconds.
class ProgressLine {
 public:
  ~ProgressLine() { clear(); }
  void show(const std::string& text);  // cheap to call often
  void clear();                        // before anything else is written to stderr

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_ = Clock::now();
  bool visible_ = false;
};

// "[#######.............]"
std::string bar(double fraction);

}  // namespace piano::tools
