// piano rerank: one line in, one line out, in order.
#include <atomic>
#include <exception>
#include <functional>

#include "data/line_reader.h"
#include "data/request_json.h"
#include "engine/base/log.h"
#include "engine/core/thread_pool.h"
#include "piano/piano.h"
#include "tools/answer_json.h"
#include "tools/command_line.h"
#include "tools/device_flag.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

// Lines are taken in groups, each line of a group is answered by whichever worker is free, and the answers are printed in order.
class Reranker {
 public:
  // `workers` requests at a time, each as `options` say.
  Reranker(std::shared_ptr<const Model> model, int workers, const SessionOptions& options, bool stop_on_error)
      : model_(std::move(model)), options_(options), stop_(stop_on_error), pool_(workers), workers_(static_cast<std::size_t>(workers)) {}

  // Takes one line. An empty line is no request.
  void add(std::string_view line, std::int64_t number) {
    if (line.find_first_not_of(" \t") == std::string_view::npos) return;
    if (count_ == group_.size()) group_.emplace_back();
    group_[count_].text = line;
    group_[count_++].number = number;
    bytes_ += line.size();
  }
  bool full() const { return count_ >= kGroup * workers_.size() || bytes_ >= kGroupBytes; }

  // Prints the answers to the lines taken.
  void answer(const std::string& file) {
    std::atomic<std::size_t> next{0};
    auto work = [&](int w) {
      auto& worker = workers_[static_cast<std::size_t>(w)];
      for (std::size_t i = next++; i < count_; i = next++) {
        if (!worker) worker = std::make_unique<Worker>(model_, options_);
        answer(group_[i], *worker);
      }
    };
    count_ > 1 ? pool_.run(work) : work(0);
    const std::size_t count = std::exchange(count_, 0);
    bytes_ = 0;
    for (std::size_t i = 0; i < count; ++i) report(group_[i], file);
  }

  void summary() const {
    if (errors_ > 0) {
      log_warning(count_text(errors_) + " of " + counted(requests_, "request") + (errors_ == 1 ? " was" : " were") + " answered with an error; the first: " + first_error_);
    }
    HistoryUse use;
    for (const auto& worker : workers_) {
      const HistoryUse own = worker ? worker->session.history_use() : HistoryUse{};
      use.requests += own.requests, use.known += own.known;
    }
    if (use.requests > 0) {
      log_info("histories: " + count_text(use.known) + " of " + count_text(use.requests) + " were known from an earlier request (" +
               number_text(100.0 * static_cast<double>(use.known) / static_cast<double>(use.requests), 1) + " %)");
    }
  }

 private:
  static constexpr std::size_t kGroup = 32, kGroupBytes = std::size_t{4} << 20;

  struct Line {
    std::string text, answer, error;
    std::int64_t number = 0, column = 0;  // the column of the error
    std::exception_ptr failure;           // what ends the run
  };
  struct Worker {
    Worker(std::shared_ptr<const Model> model, const SessionOptions& options) : session(std::move(model), options) {}
    Session session;
    data::RequestParser parser;
  };

  void answer(Line& line, Worker& worker) const {
    line.answer.clear();
    line.error.clear();
    line.failure = nullptr;
    bool parsed = false;
    try {
      const Request& request = worker.parser.parse(line.text);
      parsed = true;
      append_answer(request.id, *model_, worker.session.rerank(request), line.answer);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::data) {
        line.failure = std::current_exception();
        return;
      }
      line.error = e.what();
      line.column = std::max<std::int64_t>(parsed ? worker.parser.column_of(e.what()) : worker.parser.error_column(), 1);
      append_error(worker.parser.last_id(), e.what(), line.answer);
    } catch (...) {
      line.failure = std::current_exception();
    }
  }

  void report(const Line& line, const std::string& file) {
    ++requests_;
    if (line.failure) std::rethrow_exception(line.failure);
    if (!line.error.empty()) {
      const std::string place = file + ":" + std::to_string(line.number) + ":";
      if (stop_) throw Error(ErrorCode::data, place + std::to_string(line.column) + ": " + line.error);
      if (errors_++ == 0) first_error_ = place + " " + line.error;
    }
    print(line.answer);
  }

  std::shared_ptr<const Model> model_;
  SessionOptions options_;
  bool stop_;
  ThreadPool pool_;
  std::vector<std::unique_ptr<Worker>> workers_;  // made when first needed
  std::vector<Line> group_;                 // keeps its memory; the first count_ are taken
  std::size_t count_ = 0, bytes_ = 0;
  std::string first_error_;
  std::int64_t requests_ = 0, errors_ = 0;
};

}  // namespace

void rerank(const Arguments& arguments) {
  CommandLine line("rerank", "--model FILE [flags] [REQUESTS...]",
                   "re-ranks requests: JSON lines in, JSON lines out (docs/requests.md); no file or - is stdin; either may be gzipped");
  line.value("model", "FILE", "", "model, from piano train")
      .value("on-error", "WHAT", "answer", "answer: a bad line is answered with its error, in place | stop: it ends the run")
      .value("threads", "N", "", "cores (default: all); the answers do not depend on it")
      .value("mode", "MODE", "throughput", "throughput: each core answers a request of its own | latency: all cores work on one request at a time")
      .example("piano rerank --model model.safetensors < requests.jsonl > reranked.jsonl");
  with_device(line);
  if (!line.parse(arguments)) return;
  const bool stop = line.choice("on-error", {"answer", "stop"}) == 1;
  const bool latency = line.choice("mode", {"throughput", "latency"}) == 1;
  const Device& device = device_of(line);
  const bool on_gpu = device.make_memory != nullptr;  // one request at a time, and a copy of the whole model: it is checked before
  if (on_gpu && latency) throw Error(ErrorCode::usage, "--mode latency shares a request among cores, and --device cuda has it computed by none of them");
  const int threads = on_gpu ? 1 : threads_of(line);
  Reranker reranker(Model::load(line.required("model"), on_gpu ? Check::at_load : Check::as_read), latency ? 1 : threads,
                    {.threads = latency ? threads : 1, .device = &device}, stop);

  std::vector<std::string> files = line.files();
  if (files.empty()) files.push_back("-");
  for (const std::string& file : files) {
    const std::string name = file == "-" ? "<stdin>" : file;
    data::LineReader lines(file, data::kMaxLine, file != "-" ? std::function<void()>() : [&] {
      reranker.answer(name);  // somebody may be waiting for it
      flush_results();
    });
    try {
      for (std::string_view text; lines.next(text);) {
        reranker.add(text, lines.line());
        if (reranker.full()) reranker.answer(name);
      }
    } catch (const Error&) {  // what came before a damaged end is answered
      reranker.answer(name);
      throw;
    }
    reranker.answer(name);
  }
  reranker.summary();
}

}  // namespace piano::tools
