#include "tools/live_lines.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "data/line_reader.h"
#include "engine/base/error.h"

namespace piano::tools {

bool LiveLines::next(std::string_view& line) {
  constexpr std::size_t kBlock = std::size_t{64} << 10;
  std::size_t searched = 0;  // bytes behind begin_ without a line break
  for (;;) {
    const char* start = buffer_.data() + begin_;
    const std::size_t held = end_ - begin_;
    const void* found = held > searched ? std::memchr(start + searched, '\n', held - searched) : nullptr;
    if (found != nullptr || (at_end_ && held > 0)) {
      const std::size_t length = found != nullptr ? static_cast<std::size_t>(static_cast<const char*>(found) - start) : held;
      line = {start, length};
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      begin_ += length + (found != nullptr ? 1 : 0);
      ++line_;
      return true;
    }
    if (at_end_) return false;
    if (held > data::kMaxLine) {
      throw Error(ErrorCode::data, "<stdin>:" + std::to_string(line_ + 1) + ": the line is longer than " + std::to_string(data::kMaxLine) + " bytes");
    }
    searched = held;
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
    begin_ = 0, end_ = held;
    if (buffer_.size() < end_ + kBlock) buffer_.resize(std::max(2 * buffer_.size(), end_ + kBlock));
    before_waiting_();
    ssize_t got = 0;
    do {
      got = read(STDIN_FILENO, buffer_.data() + end_, kBlock);
    } while (got < 0 && errno == EINTR);
    if (got < 0) throw Error(ErrorCode::io, std::string("<stdin>: cannot read: ") + std::strerror(errno));
    at_end_ = got == 0;
    end_ += static_cast<std::size_t>(got);
  }
}

}  // namespace piano::tools
