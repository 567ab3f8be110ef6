// Lines of a plain or gzip-compressed file, or of stdin, in bounded memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace piano::data {

inline constexpr std::size_t kMaxLine = std::size_t{64} << 20;  // bytes

class LineReader {
 public:
  // `path` may be "-": stdin. Throws ErrorCode::io when it cannot be opened.
  explicit LineReader(const std::string& path, std::size_t max_line = kMaxLine);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next line, without its "\n" or "\r\n"; false at the end. The view is valid until the next call.
  // Throws ErrorCode::data, naming the file, for a truncated or corrupt gzip file and for a line longer than max_line; ErrorCode::io when the
  // system fails to read.
  bool next(std::string_view& line);

  const std::string& file() const { return name_; }    // the path, or "<stdin>"
  std::int64_t line() const { return line_; }          // of the line last given, from 1
  std::int64_t bytes_done() const;                     // of the file as stored (compressed)
  std::int64_t bytes_total() const { return total_; }  // 0 when unknown

 private:
  bool fill();  // reads more behind end_; false at the end of the file

  std::string name_;
  std::size_t max_line_;
  void* file_ = nullptr;  // gzFile, which reads plain files too
  std::int64_t line_ = 0, total_ = 0;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  bool at_end_ = false;
};

}  // namespace piano::data
