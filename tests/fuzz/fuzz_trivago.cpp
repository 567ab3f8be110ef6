// Whatever the bytes of a trivago log: rows are read or rejected, and what was read makes a data set or a piano::Error.
#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "data/readers.h"
#include "engine/base/error.h"
#include "engine/base/log.h"

namespace {

// In memory where the system has such a folder: each input syncs a file.
struct Folder {
  Folder() {
    piano::set_log_quiet(true);
    if (std::filesystem::is_directory("/dev/shm")) setenv("TMPDIR", "/dev/shm", 0);
    std::string name = (std::filesystem::temp_directory_path() / "piano-fuzz-XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder temporary;
  const std::string& folder = temporary.path;
  const std::string log = folder + "/sessions.csv";
  std::ofstream(log, std::ios::binary).write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  try {
    piano::data::ReadOptions read;
    read.on_error = piano::data::OnError::skip;
    read.rejects = folder + "/rejects";
    piano::data::WriterOptions write;
    write.split = piano::data::SplitKind::none;
    piano::data::DatasetWriter writer(folder + "/data.safetensors", write);
    const auto report = piano::data::read_trivago({log}, read, writer);
    if (report.requests != writer.requests()) __builtin_trap();
    writer.commit();
  } catch (const piano::Error&) {
  }
  return 0;
}
