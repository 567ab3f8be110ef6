// Lines of standard input as they come: a line is handed out as soon as it is complete, so that a program at the other end of two pipes can
// ask and wait for the answer. (data::LineReader, which reads whole blocks, is for files.)
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace piano::tools {

class LiveLines {
 public:
  // `before_waiting` is called whenever no complete line is left and the next read may block.
  explicit LiveLines(std::function<void()> before_waiting) : before_waiting_(std::move(before_waiting)) {}

  // The next line without its line break; false at the end. Valid until the next call. Throws ErrorCode::io; ErrorCode::data for a line
  // longer than data::kMaxLine.
  bool next(std::string_view& line);

 private:
  std::function<void()> before_waiting_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  std::int64_t line_ = 0;
  bool at_end_ = false;
};

}  // namespace piano::tools
