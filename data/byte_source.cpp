#include "data/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/error.h"

namespace piano::data {

namespace {

constexpr std::size_t kBlock = std::size_t{256} << 10;  // compressed bytes
constexpr std::string_view kMagic = "\x1f\x8b";
constexpr int kGzipOnly = 15 + 16;                      // window bits, as inflateInit2 wants them

}  // namespace

struct ByteSource::Inflater {
  Inflater() : block(kBlock) { PIANO_CHECK(inflateInit2(&stream, kGzipOnly) == Z_OK, "zlib cannot be started"); }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  void give(std::size_t bytes) {
    stream.next_in = reinterpret_cast<Bytef*>(block.data());
    stream.avail_in = static_cast<uInt>(bytes);
  }

  z_stream stream{};
  std::vector<char> block;  // of the file
  bool inside = true;       // a member, which must not end here; false: between two
};

ByteSource::ByteSource(const std::string& path, std::function<void()> before_waiting)
    : name_(path == "-" ? "<stdin>" : path), before_waiting_(std::move(before_waiting)) {
  descriptor_ = path == "-" ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status {};
  if (descriptor_ >= 0 && fstat(descriptor_, &status) == 0) {
    if (path != "-" && S_ISREG(status.st_mode)) total_ = static_cast<std::int64_t>(status.st_size);
    if (!S_ISDIR(status.st_mode)) return;
    errno = EISDIR;
  }
  const int reason = errno;
  if (descriptor_ >= 0) close(descriptor_);
  throw Error(ErrorCode::io, name_ + ": cannot open: " + std::strerror(reason));
}

ByteSource::~ByteSource() { close(descriptor_); }

std::size_t ByteSource::read(std::span<char> out) {
  if (!started_) {
    started_ = true;
    char byte = 0;
    while (first_.size() < kMagic.size() && kMagic.starts_with(first_) && read_stored({&byte, 1}) == 1) first_ += byte;
    if (first_ == kMagic) {
      inflater_ = std::make_unique<Inflater>();
      std::copy(first_.begin(), first_.end(), inflater_->block.begin());
      inflater_->give(first_.size());
      first_.clear();
    }
  }
  if (inflater_) return read_compressed(out);
  if (first_.empty()) return read_stored(out);
  const std::size_t n = std::min(out.size(), first_.size());
  std::copy_n(first_.begin(), n, out.begin());
  first_.erase(0, n);
  return n;
}

std::size_t ByteSource::read_stored(std::span<char> out) {
  if (ended_) return 0;  // not asked again: a terminal would wait for a second end
  if (before_waiting_) before_waiting_();
  ssize_t got = 0;
  do {
    got = ::read(descriptor_, out.data(), out.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) throw Error(ErrorCode::io, name_ + ": cannot read: " + std::strerror(errno));
  done_ += got;
  ended_ = got == 0;
  return static_cast<std::size_t>(got);
}

std::size_t ByteSource::read_compressed(std::span<char> out) {
  Inflater& in = *inflater_;
  z_stream& stream = in.stream;
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), kBlock));
  const uInt room = stream.avail_out;
  while (stream.avail_out == room) {
    if (stream.avail_in == 0) in.give(read_stored(in.block));
    if (stream.avail_in == 0) {
      if (in.inside) throw Error(ErrorCode::data, name_ + ": the gzip file is truncated; copy it again");
      return 0;
    }
    if (!in.inside) {  // another member, or nothing
      if (*stream.next_in != static_cast<Bytef>(kMagic[0])) corrupt("something else follows the end of the compressed data");
      inflateReset(&stream);
      in.inside = true;
    }
    const int code = inflate(&stream, Z_NO_FLUSH);
    if (code == Z_STREAM_END) in.inside = false;
    else if (code != Z_OK && code != Z_BUF_ERROR) corrupt(stream.msg != nullptr ? stream.msg : zError(code));
  }
  return room - stream.avail_out;
}

void ByteSource::corrupt(const std::string& what) const {
  throw Error(ErrorCode::data, name_ + ": the gzip file is corrupt near byte " + std::to_string(done_ - inflater_->stream.avail_in + 1) + " (" + what +
                                   "); copy it again");
}

}  // namespace piano::data
