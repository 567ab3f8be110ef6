#include "data/line_reader.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "engine/base/error.h"

namespace piano::data {
namespace {

constexpr std::size_t kBlock = std::size_t{256} << 10;

}  // namespace

LineReader::LineReader(const std::string& path, std::size_t max_line, std::function<void()> before_waiting)
    : source_(path, std::move(before_waiting)), max_line_(max_line) {}

bool LineReader::fill() {
  if (at_end_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < kBlock) buffer_.resize(std::max(buffer_.size() * 2, end_ + kBlock));
  const std::size_t got = source_.read(std::span(buffer_).subspan(end_, kBlock));
  end_ += got;
  at_end_ = got == 0;
  return got > 0;
}

bool LineReader::next(std::string_view& line) {
  std::size_t searched = 0;  // bytes behind begin_ without a line break
  for (;;) {
    const char* start = buffer_.data() + begin_;
    const std::size_t held = end_ - begin_;
    const void* found = held > searched ? std::memchr(start + searched, '\n', held - searched) : nullptr;
    const std::size_t length = found ? static_cast<std::size_t>(static_cast<const char*>(found) - start) : held;
    if (length > max_line_) {
      throw Error(ErrorCode::data,
                  file() + ":" + std::to_string(line_ + 1) + ": the line is longer than " + std::to_string(max_line_) + " bytes");
    }
    if (!found) {
      searched = held;
      if (fill()) continue;
      if (held == 0) return false;
    }
    line = std::string_view(buffer_.data() + begin_, length);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    begin_ += length + (found ? 1 : 0);
    ++line_;
    return true;
  }
}

}  // namespace piano::data
