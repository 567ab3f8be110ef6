#include "engine/base/files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/base/check.h"

namespace piano {

namespace testing {
int fail_file_operation = 0;
}

namespace {

constexpr std::size_t kSpillBuffer = std::size_t{1} << 16;

[[noreturn]] void fail(const std::string& what, const std::string& path, int reason = errno) {
  throw Error(ErrorCode::io, "cannot " + what + " " + path + ": " + std::generic_category().message(reason));
}

[[noreturn]] void fail_irregular(const std::string& what, const std::string& path, mode_t mode) {
  const char* kind = S_ISDIR(mode) ? "folder" : S_ISFIFO(mode) ? "pipe" : S_ISSOCK(mode) ? "socket" : "device";
  throw Error(ErrorCode::io, "cannot " + what + " " + path + ": expected a regular file, got a " + kind);
}

// True when a test asked for this operation to fail; then errno says "disk full".
bool made_to_fail() {
  if (testing::fail_file_operation == 0 || --testing::fail_file_operation != 0) return false;
  errno = ENOSPC;
  return true;
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// Makes a rename durable. Some file systems cannot sync a folder (EINVAL): there is nothing more to ask of them.
bool sync_folder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool ok = !made_to_fail() && (fsync(fd) == 0 || errno == EINVAL);
  const int reason = errno;
  close(fd);
  errno = reason;
  return ok;
}

// The names of temporary files being written. A name is taken back before its string dies.
constexpr int kTemporaries = 64;
std::atomic<const char*> temporaries[kTemporaries];
static_assert(std::atomic<const char*>::is_always_lock_free, "read in a signal handler");

int enter_temporary(const char* name) {
  for (int slot = 0; slot < kTemporaries; ++slot) {
    const char* empty = nullptr;
    if (temporaries[slot].compare_exchange_strong(empty, name)) return slot;
  }
  return -1;  // so many at once: this one would outlive a signal
}

void leave_temporary(int slot) {
  if (slot >= 0) temporaries[slot] = nullptr;
}

}  // namespace

void remove_temporary_files() noexcept {
  for (std::atomic<const char*>& name : temporaries) {
    const char* temporary = name;
    if (temporary != nullptr) unlink(temporary);
  }
}

// ---- MappedFile

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // O_NONBLOCK: a pipe without a writer must not hang us
  if (fd < 0) fail("read", path);
  struct stat status {};
  const int got = fstat(fd, &status);
  int reason = got != 0 ? errno : 0;
  const bool regular = reason != 0 || S_ISREG(status.st_mode);
  if (reason == 0 && regular && status.st_size > 0) {  // an empty file cannot be mapped, and needs not
    void* data = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      reason = errno;
    } else {
      data_ = data;
      size_ = static_cast<std::size_t>(status.st_size);
    }
  }
  close(fd);
  if (!regular) fail_irregular("read", path, status.st_mode);
  if (reason != 0) fail("read", path, reason);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

// ---- AtomicFile

void require_regular_file(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode)) return;
  fail_irregular("write", path, status.st_mode);
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  require_regular_file(path);
  int fd = -1;
  for (unsigned attempt = 0; fd < 0; ++attempt) {  // the name only has to be free: O_EXCL decides
    temporary_ = path + ".tmp." + std::to_string(getpid()) + "-" + std::to_string(attempt);
    fd = made_to_fail() ? -1 : open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 && (errno != EEXIST || attempt == 1000)) fail("write", path);
  }
  file_ = fdopen(fd, "wb");
  if (file_ == nullptr) {
    const int reason = errno;
    close(fd);
    unlink(temporary_.c_str());
    fail("write", path, reason);
  }
  slot_ = enter_temporary(temporary_.c_str());
}

AtomicFile::~AtomicFile() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  unlink(temporary_.c_str());
  leave_temporary(slot_);
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  PIANO_CHECK(file_ != nullptr, "[files] write after commit");
  if (bytes == 0) return;
  if (made_to_fail() || std::fwrite(data, 1, bytes, file_) != bytes) fail("write", path_);
}

void AtomicFile::commit() {
  PIANO_CHECK(file_ != nullptr, "[files] commit twice");
  if (made_to_fail() || std::fflush(file_) != 0) fail("write", path_);
  if (made_to_fail() || fsync(fileno(file_)) != 0) fail("write", path_);
  if (made_to_fail() || rename(temporary_.c_str(), path_.c_str()) != 0) fail("write", path_);
  leave_temporary(slot_);
  std::fclose(std::exchange(file_, nullptr));  // from here on the new file is in place
  if (!sync_folder(folder_of(path_))) fail("sync the folder of", path_);
}

// ---- SpillFile

SpillFile::SpillFile() {
  const char* folder = std::getenv("TMPDIR");
  std::string name = std::string(folder != nullptr && *folder != '\0' ? folder : "/tmp") + "/piano-spill-XXXXXX";
  fd_ = made_to_fail() ? -1 : mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) fail("create the temporary file", name);
  unlink(name.c_str());
}

SpillFile::~SpillFile() {
  unmap();
  delete[] buffer_;
  if (fd_ >= 0) close(fd_);
}

SpillFile::SpillFile(SpillFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      size_(std::exchange(other.size_, 0)),
      buffered_(std::exchange(other.buffered_, 0)),
      mapped_(std::exchange(other.mapped_, 0)),
      buffer_(std::exchange(other.buffer_, nullptr)),
      view_(std::exchange(other.view_, nullptr)) {}

SpillFile& SpillFile::operator=(SpillFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(size_, other.size_);
  std::swap(buffered_, other.buffered_);
  std::swap(mapped_, other.mapped_);
  std::swap(buffer_, other.buffer_);
  std::swap(view_, other.view_);
  return *this;
}

void SpillFile::append(const void* data, std::size_t bytes) {
  unmap();
  if (buffer_ == nullptr) buffer_ = new std::byte[kSpillBuffer];
  const auto* source = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    if (buffered_ == kSpillBuffer) flush();
    const std::size_t n = std::min(bytes, kSpillBuffer - buffered_);
    std::memcpy(buffer_ + buffered_, source, n);
    buffered_ += n;
    size_ += n;
    source += n;
    bytes -= n;
  }
}

void SpillFile::flush() {
  const std::byte* source = buffer_;
  while (buffered_ > 0) {
    const ssize_t n = made_to_fail() ? -1 : pwrite(fd_, source, buffered_, static_cast<off_t>(size_ - buffered_));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("write", "a temporary file (see TMPDIR)");
    source += n;
    buffered_ -= static_cast<std::size_t>(n);
  }
}

void SpillFile::resize(std::size_t bytes) {
  PIANO_CHECK(bytes >= size_, "[files] a spill file only grows");
  unmap();
  flush();
  if (bytes == size_) return;
  // Not ftruncate: a hole that the disk cannot fill later would kill the process when the mapping is written to.
  const int reason = made_to_fail() ? ENOSPC : posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
  if (reason != 0) fail("write", "a temporary file (see TMPDIR)", reason);
  size_ = bytes;
}

std::span<std::byte> SpillFile::map() {
  flush();
  if (view_ == nullptr && size_ > 0) {
    void* view = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (view == MAP_FAILED) fail("map", "a temporary file (see TMPDIR)");
    view_ = view;
    mapped_ = size_;
  }
  return {static_cast<std::byte*>(view_), mapped_};
}

void SpillFile::unmap() {
  if (view_ != nullptr) munmap(view_, mapped_);
  view_ = nullptr;
  mapped_ = 0;
}

}  // namespace piano
