// TOML in; the only file that knows toml++.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "engine/base/error.h"
#include "piano/config.h"

namespace piano {
namespace {

std::string at(const std::string& name, const toml::source_region& source) {
  return name + ":" + std::to_string(source.begin.line) + ":" + std::to_string(source.begin.column) + ": ";
}

void read_table(const toml::table& table, const std::string& prefix, const std::string& name, Config& config) {
  for (const auto& [key, node] : table) {
    const std::string path = prefix + std::string(key.str());
    if (const auto* inner = node.as_table()) {
      read_table(*inner, path + ".", name, config);
      continue;
    }
    std::string value;
    if (const auto* s = node.as_string()) value = s->get();
    else if (const auto* b = node.as_boolean()) value = b->get() ? "true" : "false";
    else if (const auto* i = node.as_integer()) value = std::to_string(i->get());
    else if (const auto* f = node.as_floating_point()) { std::ostringstream text; text.precision(17); text << f->get(); value = text.str(); }
    else throw Error(ErrorCode::usage, at(name, node.source()) + path + ": expected a string, number or boolean");
    try {
      set_option(config, path, value);
    } catch (const Error& e) {
      throw Error(e.code(), at(name, node.source()) + e.what());
    }
  }
}

}  // namespace

void parse_toml(std::string_view text, const std::string& name, Config& config) {
  try {
    read_table(toml::parse(text, name), "", name, config);
  } catch (const toml::parse_error& e) {
    throw Error(ErrorCode::usage, at(name, e.source()) + std::string(e.description()));
  }
}

void read_toml(const std::string& path, Config& config) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(ErrorCode::io, path + ": cannot open the configuration file");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  parse_toml(text, path, config);
}

}  // namespace piano
