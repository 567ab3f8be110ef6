// Files: whole files mapped into memory, and files that appear complete or not at all.
#pragma once

#include <cstddef>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

namespace piano {

// A read-only view of a whole file. Throws ErrorCode::io with the path and the system's reason.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Throws ErrorCode::io when `path` exists and is no regular file: a result is renamed into place, which would destroy a device or a pipe.
void require_regular_file(const std::string& path);

// Writes a temporary file beside `path`, then on commit(): fsync, rename, fsync of the folder. Without commit() the temporary file is removed and
// an existing `path` is untouched. Throws ErrorCode::io.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
  int slot_ = -1;  // where temporary_ stands for remove_temporary_files()
};

// Removes the temporary files of all AtomicFiles that are being written. For the handler of a signal that ends the process: async-signal-safe.
void remove_temporary_files() noexcept;

// A temporary file that is unlinked at once: it disappears with the process. Grows by append(), then is read back through map().
// This is how `prepare` keeps columns out of memory.
class SpillFile {
 public:
  SpillFile();
  ~SpillFile();
  SpillFile(SpillFile&&) noexcept;
  SpillFile& operator=(SpillFile&&) noexcept;
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;

  void append(const void* data, std::size_t bytes);
  std::size_t size() const { return size_; }
  void resize(std::size_t bytes);      // zero-filled growth
  std::span<std::byte> map();          // read-write view of everything appended; valid until the next append or resize

 private:
  void flush();
  void unmap();
  int fd_ = -1;
  std::size_t size_ = 0, buffered_ = 0, mapped_ = 0;
  std::byte* buffer_ = nullptr;
  void* view_ = nullptr;
};

namespace testing {
// The n-th file operation from now (create, write, flush, sync, rename) fails as on a full disk; 0: none does. For one thread.
extern int fail_file_operation;
}  // namespace testing

}  // namespace piano
