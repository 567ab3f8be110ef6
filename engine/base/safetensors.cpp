#include "engine/base/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/base/check.h"

namespace piano {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are mapped as they are: little-endian");

using Json = nlohmann::json;

constexpr std::size_t kMaxHeader = 100'000'000;
constexpr const char* kMetadata = "__metadata__";

constexpr std::array<std::pair<const char*, DType>, 5> kDTypes{
    {{"F32", DType::f32}, {"F64", DType::f64}, {"I32", DType::i32}, {"I64", DType::i64}, {"U8", DType::u8}}};

const char* dtype_name(DType dtype) {
  for (const auto& [name, value] : kDTypes) {
    if (value == dtype) return name;
  }
  return "?";
}

// Text from a file, fit for a one-line message.
std::string quoted(const std::string& text) {
  return Json(text.size() <= 80 ? text : text.substr(0, 80) + "...").dump(-1, ' ', true, Json::error_handler_t::replace);
}

// Errors of content; parse() puts the file's name in front.
[[noreturn]] void bad(const std::string& message) { throw Error(ErrorCode::model, message); }

// The header's JSON, without what nlohmann lets pass: duplicate keys, bytes after a NUL, and nesting that the format has no use for.
Json parse_header(std::string_view text) {
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > 3) bad("header is nested too deeply");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      bad("header has " + quoted(value.get<std::string>()) + " twice");
    }
    return true;
  };
  if (text.empty() || text.front() != '{' || text.find('\0') != text.npos) bad("header is not a JSON object");
  try {
    return Json::parse(text, watch);
  } catch (const Json::parse_error& e) {
    bad("header is not valid JSON at byte " + std::to_string(e.byte));
  } catch (const Json::exception&) {
    bad("header has a number that is out of range");
  }
}

std::map<std::string, std::string> parse_metadata(const Json& json) {
  if (!json.is_object()) bad("__metadata__ is not an object");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) bad("metadata " + quoted(key) + " is not a string");
    metadata[key] = value.get<std::string>();
  }
  return metadata;
}

// A non-negative integer below 2^63.
std::size_t size_value(const Json& json, const std::string& what) {
  if (!json.is_number_unsigned() || json.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
    bad(what + " is not a size");
  }
  return json.get<std::size_t>();
}

// a * b, or an error when it is 2^63 or more.
std::size_t checked_product(std::size_t a, std::size_t b, const std::string& what) {
  if (b != 0 && a > std::size_t{std::numeric_limits<std::int64_t>::max()} / b) bad(what + " is too large");
  return a * b;
}

// One tensor's header entry, checked against the `size` bytes that the file has. Alignment is the caller's business.
TensorInfo parse_tensor(const std::string& name, const Json& json, std::span<const std::byte> data) {
  const std::string what = "tensor " + quoted(name);
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") || !json.contains("data_offsets")) {
    bad(what + ": expected an object with dtype, shape and data_offsets");
  }
  const Json& dtype = json["dtype"];
  const Json& shape = json["shape"];
  const Json& offsets = json["data_offsets"];
  if (!dtype.is_string() || !shape.is_array() || !offsets.is_array() || offsets.size() != 2) {
    bad(what + ": dtype must be a string, shape an array, data_offsets two numbers");
  }

  TensorInfo tensor;
  tensor.name = name;
  const auto known = std::find_if(kDTypes.begin(), kDTypes.end(), [&](const auto& d) { return dtype.get_ref<const std::string&>() == d.first; });
  if (known == kDTypes.end()) {
    bad(what + ": dtype " + quoted(dtype.get<std::string>()) + " is not supported (F32, F64, I32, I64 and U8 are)");
  }
  tensor.dtype = known->second;
  std::size_t bytes = size_of(tensor.dtype);
  for (const Json& dim : shape) {
    const std::size_t n = size_value(dim, what + ": a dimension");
    bytes = checked_product(bytes, n, what + ": shape");
    tensor.shape.push_back(static_cast<std::int64_t>(n));
  }
  const std::size_t begin = size_value(offsets[0], what + ": data_offsets");
  const std::size_t end = size_value(offsets[1], what + ": data_offsets");
  if (begin > end || end > data.size()) bad(what + ": data_offsets leave the file, which may be truncated");
  if (end - begin != bytes) {
    bad(what + ": shape needs " + std::to_string(bytes) + " bytes, data_offsets give " + std::to_string(end - begin));
  }
  tensor.bytes = data.subspan(begin, bytes);
  return tensor;
}

}  // namespace

// ---- reading

SafetensorsFile::SafetensorsFile(const std::string& path) : path_(path), file_(path) { parse(file_.bytes()); }

SafetensorsFile::SafetensorsFile(std::span<const std::byte> bytes, const std::string& name) : path_(name) { parse(bytes); }

void SafetensorsFile::parse(std::span<const std::byte> bytes) try {
  std::uint64_t length = 0;
  if (bytes.size() < sizeof(length)) bad("too short to be a safetensors file");
  std::memcpy(&length, bytes.data(), sizeof(length));
  bytes = bytes.subspan(sizeof(length));
  if (length > kMaxHeader) bad("header of " + std::to_string(length) + " bytes: not a safetensors file");
  if (length > bytes.size()) bad("header is cut off: the file is truncated or not a safetensors file");
  const Json header = parse_header({reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(length)});
  data_ = bytes.subspan(static_cast<std::size_t>(length));

  for (const auto& [name, value] : header.items()) {
    if (name == kMetadata) {
      metadata_ = parse_metadata(value);
    } else {
      tensors_.push_back(parse_tensor(name, value, data_));
    }
  }
  // File order. An empty tensor comes before the one that begins at the same byte.
  std::stable_sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::pair(a.bytes.data(), a.bytes.size()) < std::pair(b.bytes.data(), b.bytes.size());
  });
  const std::byte* expected = data_.data();
  for (const TensorInfo& t : tensors_) {
    if (t.bytes.data() != expected) bad("tensor " + quoted(t.name) + ": gap or overlap before its bytes");
    expected += t.bytes.size();
  }
  if (expected != data_.data() + data_.size()) bad("bytes that belong to no tensor at the end");

  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    TensorInfo& t = tensors_[i];
    index_[t.name] = i;
    if (reinterpret_cast<std::uintptr_t>(t.bytes.data()) % size_of(t.dtype) == 0) continue;
    realigned_.push_back(std::make_unique<std::uint64_t[]>(t.bytes.size() / sizeof(std::uint64_t) + 1));
    std::memcpy(realigned_.back().get(), t.bytes.data(), t.bytes.size());
    t.bytes = {reinterpret_cast<const std::byte*>(realigned_.back().get()), t.bytes.size()};
  }
} catch (const Error& e) {
  throw Error(e.code(), path_ + ": " + e.what());
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

const TensorInfo& SafetensorsFile::at(std::string_view name) const {
  const TensorInfo* tensor = find(name);
  if (tensor == nullptr) throw Error(ErrorCode::model, path_ + ": tensor " + quoted(std::string(name)) + " is missing");
  return *tensor;
}

const TensorInfo& SafetensorsFile::typed(std::string_view name, DType dtype) const {
  const TensorInfo& tensor = at(name);
  if (tensor.dtype != dtype) {
    throw Error(ErrorCode::model, path_ + ": tensor " + quoted(tensor.name) + ": expected " + dtype_name(dtype) + ", got " +
                                      dtype_name(tensor.dtype));
  }
  return tensor;
}

// ---- checksum

std::string content_checksum(const std::map<std::string, std::string>& metadata, std::span<const TensorInfo> tensors) {
  std::uint64_t hash = 0;
  const auto update = [&](const void* data, std::size_t bytes) { hash = XXH64(data, bytes, hash); };
  const auto update_text = [&](std::string_view text) { update(text.data(), text.size()); };

  for (const auto& [key, value] : metadata) {
    if (key == "checksum") continue;
    update_text(key);
    update_text(value);
  }
  std::vector<const TensorInfo*> by_name;
  for (const TensorInfo& t : tensors) by_name.push_back(&t);
  std::sort(by_name.begin(), by_name.end(), [](const TensorInfo* a, const TensorInfo* b) { return a->name < b->name; });
  for (const TensorInfo* t : by_name) {
    update_text(t->name);
    update_text(dtype_name(t->dtype));
    update(t->shape.data(), t->shape.size() * sizeof(std::int64_t));
    update(t->bytes.data(), t->bytes.size());
  }
  std::string hex(16, '0');
  for (std::size_t i = hex.size(); i-- > 0; hash >>= 4) hex[i] = "0123456789abcdef"[hash & 15];
  return hex;
}

void SafetensorsFile::verify() const {
  const auto stored = metadata_.find("checksum");
  if (stored == metadata_.end()) throw Error(ErrorCode::model, path_ + ": has no checksum");
  const std::string actual = content_checksum(metadata_, tensors_);
  if (stored->second != actual) {
    throw Error(ErrorCode::model, path_ + ": checksum is " + actual + ", expected " + quoted(stored->second) + ": the file is damaged");
  }
}

// ---- writing

void SafetensorsWriter::add(const std::string& name, DType dtype, std::vector<std::int64_t> shape, std::span<const std::byte> bytes) {
  std::size_t expected = size_of(dtype);
  for (const std::int64_t dim : shape) {
    PIANO_CHECK(dim >= 0, "[safetensors] tensor " + name + ": negative dimension");
    expected = checked_product(expected, static_cast<std::size_t>(dim), "[safetensors] tensor " + name);
  }
  PIANO_CHECK(expected == bytes.size(), "[safetensors] tensor " + name + ": shape needs " + std::to_string(expected) + " bytes, got " +
                                            std::to_string(bytes.size()));
  PIANO_CHECK(name != kMetadata, "[safetensors] a tensor cannot be called __metadata__");
  const auto same = [&](const TensorInfo& t) { return t.name == name; };
  PIANO_CHECK(std::none_of(tensors_.begin(), tensors_.end(), same), "[safetensors] tensor " + name + " added twice");
  tensors_.push_back({name, dtype, std::move(shape), bytes});
}

void SafetensorsWriter::commit() {
  // Wide elements first: then every tensor lies at a multiple of its element's size, though the format allows no gaps.
  std::stable_sort(tensors_.begin(), tensors_.end(),
                   [](const TensorInfo& a, const TensorInfo& b) { return size_of(a.dtype) > size_of(b.dtype); });
  metadata_["checksum"] = content_checksum(metadata_, tensors_);

  nlohmann::ordered_json header;
  try {
    header[kMetadata] = metadata_;
    std::size_t offset = 0;
    for (const TensorInfo& t : tensors_) {
      header[t.name] = {{"dtype", dtype_name(t.dtype)}, {"shape", t.shape}, {"data_offsets", {offset, offset + t.bytes.size()}}};
      offset += t.bytes.size();
    }
    std::string text = header.dump();  // throws on text that is not UTF-8: what was written could not be read back
    text.append((8 - text.size() % 8) % 8, ' ');
    if (text.size() > kMaxHeader) throw Error(ErrorCode::model, path_ + ": header would be larger than the format allows");

    AtomicFile file(path_);
    const std::uint64_t length = text.size();
    file.write(&length, sizeof(length));
    file.write(text);
    for (const TensorInfo& t : tensors_) file.write(t.bytes.data(), t.bytes.size());
    file.commit();
  } catch (const Json::exception&) {
    throw Error(ErrorCode::internal, path_ + ": a name or metadata value is not UTF-8");
  }
}

// ---- versions

void write_format(SafetensorsWriter& writer, const std::string& format, int version, int min_reader_version) {
  writer.metadata("format", format);
  writer.metadata("format_version", std::to_string(version));
  writer.metadata("min_reader_version", std::to_string(min_reader_version));
}

int check_format(const SafetensorsFile& file, const std::string& format, int reader_version) {
  const auto text = [&](const char* key) {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end()) throw Error(ErrorCode::model, file.path() + ": metadata " + key + " is missing: not a file of PIANO");
    return found->second;
  };
  const auto number = [&](const char* key) {
    const std::string value = text(key);
    int result = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), result);
    if (error != std::errc{} || end != value.data() + value.size() || result < 1) {
      throw Error(ErrorCode::model, file.path() + ": metadata " + key + ": expected a version from 1, got " + quoted(value));
    }
    return result;
  };
  if (text("format") != format) {
    throw Error(ErrorCode::model, file.path() + ": expected a file of format " + format + ", got " + quoted(text("format")));
  }
  const int needed = number("min_reader_version");
  if (needed > reader_version) {
    throw Error(ErrorCode::model, file.path() + ": needs a reader of " + format + " version " + std::to_string(needed) + ", this one is " +
                                      std::to_string(reader_version) + ": use a newer piano");
  }
  return number("format_version");
}

}  // namespace piano
