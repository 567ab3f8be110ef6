// The bytes of a plain or gzip-compressed file, or of stdin, as they come: what has arrived is handed out before more is waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace piano::data {

class ByteSource {
 public:
  // `path` may be "-": stdin. `before_waiting` is called before each read, which may block; may be empty. Throws ErrorCode::io when the file
  // cannot be opened. Compressed or not is told by the first two bytes.
  explicit ByteSource(const std::string& path, std::function<void()> before_waiting = {});
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // Fills the front of `out` (not empty), decompressed; the number of bytes, 0 at the end. Throws ErrorCode::io when the system fails to read;
  // ErrorCode::data, naming the file, for a truncated or corrupt gzip file and for what follows its end and is no gzip member.
  std::size_t read(std::span<char> out);

  const std::string& name() const { return name_; }    // the path, or "<stdin>"
  std::int64_t bytes_done() const { return done_; }    // of the file as stored (compressed)
  std::int64_t bytes_total() const { return total_; }  // 0 when unknown

 private:
  struct Inflater;

  std::size_t read_stored(std::span<char> out);
  std::size_t read_compressed(std::span<char> out);
  [[noreturn]] void corrupt(const std::string& what) const;

  std::string name_;
  std::function<void()> before_waiting_;
  int descriptor_ = -1;
  std::int64_t done_ = 0, total_ = 0;
  bool started_ = false, ended_ = false;
  std::string first_;                   // the bytes that were looked at, when they turned out to be plain
  std::unique_ptr<Inflater> inflater_;  // null: not compressed
};

}  // namespace piano::data
