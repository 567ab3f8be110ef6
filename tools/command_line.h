// The flags of one verb: declared, parsed, and shown by --help with their defaults. cxxopts stays inside command_line.cpp.
//
//   CommandLine line("train", "--data FILE --out FILE [flags]", "learns a model from a packed data set");
//   line.value("threads", "N", "", "workers (default: all cores)").flag("resume", "go on where a stopped training was");
//   if (!line.parse(arguments)) return;  // --help
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "piano/config.h"
#include "tools/verbs.h"

namespace piano::tools {

class CommandLine {
 public:
  CommandLine(std::string verb, std::string synopsis, std::string summary);
  ~CommandLine();

  // Help is one line. A default of "" is none, and is not shown.
  CommandLine& flag(const std::string& name, const std::string& help);
  CommandLine& value(const std::string& name, const std::string& placeholder, const std::string& default_value, const std::string& help);
  CommandLine& repeatable(const std::string& name, const std::string& placeholder, const std::string& help);
  CommandLine& example(const std::string& command);

  // False when --help was asked for and printed. Throws ErrorCode::usage; an unknown flag names the nearest one. A flag given twice counts
  // as given last. requires: called once, before what follows.
  bool parse(const Arguments& arguments);

  bool given(const std::string& name) const;
  std::string text(const std::string& name) const;      // "" when absent and without a default
  std::string required(const std::string& name) const;  // throws ErrorCode::usage when absent
  std::int64_t integer(const std::string& name, std::int64_t low, std::int64_t high) const;
  double number(const std::string& name) const;
  std::size_t choice(const std::string& name, const std::vector<std::string>& choices) const;  // an index
  std::vector<std::string> all(const std::string& name) const;  // of a repeatable flag, in order
  const std::vector<std::string>& files() const;         // what is no flag, "-" included
  void no_files() const;                                 // throws ErrorCode::usage when there are any

 private:
  struct Impl;
  std::string help() const;
  [[noreturn]] void refuse(const std::string& message) const;
  std::unique_ptr<Impl> impl_;
};

// Refuses to write over what is read, or two results into one file. Throws ErrorCode::usage naming the path and both uses. Empty paths and an
// input "-" are no files. An output "-" is refused: a verb that can write it to stdout passes "".
struct NamedPath {
  std::string use, path;  // "--out", "data.safetensors"
};
void require_distinct(const std::vector<NamedPath>& outputs, const std::vector<NamedPath>& inputs);

// The packed data set that --data names. When the file is none, the error says where they come from.
data::Dataset dataset_of(const CommandLine& line);
data::Dataset open_dataset(const std::string& path);

// The requests of one of kParts. Throws ErrorCode::data when there are none.
inline const std::vector<std::string> kParts{"train", "valid", "test", "all"};
std::vector<std::int64_t> requests_of(const data::Dataset& dataset, std::size_t part);

// The defaults, changed by --config, then by each --set. Not checked yet: a verb may change more.
Config config_of(const CommandLine& line);

// The value of --threads, or all cores.
int threads_of(const CommandLine& line);

}  // namespace piano::tools
