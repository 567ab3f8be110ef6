#include "tools/bench_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

#include "engine/base/error.h"
#include "tools/output.h"

extern char** environ;

namespace piano::tools {
namespace {

class Pipe {
 public:
  Pipe() {
    if (pipe(ends_) != 0) throw Error(ErrorCode::io, "cannot make a pipe");
  }
  ~Pipe() { close_reader(), close_writer(); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  void close_reader() { shut(ends_[0]); }
  void close_writer() { shut(ends_[1]); }

 private:
  static void shut(int& end) {
    if (end >= 0) close(end);
    end = -1;
  }
  int ends_[2];
};

}  // namespace

ChildResult run_piano(const std::vector<std::string>& arguments, const std::string& input) {
  Pipe in, out;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.reader(), 0);
  posix_spawn_file_actions_adddup2(&actions, out.writer(), 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);  // notes for people
  for (const int end : {in.reader(), in.writer(), out.reader(), out.writer()}) posix_spawn_file_actions_addclose(&actions, end);
  std::vector<std::string> words{"piano"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  flush_results();
  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  const int failed = posix_spawn(&child, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw Error(ErrorCode::internal, "cannot start this program again");
  in.close_reader(), out.close_writer();
  for (std::size_t written = 0; written < input.size();) {
    const ssize_t n = write(in.writer(), input.data() + written, input.size() - written);
    if (n <= 0) break;  // the child is gone; its status says so
    written += static_cast<std::size_t>(n);
  }
  in.close_writer();

  ChildResult result;
  char buffer[1 << 14];
  for (ssize_t n; (n = read(out.reader(), buffer, sizeof buffer)) > 0;) {
    const bool first = result.output.find('\n') == std::string::npos;
    result.output.append(buffer, static_cast<std::size_t>(n));
    if (first && result.output.find('\n') != std::string::npos) {
      result.first_line_ms = 1e3 * std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) throw Error(ErrorCode::internal, "piano " + arguments.front() + " failed as a part of the benchmark");
  return result;
}

}  // namespace piano::tools
