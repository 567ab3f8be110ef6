// Whatever the bytes of a trivago log: rows are read or rejected, and what was read makes a data set or a piano::Error.
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "data/readers.h"
#include "engine/base/error.h"
#include "tests/fuzz/fuzz_folder.h"

namespace {

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
