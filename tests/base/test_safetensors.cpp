#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "engine/base/safetensors.h"
#include "tests/base/temporary_folder.h"

using namespace piano;

namespace {

// A file of the given header and data, as bytes.
std::string file_of(const std::string& header, const std::string& data = "") {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data;
}

SafetensorsFile parsed(const std::string& bytes) { return {std::as_bytes(std::span(bytes)), "memory"}; }

// The message of the error that `bytes` must give, without the file's name.
std::string error_of(const std::string& bytes) {
  try {
    parsed(bytes);
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::model);
    const std::string message = e.what();
    CHECK(message.starts_with("memory: "));
    CHECK(message.find('\n') == std::string::npos);
    return message.substr(8);
  }
  return "no error";
}

void fails(const std::string& header, const std::string& data, const std::string& part) {
  const std::string message = error_of(file_of(header, data));
  INFO("header: ", header);
  INFO("message: ", message);
  CHECK(message.find(part) != std::string::npos);
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

// A file with a tensor of every dtype, one of them empty, one a scalar.
void write_sample(const std::string& path) {
  static const std::vector<std::uint8_t> bytes{1, 2, 3};
  static const std::vector<float> floats{1.5f, -2, 0, 3, 4, 5};
  static const std::vector<double> doubles{0.1};
  static const std::vector<std::int32_t> ints{7, -8, 9};
  static const std::vector<std::int64_t> longs{1LL << 40, -1};
  SafetensorsWriter writer(path);
  write_format(writer, "sample", 2, 1);
  writer.metadata("note", "line\n\"quoted\" \xc3\xa4");
  writer.add("bytes", std::span<const std::uint8_t>(bytes));
  writer.add("floats", {2, 3}, std::span<const float>(floats));
  writer.add("nothing", {0, 4}, std::span<const float>());
  writer.add("scalar", {}, std::span<const double>(doubles));
  writer.add("ints", std::span<const std::int32_t>(ints));
  writer.add("longs", std::span<const std::int64_t>(longs));
  writer.commit();
}

}  // namespace

TEST_CASE("what is written is read back, aligned, and verifies") {
  const TemporaryFolder folder;
  write_sample(folder / "a");
  const SafetensorsFile file(folder / "a");
  CHECK(file.metadata().at("note") == "line\n\"quoted\" \xc3\xa4");
  CHECK(file.tensors().size() == 6);
  CHECK(file.at("floats").shape == std::vector<std::int64_t>{2, 3});
  CHECK(file.at("scalar").shape.empty());
  CHECK(file.values<double>("scalar")[0] == 0.1);
  CHECK(file.values<float>("floats")[1] == -2);
  CHECK(file.values<float>("nothing").empty());
  CHECK(file.values<std::int32_t>("ints")[2] == 9);
  CHECK(file.values<std::int64_t>("longs")[0] == 1LL << 40);
  CHECK(file.values<std::uint8_t>("bytes").size() == 3);
  for (const TensorInfo& t : file.tensors()) {
    CHECK(reinterpret_cast<std::uintptr_t>(t.bytes.data()) % size_of(t.dtype) == 0);
  }
  CHECK(file.tensors().front().name == "scalar");  // wide elements first, then in the order of add()
  CHECK(file.tensors().back().name == "bytes");
  CHECK(file.find("none") == nullptr);
  CHECK_THROWS_AS(file.at("none"), Error);
  CHECK_THROWS_WITH_AS(file.values<float>("ints"), (folder / "a" + ": tensor \"ints\": expected F32, got I32").c_str(), Error);
  CHECK_NOTHROW(file.verify());
}

TEST_CASE("the bytes of a file are a function of its content") {
  const TemporaryFolder folder;
  write_sample(folder / "a");
  write_sample(folder / "b");
  CHECK(read_all(folder / "a") == read_all(folder / "b"));
  CHECK(read_all(folder / "a").substr(8, 1) == "{");
  CHECK(SafetensorsFile(folder / "a").metadata().at("checksum") == "ac44c7606b72f153");  // pinned: old files must keep verifying
}

TEST_CASE("an empty file of no tensors is a file") {
  const TemporaryFolder folder;
  SafetensorsWriter(folder / "a").commit();
  CHECK(SafetensorsFile(folder / "a").tensors().empty());
  CHECK(parsed(file_of("{}")).tensors().empty());
  CHECK(parsed(file_of("{}    \n ")).tensors().empty());
}

TEST_CASE("a file cut at any byte is an error") {
  const TemporaryFolder folder;
  write_sample(folder / "a");
  const std::string whole = read_all(folder / "a");
  CHECK(error_of(whole) == "no error");
  for (std::size_t size = 0; size < whole.size(); ++size) CHECK(error_of(whole.substr(0, size)) != "no error");
  CHECK(error_of(whole + '\0') == "bytes that belong to no tensor at the end");
}

TEST_CASE("a flipped bit anywhere is found: by the reader or by verify") {
  const TemporaryFolder folder;
  write_sample(folder / "a");
  const std::string whole = read_all(folder / "a");
  const std::size_t padding_end = whole.find_first_not_of(' ', whole.rfind('}', whole.size() - 1) + 1);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (whole[i] == ' ' && i < padding_end) continue;  // header padding carries nothing
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    INFO("byte ", i);
    CHECK_THROWS_AS(parsed(damaged).verify(), Error);
  }
}

TEST_CASE("malformed headers") {
  CHECK(error_of("") == "too short to be a safetensors file");
  CHECK(error_of(std::string("\xff\xff\xff\xff\xff\xff\xff\xff", 8)).find("not a safetensors file") != std::string::npos);
  CHECK(error_of(std::string("\0\xe1\xf5\5\0\0\0\0{}", 10)).find("cut off") != std::string::npos);          // exactly 100 MB
  CHECK(error_of(std::string("\1\xe1\xf5\5\0\0\0\0{}", 10)).find("header of 100000001") != std::string::npos);
  fails("", "", "not a JSON object");
  fails(" {}", "", "not a JSON object");
  fails("[]", "", "not a JSON object");
  fails("{", "", "not valid JSON");
  fails("{}{}", "", "not valid JSON");
  fails(std::string("{}\0{", 4), "", "not a JSON object");
  fails("{\"\xff\":1}", "", "not valid JSON");                // not UTF-8
  fails(R"({"a":1e999})", "", "out of range");
  fails(R"({"a":[[[[1]]]]})", "", "nested too deeply");
  fails("{\"a\":" + std::string(100'000, '['), "", "nested too deeply");
  fails(R"({"__metadata__":[]})", "", "__metadata__ is not an object");
  fails(R"({"__metadata__":{"k":1}})", "", "metadata \"k\" is not a string");
  fails(R"({"__metadata__":{"k":"1","k":"2"}})", "", "twice");
}

TEST_CASE("malformed tensors") {
  const std::string good = tensor("a", "F32", "[2]", "[0,8]"), data(8, 'x');
  CHECK(error_of(file_of("{" + good + "}", data)) == "no error");
  fails("{" + good + "," + good + "}", data, "header has \"a\" twice");
  fails(R"({"a":3})", "", "expected an object with");
  fails(R"({"a":{"dtype":"F32","shape":[2]}})", data, "expected an object with");
  fails(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})", data, "expected an object with");
  fails(R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", data, "dtype must be a string");
  fails(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", data, "shape an array");
  for (const char* dtype : {"F16", "BF16", "I8", "BOOL", "f32", ""}) fails("{" + tensor("a", dtype, "[2]", "[0,8]") + "}", data, "is not supported");
  for (const char* dim : {"-1", "-0", "1.0", "2.5", "\"2\"", "null", "true", "9223372036854775808", "18446744073709551616"}) {
    fails("{" + tensor("a", "F32", "[" + std::string(dim) + "]", "[0,8]") + "}", data, "a dimension is not a size");
    fails("{" + tensor("a", "F32", "[2]", "[0," + std::string(dim) + "]") + "}", data, "data_offsets is not a size");
    fails("{" + tensor("a", "F32", "[2]", "[" + std::string(dim) + ",8]") + "}", data, "data_offsets is not a size");
  }
  fails("{" + tensor("a", "F32", "[2]", "[0]") + "}", data, "data_offsets two numbers");
  fails("{" + tensor("a", "F32", "[2]", "[0,8,8]") + "}", data, "data_offsets two numbers");
  fails("{" + tensor("a", "F32", "[4294967296,4294967296]", "[0,8]") + "}", data, "shape is too large");  // wraps to 0
  fails("{" + tensor("a", "F32", "[4611686018427387905]", "[0,4]") + "}", data.substr(4), "shape is too large");  // wraps to 4
  fails("{" + tensor("a", "F32", "[3]", "[0,8]") + "}", data, "shape needs 12 bytes, data_offsets give 8");
  fails("{" + tensor("a", "F32", "[2]", "[8,0]") + "}", data, "leave the file");
  fails("{" + tensor("a", "F32", "[3]", "[0,12]") + "}", data, "leave the file");
  fails("{" + tensor("a", "U8", "[9]", "[9223372036854775800,9223372036854775807]") + "}", data, "leave the file");
  fails("{" + tensor("a", "F32", "[1]", "[4,8]") + "}", data, "gap or overlap");
  fails("{" + tensor("a", "F32", "[1]", "[0,4]") + "}", data, "belong to no tensor");
  fails("{" + good + "," + tensor("b", "F32", "[2]", "[0,8]") + "}", data, "gap or overlap");
  fails("{" + tensor("a", "U8", "[5]", "[0,5]") + "," + tensor("b", "U8", "[4]", "[4,8]") + "}", data, "gap or overlap");
  fails("{" + tensor("a", "U8", "[3]", "[0,3]") + "," + tensor("b", "U8", "[4]", "[4,8]") + "}", data, "gap or overlap");
  fails("{" + good + "," + tensor("b", "F32", "[0]", "[4,4]") + "}", data, "gap or overlap");  // an empty tensor inside another
}

TEST_CASE("tensors that another program left unaligned are read all the same") {
  const std::vector<double> values{1.25, -3};
  std::string data = "xyz";
  data.append(reinterpret_cast<const char*>(values.data()), 16);
  for (std::size_t shift = 0; shift < 8; ++shift) {  // the bytes in memory may lie anywhere, too
    const std::string header = "{" + tensor("a", "U8", "[3]", "[0,3]") + "," + tensor("b", "F64", "[2]", "[3,19]") + "}";
    const std::string bytes = std::string(shift, '?') + file_of(header, data);
    const SafetensorsFile file(std::as_bytes(std::span(bytes)).subspan(shift), "memory");
    CHECK(file.values<double>("b")[0] == 1.25);
    CHECK(file.values<double>("b")[1] == -3);
    CHECK(reinterpret_cast<std::uintptr_t>(file.at("b").bytes.data()) % 8 == 0);
    CHECK(file.values<std::uint8_t>("a")[2] == 'z');
  }
}

TEST_CASE("a file in the header order of another program, with empty tensors in between, is read") {
  const SafetensorsFile file = parsed(file_of("{" + tensor("z", "U8", "[1]", "[0,1]") + "," + tensor("e", "F32", "[0,9223372036854775807]", "[1,1]") +
                                                  "," + tensor("a", "U8", "[2]", "[1,3]") + "}",
                                              "123"));
  CHECK(file.tensors()[0].name == "z");
  CHECK(file.tensors()[1].name == "e");
  CHECK(file.tensors()[2].name == "a");
  CHECK_THROWS_WITH_AS(file.verify(), "memory: has no checksum", Error);
}

TEST_CASE("a full disk at any point keeps the old file") {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  int failures = 0;
  for (int n = 1; n < 100; ++n) {
    write_all(path, "old");
    testing::fail_file_operation = n;
    try {
      write_sample(path);
      break;
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::io);
    }
    ++failures;
    CHECK((read_all(path) == "old" || error_of(read_all(path)) == "no error"));
    CHECK(folder.files() == 1);
  }
  testing::fail_file_operation = 0;
  CHECK(failures >= 10);
  CHECK_NOTHROW(SafetensorsFile(path).verify());
}

TEST_CASE("a writer refuses what could not be read back") {
  const TemporaryFolder folder;
  const std::vector<float> values{1, 2};
  SafetensorsWriter writer(folder / "a");
  writer.add("a", std::span<const float>(values));
  CHECK_THROWS_AS(writer.add("a", std::span<const float>(values)), Error);
  CHECK_THROWS_AS(writer.add("b", {3}, std::span<const float>(values)), Error);
  CHECK_THROWS_AS(writer.add("b", {-1}, std::span<const float>(values)), Error);
  CHECK_THROWS_AS(writer.add("__metadata__", std::span<const float>(values)), Error);
  writer.metadata("k", "\xff");
  CHECK_THROWS_AS(writer.commit(), Error);
  CHECK(folder.files() == 0);
}

TEST_CASE("formats and versions") {
  const auto with = [](const std::string& metadata) { return parsed(file_of(R"({"__metadata__":{)" + metadata + "}}")); };
  const auto code = [&](const std::string& metadata) {
    try {
      check_format(with(metadata), "sample", 3);
    } catch (const Error& e) {
      return e.code();
    }
    return ErrorCode::internal;
  };
  const TemporaryFolder folder;
  write_sample(folder / "a");
  CHECK(check_format(SafetensorsFile(folder / "a"), "sample", 3) == 2);
  CHECK(code("") == ErrorCode::model);
  CHECK(code(R"("format":"other","format_version":"1","min_reader_version":"1")") == ErrorCode::model);
  CHECK(code(R"("format":"sample","format_version":"4","min_reader_version":"4")") == ErrorCode::model);
  CHECK(check_format(with(R"("format":"sample","format_version":"4","min_reader_version":"3")"), "sample", 3) == 4);
  for (const char* version : {"", "x", "1x", "0", "-1", "99999999999"}) {
    CHECK(code(R"("format":"sample","min_reader_version":"1","format_version":")" + std::string(version) + "\"") == ErrorCode::model);
  }
}
