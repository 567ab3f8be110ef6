// Vectors of items: .npy files, good and bad; the table beside a log; and which vector a batch has.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "data/dataset.h"
#include "data/dataset_columns.h"
#include "data/dataset_writer.h"
#include "data/item_vectors.h"
#include "data/npy.h"
#include "tests/base/temporary_folder.h"
#include "tests/data/batch_equal.h"
#include "tests/data/log_maker.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::string npy(const std::string& header, const std::string& numbers, char version = 1) {
  std::string out = "\x93NUMPY";
  out += version;
  out += '\0';
  std::string padded = header;
  padded.resize((padded.size() + 12 + 63) / 64 * 64 - (version == 1 ? 11 : 13), ' ');
  padded += '\n';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) out += static_cast<char>(padded.size() >> 8 * i & 0xFF);
  return out + padded + numbers;
}

std::string npy_of(std::int64_t rows, std::int64_t columns, const std::vector<float>& values) {
  return npy("{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " + std::to_string(columns) + "), }", bytes_of(values));
}

FloatMatrix parsed(const std::string& bytes) { return parse_npy(std::as_bytes(std::span(bytes)), "x.npy"); }

template <class Run>
std::string error_of(Run run) {
  try {
    run();
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::data);
    CHECK(std::string(e.what()).find('\n') == std::string::npos);
    return e.what();
  }
  return "no error";
}

const std::string kHeader = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
const std::vector<float> kSix{1, 2, 3, 4, 5, 6};

// A table of vectors of width 2 for "a" and "b", and for an item that no log mentions.
ItemVectors small_table() { return {{"b", "new", "a"}, {3, 4, 7, 8, 1, 2}, 2}; }

}  // namespace

TEST_CASE("npy: a structured dtype is not supported, which is no damage") {
  const std::string rest = ", 'fortran_order': False, 'shape': (3,), }";
  for (const char* descr : {"[('x', '<f4'), ('y', '<f4')]", "[('x', '<f4', (2,))]", "('<f4', (2,))"}) {
    CAPTURE(descr);
    CHECK_THROWS_WITH_AS(parsed(npy("{'descr': " + std::string(descr) + rest, bytes_of(kSix))), doctest::Contains("unsupported dtype, a structured one"), Error);
  }
  CHECK_THROWS_WITH_AS(parsed(npy("{'descr': 4" + rest, bytes_of(kSix))), doctest::Contains("damaged"), Error);
}

TEST_CASE("npy: what numpy writes") {
  for (const char version : {'\1', '\2', '\3'}) {
    const FloatMatrix m = parsed(npy(kHeader, bytes_of(kSix), version));
    CHECK(m.rows == 2);
    CHECK(m.columns == 3);
    CHECK(m.values == kSix);
  }
  CHECK(parsed(npy("{\"shape\":(2,3),\"fortran_order\":False,\"descr\":\"<f4\"}", bytes_of(kSix))).values == kSix);
  CHECK(parsed(npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }", bytes_of(std::vector<double>{0.5, 1e300}))).values ==
        std::vector<float>{0.5f, std::numeric_limits<float>::infinity()});
  // 1, -2, 65504, the least above 0, 0, infinity, not a number: IEEE 754 binary16
  const FloatMatrix half = parsed(npy("{'descr': '<f2', 'fortran_order': False, 'shape': (1, 7), }",
                                      bytes_of(std::vector<std::uint16_t>{0x3C00, 0xC000, 0x7BFF, 0x0001, 0x0000, 0x7C00, 0x7E00})));
  CHECK(std::vector<float>(half.values.begin(), half.values.begin() + 5) == std::vector<float>{1, -2, 65504, 0x1p-24f, 0});
  CHECK(std::isinf(half.values[5]));
  CHECK(std::isnan(half.values[6]));
  CHECK(parsed(npy_of(0, 3, {})).values.empty());
}

TEST_CASE("npy: what it cannot be") {
  const auto refused = [](const std::string& bytes, const std::string& part) {
    const std::string message = error_of([&] { parsed(bytes); });
    INFO(message);
    CHECK(message.starts_with("x.npy: "));
    CHECK(message.find(part) != std::string::npos);
  };
  const std::string six = bytes_of(kSix), good = npy(kHeader, six);
  refused("", "expected a .npy file");
  refused("PK\3\4", "expected a .npy file");
  refused(npy(kHeader, six, 4), "version 1.0, 2.0 or 3.0 of the .npy format, got 4.0");
  refused(npy(kHeader, six, 0), "got 0.0");
  for (const std::size_t size : {7u, 9u, 11u, 40u}) refused(good.substr(0, size), "");
  refused(good.substr(0, 40), "truncated in its header");
  refused(good.substr(0, good.size() - 1), "shape (2, 3) does not fit 23 bytes");
  refused(good + "x", "does not fit 25 bytes");
  refused(npy("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }", six), "expected little-endian floats (<f4, <f2 or <f8), got '>f4'");
  refused(npy("{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", six), "got '<i4'");
  refused(npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", six), "got Fortran order");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", six), "two dimensions, one row an item, got 1");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", six), "got 0");
  refused(npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4611686018427387904), }", six), "does not fit");
  for (const char* header : {"", "{", "{}", "[]", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'more': 1}",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)", "{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, -3)}", "{'descr': '<f4', 'fortran_order': False, 'shape': (2 3)}",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 99999999999999999999)}", "{'descr': 4}",
                             "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
                             "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} and more"})
    refused(npy(header, six), "expected the header of a .npy file");
}

TEST_CASE("item vectors: a matrix and its ids") {
  const TemporaryFolder folder;
  const std::string vectors = folder / "v.npy", ids = folder / "ids.txt";
  write_all(vectors, npy_of(2, 3, kSix));
  write_all(ids, "\xEF\xBB\xBF" "t-1\r\nt 2");
  const ItemVectors table = read_item_vectors(vectors, ids);
  CHECK(table.width() == 3);
  CHECK(table.size() == 2);
  CHECK(table.find("t-1") == 0);  // the byte order mark is no part of it
  const std::span<const float> second = table[table.find("t 2")];
  CHECK(std::vector<float>(second.begin(), second.end()) == std::vector<float>{4, 5, 6});
  CHECK(table.find("t-3") == ItemVectors::kNone);
  CHECK(table.find("") == ItemVectors::kNone);
  CHECK(table[ItemVectors::kNone].empty());
  CHECK(ItemVectors().find("t-1") == ItemVectors::kNone);

  const auto refused = [&](const std::string& content, const std::string& id_lines) {
    write_all(vectors, content);
    write_all(ids, id_lines);
    return error_of([&] { read_item_vectors(vectors, ids); });
  };
  CHECK(refused(npy_of(2, 3, kSix), "a\nb\nc\n") == ids + ": expected 2 ids, one for each row of " + vectors + ", got 3");
  CHECK(refused(npy_of(2, 3, kSix), "a\na\n") == ids + ":2: item \"a\" is already in line 1");
  CHECK(refused(npy_of(2, 3, kSix), "a\n\n") == ids + ":2: expected an item id, got an empty line");
  CHECK(refused(npy_of(2, 3, {1, 2, 3, 4, NAN, 6}), "a\nb\n") ==
        vectors + ": row 1, column 1 (item \"b\"): expected a number that a 32-bit float can hold");
  CHECK(refused(npy_of(0, 3, {}), "") == vectors + ": expected at least one row and 1 to 1048576 columns, got (0, 3)");
  CHECK(refused(npy_of(2, 0, {}), "a\nb\n") == vectors + ": expected at least one row and 1 to 1048576 columns, got (2, 0)");
  CHECK(error_of([&] { read_item_vectors(vectors, ""); }) == vectors + ": expected a file of ids beside it: --item-ids FILE, one id a line");
  CHECK_THROWS_AS(read_item_vectors(folder / "none.npy", ids), Error);
}

TEST_CASE("item vectors: from a safetensors file, with ids of its own or beside it") {
  const TemporaryFolder folder;
  const std::string path = folder / "v.safetensors", ids = folder / "ids.txt";
  const std::string lines = "a\nb\n";
  const auto write = [&](const char* name, std::vector<std::int64_t> shape, bool with_ids) {
    SafetensorsWriter writer(path);
    writer.add(name, std::move(shape), std::span<const float>(kSix));
    if (with_ids) writer.add("ids", std::span(reinterpret_cast<const std::uint8_t*>(lines.data()), lines.size()));
    writer.commit();
  };
  write("vectors", {2, 3}, true);
  CHECK(read_item_vectors(path, "")[1][0] == 4);
  write_all(ids, "b\na");
  CHECK(read_item_vectors(path, ids).find("a") == 1);  // the file that is named goes before
  write("vectors", {2, 3}, false);
  CHECK(error_of([&] { read_item_vectors(path, ""); }) == path + ": no tensor \"ids\": give --item-ids FILE, one id a line");
  write("vectors", {6}, true);
  CHECK(error_of([&] { read_item_vectors(path, ""); }) == path + ": vectors: expected a matrix of F32, one row an item");
  write("audio", {2, 3}, true);
  CHECK(error_of([&] { read_item_vectors(path, ""); }).find("vectors") != std::string::npos);
}

TEST_CASE("item vectors: candidates and past items have them, a request's own goes before") {
  OwnedRequest r;
  r.id = "r";
  r.user = "u";
  r.time = 10;
  r.has_history = true;
  r.history.resize(3);
  r.history[0].item = "a";
  r.history[1].query = "nothing touched";
  r.history[2].item = "unknown";
  r.candidates.resize(3);
  r.candidates[0].id = "b";
  r.candidates[1].id = "unknown";
  r.candidates[2].id = "a";
  r.candidates[2].vector = {-1, -2};
  for (OwnedCandidate& c : r.candidates) c.click = false;

  const TemporaryPath file("vectors.safetensors");
  WriterOptions options;
  options.test_fraction = options.valid_fraction = 0;
  options.min_count = 100;  // no item has a row of its own: vectors are known all the same
  options.item_vectors = small_table();
  {
    DatasetWriter writer(file.path(), options);
    writer.add_request(*View(r), 0, false);
    OwnedRequest wrong = r;
    wrong.id = "wrong";
    wrong.candidates[2].vector = {1};
    CHECK(error_of([&] { writer.add_request(*View(wrong), 1, false); }) == "candidates[2].vector: expected 2 numbers, got 1");
    writer.commit();
  }
  const Dataset dataset(file.path());
  CHECK(dataset.features().version() == 5);
  CHECK(dataset.features().schema.item_vector == 2);
  CHECK(dataset.columns().vector.has(2));  // the log's columns hold what the log said, no more
  CHECK(!dataset.columns().vector.has(0));
  BatchBuilder from_file(dataset.features(), {}), live(dataset.features(), {});
  from_file.attach(dataset);
  Batch a, b;
  from_file.build(std::vector<std::int64_t>{0}, a);
  CHECK(a.vector == std::vector<float>{3, 4, 1, 0, 0, 0, -1, -2, 1});
  CHECK(a.history_vector == std::vector<float>{1, 2, 1, 0, 0, 0, 0, 0, 0});
  CHECK(a.history_vector_of == std::vector<std::int32_t>{2, -1, -1});
  live.build(*View(r), b);
  CHECK(difference(a, b) == "");
  live.build(*View(r), b);  // again: nothing is left of the first time
  CHECK(difference(a, b) == "");
  OwnedRequest fresh = r;
  fresh.candidates[1].id = "new";  // an item that the log has never seen
  live.build(*View(fresh), b);
  CHECK(b.vector == std::vector<float>{3, 4, 1, 7, 8, 1, -1, -2, 1});

  // The space with and without another table is not the same, and saved and loaded it is.
  FeatureSpace other = dataset.features();
  other.item_vectors = ItemVectors({"b", "new", "a"}, {3, 4, 7, 8, 1, 3}, 2);
  CHECK(other.fingerprint() != dataset.features().fingerprint());
  other.item_vectors = small_table();
  CHECK(other.fingerprint() == dataset.features().fingerprint());
}

TEST_CASE("item vectors: without a table nothing is there, and a table of other items is refused") {
  OwnedRequest r;
  r.candidates.resize(1);
  r.candidates[0].id = "t";
  r.candidates[0].vector = {1, 2};
  r.candidates[0].click = true;
  const TemporaryPath file("vectors.safetensors");
  WriterOptions options;
  options.test_fraction = options.valid_fraction = 0;
  {
    DatasetWriter writer(file.path(), options);
    writer.add_request(*View(r), 0, false);
    writer.commit();
  }
  const Dataset dataset(file.path());
  CHECK(dataset.file()->metadata().at("format_version") == "5");
  CHECK(dataset.file()->find("item_vectors") == nullptr);
  BatchBuilder builder(dataset.features(), {});
  builder.attach(dataset);
  Batch batch;
  builder.build(std::vector<std::int64_t>{0}, batch);
  CHECK(batch.vector == std::vector<float>{1, 2, 1});
  CHECK(batch.history_vector.empty());
  CHECK(batch.history_vector_of.empty());

  options.item_vectors = small_table();
  DatasetWriter writer(file.path(), options);
  writer.add_request(*View(r), 0, false);
  CHECK(error_of([&] { writer.commit(); }) == "none of the log's 1 items is among the 3 ids of the item vectors: are they the same ids?");
}

TEST_CASE("item vectors: a damaged table is refused") {
  const TemporaryPath file("damaged.safetensors");
  const auto load = [&](const std::vector<std::int64_t>& shape, std::vector<float> values, std::int32_t width) {
    const Vocabulary ids = Vocabulary::build({"a", "b"});
    SafetensorsWriter writer(file.path());
    writer.add("item_vectors", shape, std::span<const float>(values));
    ids.save(writer, "item_vectors");
    writer.commit();
    ItemVectors::load(std::make_shared<const SafetensorsFile>(file.path()), width);
  };
  CHECK_NOTHROW(load({2, 3}, kSix, 3));
  CHECK_THROWS_AS(load({3, 2}, kSix, 2), Error);
  CHECK_THROWS_AS(load({2, 3}, kSix, 2), Error);
  CHECK_THROWS_AS(load({6}, kSix, 3), Error);
  CHECK_THROWS_AS(load({2, 3}, {1, 2, 3, 4, INFINITY, 6}, 3), Error);
}
