// The models of a comparison, as the command line names them.
#pragma once

#include <string>
#include <vector>

#include "piano/config.h"
#include "tools/command_line.h"

namespace piano::tools {

struct NamedConfig {
  std::string name;
  Config config;                    // checked
  std::vector<std::string> own;     // keys that it changes itself: they are what it is, no tuning touches them
};

// Each --model, on top of the settings that all share (--config, --set): NAME=KEY=VALUE,KEY=VALUE (NAME= alone: as shared); a TOML file, named
// after it; or a folder: its TOML files by name. Throws ErrorCode::usage, naming the model.
std::vector<NamedConfig> models_of(const CommandLine& line);

// Refuses an empty name, one that is no plain name of a folder, and one that is taken.
void require_name(const std::string& name, const std::vector<std::string>& taken);

}  // namespace piano::tools
