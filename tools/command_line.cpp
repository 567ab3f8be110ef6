#include "tools/command_line.h"

#include <algorithm>
#include <filesystem>
#include <charconv>
#include <thread>

#define CXXOPTS_VECTOR_DELIMITER '\0'  // a comma in a value is a comma
#include <cxxopts.hpp>

#include "engine/base/error.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

struct Flag {
  std::string name, placeholder, default_value, help;
  bool repeatable = false;
};

template <class Number>
bool parse_whole(const std::string& text, Number& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size();
}

// cxxopts quotes with typographic marks.
std::string plain_quotes(std::string text) {
  for (const std::string mark : {"\u2018", "\u2019"}) {
    for (std::size_t at = 0; (at = text.find(mark, at)) != std::string::npos;) text.replace(at, mark.size(), "'");
  }
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
  return text;
}

}  // namespace

struct CommandLine::Impl {
  std::string verb, synopsis, summary;
  std::vector<std::string> examples, files;
  std::vector<Flag> flags;
  cxxopts::ParseResult result;

  const Flag* find(const std::string& name) const {
    const auto at = std::find_if(flags.begin(), flags.end(), [&](const Flag& f) { return f.name == name; });
    return at == flags.end() ? nullptr : &*at;
  }
};

CommandLine::CommandLine(std::string verb, std::string synopsis, std::string summary) : impl_(std::make_unique<Impl>()) {
  impl_->verb = std::move(verb), impl_->synopsis = std::move(synopsis), impl_->summary = std::move(summary);
}

CommandLine::~CommandLine() = default;

CommandLine& CommandLine::flag(const std::string& name, const std::string& help) {
  impl_->flags.push_back({name, "", "", help});
  return *this;
}

CommandLine& CommandLine::value(const std::string& name, const std::string& placeholder, const std::string& default_value,
                                const std::string& help) {
  impl_->flags.push_back({name, placeholder, default_value, help});
  return *this;
}

CommandLine& CommandLine::repeatable(const std::string& name, const std::string& placeholder, const std::string& help) {
  impl_->flags.push_back({name, placeholder, "", help, true});
  return *this;
}

CommandLine& CommandLine::example(const std::string& command) {
  impl_->examples.push_back(command);
  return *this;
}

void CommandLine::refuse(const std::string& message) const {
  throw Error(ErrorCode::usage, message + "; see piano help " + impl_->verb);
}

bool CommandLine::parse(const Arguments& arguments) {
  std::vector<std::string> known{"help"};
  for (const Flag& f : impl_->flags) known.push_back(f.name);
  for (std::size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    const std::string& argument = arguments[i];
    if (!argument.starts_with("--")) continue;
    const std::string name = argument.substr(2, argument.find('=') - 2);
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const std::string near = nearest(name, known);
      refuse("unknown flag --" + name + (near.empty() ? "" : ": did you mean --" + near + "?"));
    }
    const Flag* f = impl_->find(name);
    const bool wants_value = f != nullptr && !f->placeholder.empty() && argument.find('=') == std::string::npos;
    if (wants_value && (i + 1 == arguments.size() || arguments[i + 1].starts_with("--"))) refuse("--" + name + " needs " + f->placeholder);
  }

  cxxopts::Options options("piano " + impl_->verb);
  options.add_options()("h,help", "");
  for (const Flag& f : impl_->flags) {
    if (f.placeholder.empty()) options.add_options()(f.name, "");
    else if (f.repeatable) options.add_options()(f.name, "", cxxopts::value<std::vector<std::string>>());
    else options.add_options()(f.name, "", cxxopts::value<std::string>());
  }
  std::vector<const char*> argv{"piano"};
  for (const std::string& a : arguments) argv.push_back(a.c_str());
  try {
    impl_->result = options.parse(static_cast<int>(argv.size()), argv.data());
  } catch (const cxxopts::exceptions::exception& e) {
    refuse(plain_quotes(e.what()));
  }
  if (impl_->result.count("help") > 0) {
    print(help());
    return false;
  }
  impl_->files = impl_->result.unmatched();
  return true;
}

bool CommandLine::given(const std::string& name) const { return impl_->result.count(name) > 0; }

std::string CommandLine::text(const std::string& name) const {
  return given(name) ? impl_->result[name].as<std::string>() : impl_->find(name)->default_value;
}

std::string CommandLine::required(const std::string& name) const {
  const std::string value = text(name);
  if (value.empty()) refuse("--" + name + " " + impl_->find(name)->placeholder + " is needed");
  return value;
}

std::int64_t CommandLine::integer(const std::string& name, std::int64_t low, std::int64_t high) const {
  std::int64_t number = 0;
  const std::string value = text(name);
  if (!parse_whole(value, number) || number < low || number > high) {
    refuse("--" + name + ": expected an integer from " + std::to_string(low) + " to " + std::to_string(high) + ", got '" + value + "'");
  }
  return number;
}

double CommandLine::number(const std::string& name) const {
  double number = 0;
  const std::string value = text(name);
  if (!parse_whole(value, number)) refuse("--" + name + ": expected a number, got '" + value + "'");
  return number;
}

std::size_t CommandLine::choice(const std::string& name, const std::vector<std::string>& choices) const {
  const std::string value = text(name);
  const auto at = std::find(choices.begin(), choices.end(), value);
  if (at != choices.end()) return static_cast<std::size_t>(at - choices.begin());
  std::string list;
  for (const std::string& c : choices) list += (list.empty() ? "" : " | ") + c;
  const std::string near = nearest(value, choices);
  refuse("--" + name + ": expected " + list + ", got '" + value + "'" + (near.empty() ? "" : ": did you mean '" + near + "'?"));
}

std::vector<std::string> CommandLine::all(const std::string& name) const {
  return given(name) ? impl_->result[name].as<std::vector<std::string>>() : std::vector<std::string>{};
}

const std::vector<std::string>& CommandLine::files() const { return impl_->files; }

void CommandLine::no_files() const {
  if (!impl_->files.empty()) refuse("unexpected argument '" + impl_->files.front() + "'");
}

std::string CommandLine::help() const {
  std::string out = "piano " + impl_->verb + ": " + impl_->summary + "\n\n  piano " + impl_->verb + " " + impl_->synopsis + "\n\n";
  std::size_t width = 0;
  const auto left = [](const Flag& f) { return "--" + f.name + (f.placeholder.empty() ? "" : " " + f.placeholder); };
  for (const Flag& f : impl_->flags) width = std::max(width, left(f).size());
  for (const Flag& f : impl_->flags) {
    const std::string start = left(f);
    out += "  " + start + std::string(width + 2 - start.size(), ' ') + f.help;
    if (!f.default_value.empty()) out += " (default: " + f.default_value + ")";
    out += f.repeatable ? " (may be repeated)\n" : "\n";
  }
  if (!impl_->examples.empty()) out += impl_->flags.empty() ? "Example:\n" : "\nExample:\n";
  for (const std::string& e : impl_->examples) out += "  " + e + "\n";
  return out;
}

void require_distinct(const std::vector<NamedPath>& outputs, const std::vector<NamedPath>& inputs) {
  const auto is_file = [](const std::string& path) { return !path.empty() && path != "-"; };
  const auto same = [](const std::string& a, const std::string& b) {
    std::error_code failed;  // of paths that cannot be resolved the texts are compared
    const auto resolved = [&](const std::string& path) {
      const auto full = std::filesystem::weakly_canonical(std::filesystem::absolute(path, failed), failed);
      return failed ? std::filesystem::path(path) : full;
    };
    return std::filesystem::equivalent(a, b, failed) || resolved(a) == resolved(b);  // equivalent(): hard links too
  };
  const auto check = [&](const NamedPath& a, const NamedPath& b) {
    if (!is_file(a.path) || !is_file(b.path) || !same(a.path, b.path)) return;
    throw Error(ErrorCode::usage, a.use + " and " + b.use + " are the same file, " + a.path + "; nothing was written, give " + a.use + " another name");
  };
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].path == "-") {
      throw Error(ErrorCode::usage, outputs[i].use + ": expected the name of a file, got '-': this result cannot go to stdout");
    }
    for (const NamedPath& input : inputs) check(outputs[i], input);
    for (std::size_t j = 0; j < i; ++j) check(outputs[i], outputs[j]);
  }
}

data::Dataset dataset_of(const CommandLine& line) { return open_dataset(line.required("data")); }

data::Dataset open_dataset(const std::string& path) {
  try {
    return data::Dataset(path);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::model) throw;
    throw Error(e.code(), std::string(e.what()) + "; --data takes what piano prepare wrote");
  }
}

std::vector<std::int64_t> requests_of(const data::Dataset& dataset, std::size_t part) {
  std::vector<std::int64_t> requests;
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    if (part == 3 || static_cast<std::size_t>(dataset.split(r)) == part) requests.push_back(r);
  }
  if (requests.empty()) throw Error(ErrorCode::data, dataset.path() + ": no request in the part '" + kParts[part] + "'; try --split all");
  return requests;
}

Config config_of(const CommandLine& line) {
  Config config;
  if (line.given("config")) read_toml(line.text("config"), config);
  for (const std::string& assignment : line.all("set")) set_option(config, assignment);
  return config;
}

int threads_of(const CommandLine& line) {
  if (line.given("threads")) return static_cast<int>(line.integer("threads", 1, 1024));
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

}  // namespace piano::tools
