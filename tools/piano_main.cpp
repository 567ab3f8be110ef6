// The piano binary: finds the verb, runs it, and is the one place where an error becomes a line and an exit code.
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <stdexcept>

#include "engine/base/error.h"
#include "piano/config.h"
#include "tools/output.h"
#include "tools/signals.h"
#include "tools/verbs.h"

namespace piano::tools {

std::span<const Verb> verbs() {
  static constexpr Verb list[] = {
      {"demo", "the whole way in minutes: simulate, prepare, train, evaluate, re-rank", demo},
      {"simulate", "writes a synthetic log of music search with known truth", simulate},
      {"prepare", "turns a log into a packed data set", prepare},
      {"train", "learns a model from a packed data set", train},
      {"evaluate", "measures a model beside simple heuristics", evaluate},
      {"compare", "models, seeds and folds in one table, with paired intervals", compare},
      {"rerank", "re-ranks requests: JSON lines in, JSON lines out", rerank},
      {"calibrate", "makes a model's probabilities come true as often as they say", calibrate},
      {"abtest", "a randomised experiment with simulated users", abtest},
      {"ope", "what another order would have earned, from a log", ope},
      {"inspect", "says what is in a model, data or training file", inspect},
      {"export", "writes candidates as SVMLight, for other learners", export_svmlight},
      {"bench", "measures training and re-ranking on this machine", bench},
      {"selftest", "checks this binary on this machine", selftest},
      {"version", "version, compiler and kernels", version},
  };
  return list;
}

namespace {

std::string overview() {
  std::string out = "piano re-ranks the results of a personalised search.\n\n";
  std::vector<std::vector<std::string>> rows;
  for (const Verb& v : verbs()) rows.push_back({std::string("piano ") + v.name, v.summary});
  out += aligned(rows, "ll", "  ");
  out += "\nExit codes:\n";
  out += aligned({{"0", "done"},
                  {"1", "a bug in piano, or out of memory"},
                  {"2", "usage: a wrong verb, flag, option or argument"},
                  {"3", "bad data: a wrong line in a log or a request, or files that do not fit each other"},
                  {"4", "a file of piano's own (model, packed data, training state) that is damaged, of another kind or too new"},
                  {"5", "training diverged: a loss or score that is not finite"},
                  {"6", "the operating system refused to read or write"},
                  {"130", "interrupted by Ctrl-C; training was saved first"}}, "rl", "  ");
  return out + "\n`piano help VERB` shows flags, defaults and an example. New here? `piano demo`.\n";
}

const Verb& find_verb(const std::string& name) {
  std::vector<std::string> names{"help"};
  for (const Verb& v : verbs()) {
    if (name == v.name) return v;
    names.push_back(v.name);
  }
  const std::string near = nearest(name, names);
  throw Error(ErrorCode::usage, "unknown verb '" + name + "'" + (near.empty() ? "; see piano help" : ": did you mean '" + near + "'?"));
}

void dispatch(const Arguments& arguments) {
  const std::string first = arguments.empty() ? "" : arguments[0];
  if (first.empty()) throw Error(ErrorCode::usage, "expected a verb, such as demo, train or rerank; see piano help");
  if (first == "--version") return version({});
  if (first == "help" || first == "--help" || first == "-h") {
    if (arguments.size() > 1) return find_verb(arguments[1]).run({"--help"});
    return print(overview());
  }
  find_verb(first).run({arguments.begin() + 1, arguments.end()});
}

int report(int code, const char* message) {
  std::fprintf(stderr, "piano: %s\n", message);
  return code;
}

int out_of_memory() {
  return report(static_cast<int>(ErrorCode::internal), "out of memory; try fewer --threads, a smaller model or less data");
}

int run(const Arguments& arguments) {
  try {
    dispatch(arguments);
    flush_results();
    return 0;
  } catch (const Error& e) {
    std::fflush(stdout);
    return report(static_cast<int>(e.code()), e.what());
  } catch (const ReaderGone&) {
    return static_cast<int>(ErrorCode::io);
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const std::length_error&) {  // a vector longer than any memory
    return out_of_memory();
  } catch (const std::exception& e) {
    return report(static_cast<int>(ErrorCode::internal), (std::string("internal error: ") + e.what()).c_str());
  }
}

}  // namespace
}  // namespace piano::tools

int main(int argc, char** argv) {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 128 << 10);  // a large block that is freed goes back to the system, always: else it depends on what was freed before
#endif
  std::signal(SIGPIPE, SIG_IGN);  // a closed pipe is an error of the write, so that temporary files are cleaned up
  piano::tools::clean_up_on_signals();
  return piano::tools::run({argv + 1, argv + argc});
}
