#include "data/line_reader.h"

#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/error.h"

namespace piano::data {
namespace {

constexpr std::size_t kBlock = std::size_t{256} << 10;

gzFile as_gz(void* file) { return static_cast<gzFile>(file); }

}  // namespace

LineReader::LineReader(const std::string& path, std::size_t max_line) : name_(path == "-" ? "<stdin>" : path), max_line_(max_line) {
  struct stat status {};
  if (path == "-") {
    const int descriptor = dup(STDIN_FILENO);
    if (descriptor >= 0) file_ = gzdopen(descriptor, "rb");
  } else if (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    errno = EISDIR;
  } else {
    file_ = gzopen(path.c_str(), "rb");
    if (file_ && S_ISREG(status.st_mode)) total_ = static_cast<std::int64_t>(status.st_size);
  }
  if (!file_) throw Error(ErrorCode::io, name_ + ": cannot open: " + std::strerror(errno));
  gzbuffer(as_gz(file_), static_cast<unsigned>(kBlock));
}

LineReader::~LineReader() { gzclose(as_gz(file_)); }

std::int64_t LineReader::bytes_done() const { return static_cast<std::int64_t>(gzoffset(as_gz(file_))); }

bool LineReader::fill() {
  if (at_end_) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ < kBlock) buffer_.resize(std::max(buffer_.size() * 2, end_ + kBlock));
  const int got = gzread(as_gz(file_), buffer_.data() + end_, static_cast<unsigned>(kBlock));
  // A file that stops in mid-stream gives its last bytes first and its error beside them: look at both.
  int code = Z_OK;
  const char* reason = gzerror(as_gz(file_), &code);
  if (code == Z_ERRNO) throw Error(ErrorCode::io, name_ + ": cannot read: " + std::strerror(errno));
  if (code == Z_BUF_ERROR) throw Error(ErrorCode::data, name_ + ": the gzip file is truncated; copy it again");
  if (got < 0 || (code != Z_OK && code != Z_STREAM_END))
    throw Error(ErrorCode::data, name_ + ": the gzip file is corrupt (" + reason + ") after line " + std::to_string(line_));
  end_ += static_cast<std::size_t>(got);
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
                  name_ + ":" + std::to_string(line_ + 1) + ": the line is longer than " + std::to_string(max_line_) + " bytes");
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
