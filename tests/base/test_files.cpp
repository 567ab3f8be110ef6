#include <doctest/doctest.h>

#include <cstring>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "tests/base/temporary_folder.h"

using namespace piano;

namespace {

std::string text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

template <class F>
ErrorCode code_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  FAIL("expected a piano::Error");
  return ErrorCode::internal;
}

}  // namespace

TEST_CASE("a mapped file shows the file's bytes") {
  const TemporaryFolder folder;
  write_all(folder / "full", std::string("a\0b", 3));
  write_all(folder / "empty", "");
  CHECK(text(MappedFile(folder / "full").bytes()) == std::string("a\0b", 3));
  CHECK(MappedFile(folder / "empty").bytes().empty());
  MappedFile moved = MappedFile(folder / "full");
  MappedFile assigned;
  assigned = std::move(moved);
  CHECK(assigned.bytes().size() == 3);
  CHECK(assigned.path() == folder / "full");
}

TEST_CASE("what cannot be mapped is an I/O error that names the path and the reason") {
  const TemporaryFolder folder;
  CHECK(code_of([&] { MappedFile(folder.path()); }) == ErrorCode::io);
  CHECK_THROWS_WITH_AS(MappedFile("/dev/null"), "cannot read /dev/null: expected a regular file, got a device", Error);
  CHECK_THROWS_WITH_AS(MappedFile(folder / "none"), ("cannot read " + (folder / "none") + ": No such file or directory").c_str(), Error);
}

TEST_CASE("an atomic file appears on commit and not before") {
  const TemporaryFolder folder;
  const std::string path = folder / "out";
  write_all(path, "old");
  {
    AtomicFile file(path);
    file.write("new");
    CHECK(read_all(path) == "old");
    CHECK(folder.files() == 2);
  }
  CHECK(read_all(path) == "old");
  CHECK(folder.files() == 1);
  {
    AtomicFile file(path);
    file.write("new ");
    file.write("content");
    file.commit();
  }
  CHECK(read_all(path) == "new content");
  CHECK(folder.files() == 1);
}

TEST_CASE("two writers of one path do not meet") {
  const TemporaryFolder folder;
  AtomicFile a(folder / "out"), b(folder / "out");
  a.write("a");
  b.write("b");
  b.commit();
  a.commit();
  CHECK(read_all(folder / "out") == "a");
  CHECK(folder.files() == 1);
}

TEST_CASE("a signal's handler removes the temporary files being written, and no other") {
  const TemporaryFolder folder;
  write_all(folder / "out", "old");
  {
    AtomicFile a(folder / "out"), b(folder / "b");
    AtomicFile done(folder / "done");
    done.write("new");
    done.commit();
    CHECK(folder.files() == 4);
    remove_temporary_files();
    CHECK(folder.files() == 2);
  }
  { AtomicFile abandoned(folder / "out"); }
  remove_temporary_files();
  CHECK(read_all(folder / "out") == "old");
  CHECK(read_all(folder / "done") == "new");
}

TEST_CASE("an atomic file refuses folders, devices and missing folders") {
  const TemporaryFolder folder;
  CHECK(code_of([&] { AtomicFile(folder.path()); }) == ErrorCode::io);
  CHECK_THROWS_WITH_AS(AtomicFile("/dev/null"), "cannot write /dev/null: expected a regular file, got a device", Error);
  CHECK(code_of([&] { AtomicFile(folder / "none/out"); }) == ErrorCode::io);
}

TEST_CASE("a full disk at any point leaves the old file or the new one, and nothing else") {
  const TemporaryFolder folder;
  const std::string path = folder / "out", content(200'000, 'x');
  int failures = 0;
  for (int n = 1;; ++n) {
    write_all(path, "old");
    testing::fail_file_operation = n;
    bool failed = false;
    try {
      AtomicFile file(path);
      file.write("head ");
      file.write(content);
      file.commit();
    } catch (const Error& e) {
      failed = true;
      CHECK(e.code() == ErrorCode::io);
      CHECK(std::string(e.what()).find("No space left on device") != std::string::npos);
    }
    const bool used = testing::fail_file_operation == 0;
    testing::fail_file_operation = 0;
    CHECK(failed == used);
    CHECK(folder.files() == 1);
    if (!failed) break;
    ++failures;
    const bool folder_sync = n == 7;  // the rename is done then
    CHECK(read_all(path) == (folder_sync ? "head " + content : "old"));
  }
  CHECK(failures == 7);  // create, write, write, flush, sync, rename, sync of the folder
  CHECK(read_all(path) == "head " + content);
}

TEST_CASE("a spill file gives back what was appended, across its buffer") {
  SpillFile spill;
  CHECK(spill.map().empty());
  std::string expected;
  for (int i = 0; i < 40'000; ++i) {
    const std::string word = std::to_string(i) + ",";
    spill.append(word.data(), word.size());
    expected += word;
    if (i == 100 || i == 20'000) CHECK(text(spill.map()) == expected);
  }
  CHECK(spill.size() == expected.size());
  spill.map()[0] = std::byte{'z'};
  expected[0] = 'z';
  spill.append("end", 3);
  SpillFile moved = std::move(spill);
  CHECK(text(moved.map()) == expected + "end");
}

TEST_CASE("a spill file grows by zeros") {
  SpillFile spill;
  spill.append("abc", 3);
  spill.resize(100'000);
  spill.append("d", 1);
  const auto bytes = spill.map();
  REQUIRE(bytes.size() == 100'001);
  CHECK(text(bytes.first(3)) == "abc");
  CHECK(text(bytes.last(1)) == "d");
  for (const std::byte b : bytes.subspan(3, 100'000 - 3)) REQUIRE(b == std::byte{0});
  CHECK(code_of([&] { spill.resize(1); }) == ErrorCode::internal);
}

TEST_CASE("a full disk under a spill file is an I/O error") {
  testing::fail_file_operation = 1;
  CHECK(code_of([] { SpillFile(); }) == ErrorCode::io);
  SpillFile spill;
  spill.append("abc", 3);
  testing::fail_file_operation = 1;
  CHECK(code_of([&] { spill.map(); }) == ErrorCode::io);
  CHECK(text(spill.map()) == "abc");
  testing::fail_file_operation = 1;
  CHECK(code_of([&] { spill.resize(10); }) == ErrorCode::io);
}
