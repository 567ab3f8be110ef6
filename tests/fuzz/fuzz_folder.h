// A folder for the files that a fuzz target's inputs become.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "engine/base/log.h"

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
