// The safetensors format (github.com/huggingface/safetensors): an 8-byte little-endian header length, a JSON header, then the tensors' bytes.
// Models, training state, packed data sets and golden files are all safetensors.
//
// The reader trusts nothing: every number of the header is checked against the file's true size before it is used. Header <= 100 MB, no gaps,
// no trailing bytes, no duplicate names. Every error is one line that names the file: ErrorCode::io when it cannot be read,
// ErrorCode::model when its content is wrong.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/dtype.h"
#include "engine/base/error.h"
#include "engine/base/files.h"

namespace piano {

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;  // aligned to the element's size; lies in the mapped file unless the file's writer did not align it
};

class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);
  // Parses bytes in memory (fuzzing, tests). `name` stands for the path in messages. The bytes must outlive the object.
  SafetensorsFile(std::span<const std::byte> bytes, const std::string& name);

  const std::string& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in file order
  const TensorInfo* find(std::string_view name) const;                 // nullptr when absent
  const TensorInfo& at(std::string_view name) const;                   // throws ErrorCode::model when absent

  // The elements of a tensor; throws ErrorCode::model when absent or of another dtype.
  template <class T>
  std::span<const T> values(std::string_view name) const {
    const TensorInfo& t = typed(name, dtype_of<T>::value);
    return {reinterpret_cast<const T*>(t.bytes.data()), t.bytes.size() / sizeof(T)};
  }

  // content_checksum() against the metadata's "checksum": throws ErrorCode::model when they differ or there is none.
  void verify() const;

 private:
  const TensorInfo& typed(std::string_view name, DType dtype) const;
  void parse(std::span<const std::byte> bytes);

  std::string path_;
  MappedFile file_;
  std::span<const std::byte> data_;  // the tensors' bytes
  std::map<std::string, std::string> metadata_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::vector<std::unique_ptr<std::uint64_t[]>> realigned_;  // copies of tensors that other programs left unaligned
};

// The content's checksum, 16 hex digits. A chain: h = 0, then h = xxh64(piece, seed h) for each piece. The pieces are, for each metadata
// entry but "checksum", by key: key, value; then for each tensor, by name: name, dtype as written in the header, shape (int64 each), bytes.
// All numbers little-endian. Independent of where in the file a tensor lies.
std::string content_checksum(const std::map<std::string, std::string>& metadata, std::span<const TensorInfo> tensors);

// Collects tensors, then writes them in one go. The bytes passed to add() must live until commit().
class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(std::string path) : path_(std::move(path)) {}

  void metadata(const std::string& key, const std::string& value) { metadata_[key] = value; }
  void add(const std::string& name, DType dtype, std::vector<std::int64_t> shape, std::span<const std::byte> bytes);
  template <class T>
  void add(const std::string& name, std::vector<std::int64_t> shape, std::span<const T> values) {
    add(name, dtype_of<T>::value, std::move(shape), std::as_bytes(values));
  }
  template <class T>
  void add(const std::string& name, std::span<const T> values) {
    add(name, {static_cast<std::int64_t>(values.size())}, values);
  }

  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }

  // ensures: `path` holds the complete new file, or is what it was. The checksum is added to the metadata.
  // The bytes are a function of the metadata and the tensors alone (no date, no host name).
  void commit();

 private:
  std::string path_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorInfo> tensors_;
};

// Every container carries "format" (its kind), "format_version" and "min_reader_version" in its metadata.
void write_format(SafetensorsWriter& writer, const std::string& format, int version, int min_reader_version);
// Throws ErrorCode::model when the file is of another kind, or needs a reader newer than `reader_version`. Returns the file's version.
int check_format(const SafetensorsFile& file, const std::string& format, int reader_version);

}  // namespace piano
