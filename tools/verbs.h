// The verbs of the binary. Each takes its arguments, writes results to stdout and everything else to stderr, and throws piano::Error.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace piano::tools {

using Arguments = std::vector<std::string>;

void demo(const Arguments& arguments);
void simulate(const Arguments& arguments);
void prepare(const Arguments& arguments);
void train(const Arguments& arguments);
void evaluate(const Arguments& arguments);
void compare(const Arguments& arguments);
void export_svmlight(const Arguments& arguments);
void rerank(const Arguments& arguments);
void inspect(const Arguments& arguments);
void bench(const Arguments& arguments);
void selftest(const Arguments& arguments);
void version(const Arguments& arguments);

struct Verb {
  const char* name;
  const char* summary;
  void (*run)(const Arguments& arguments);
};
std::span<const Verb> verbs();  // in the order in which one meets them

}  // namespace piano::tools
