// Whatever the bytes of a public set's files: rows are read or rejected, and what was read makes a data set or a piano::Error.
// An input is the format's name on a line of its own, then its files, parted by lines "====".
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "data/readers.h"
#include "engine/base/error.h"
#include "tests/fuzz/fuzz_folder.h"

namespace {

using namespace piano::data;

struct Format {
  std::string_view name;
  ReadReport (*read)(const std::vector<std::string>&, const ReadOptions&, DatasetWriter&);
  SplitKind split;
};
constexpr Format kFormats[] = {{"lastfm", read_lastfm, SplitKind::given},
                               {"jdsearch", read_jdsearch, SplitKind::none},
                               {"letor", read_letor, SplitKind::none},
                               {"kuaisar", read_kuaisar, SplitKind::none}};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder temporary;
  constexpr std::string_view kBreak = "====\n";
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string_view name = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(rest.size(), name.size() + 1));
  const Format* format = std::find_if(std::begin(kFormats), std::end(kFormats), [&](const Format& f) { return f.name == name; });
  if (format == std::end(kFormats)) return 0;

  std::vector<std::string> files;
  for (bool more = true; more && files.size() < 5;) {
    const std::size_t end = rest.find(kBreak);
    more = end != std::string_view::npos;
    files.push_back(temporary.path + "/" + std::to_string(files.size()));
    std::ofstream(files.back(), std::ios::binary) << rest.substr(0, end);
    if (more) rest.remove_prefix(end + kBreak.size());
  }
  try {
    ReadOptions read;
    read.on_error = OnError::skip;
    read.rejects = temporary.path + "/rejects";
    WriterOptions write;
    write.split = format->split;
    DatasetWriter writer(temporary.path + "/data.safetensors", write);
    const ReadReport report = format->read(files, read, writer);
    if (report.requests != writer.requests()) __builtin_trap();
    writer.commit();
  } catch (const piano::Error&) {
  }
  return 0;
}
