// piano version.
#include <nlohmann/json.hpp>

#include "engine/base/json_text.h"
#include "engine/core/device.h"
#include "tools/command_line.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

void version(const Arguments& arguments) {
  CommandLine line("version", "[--json]", "version, compiler and kernels");
  line.flag("json", "as JSON");
  if (!line.parse(arguments)) return;
  line.no_files();
  if (line.given("json")) {
    nlohmann::ordered_json levels = nlohmann::ordered_json::array();
    for (const Device* level : cpu_levels()) levels.push_back(level->name);
    return print(json_text(nlohmann::ordered_json{{"version", PIANO_VERSION}, {"compiler", compiler()}, {"kernels", cpu_device().name},
                                        {"kernel_levels", levels}, {"cuda", built_with_cuda()}}) + "\n");
  }
  print("piano " PIANO_VERSION " (" + compiler() + ", kernels " + cpu_device().name + (built_with_cuda() ? ", CUDA" : ", without CUDA") + ")\n");
}

}  // namespace piano::tools
