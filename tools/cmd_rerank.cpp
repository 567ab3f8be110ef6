// piano rerank: one line in, one line out, in order.
#include <functional>

#include "data/line_reader.h"
#include "data/request_json.h"
#include "engine/base/log.h"
#include "piano/piano.h"
#include "tools/answer_json.h"
#include "tools/command_line.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

class Reranker {
 public:
  Reranker(std::shared_ptr<const Model> model, bool stop_on_error) : model_(model), session_(std::move(model)), stop_(stop_on_error) {}

  // Prints the answer to one line. An empty line is no request.
  void answer(std::string_view line, const std::string& file, std::int64_t number) {
    if (line.find_first_not_of(" \t") == std::string_view::npos) return;
    out_.clear();
    ++requests_;
    bool parsed = false;
    try {
      const Request& request = parser_.parse(line);
      parsed = true;
      append_answer(request.id, model_->name(), session_.rerank(request), out_);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::data) throw;
      if (stop_) {
        const std::int64_t column = parsed ? parser_.column_of(e.what()) : parser_.error_column();
        throw Error(ErrorCode::data, file + ":" + std::to_string(number) + ":" + std::to_string(std::max<std::int64_t>(column, 1)) + ": " + e.what());
      }
      if (errors_++ == 0) first_error_ = file + ":" + std::to_string(number) + ": " + e.what();
      append_error(parser_.last_id(), e.what(), out_);
    }
    print(out_);
  }

  void summary() const {
    if (errors_ > 0) {
      log_warning(count_text(errors_) + " of " + counted(requests_, "request") + (errors_ == 1 ? " was" : " were") + " answered with an error; the first: " + first_error_);
    }
  }

 private:
  std::shared_ptr<const Model> model_;
  Session session_;
  bool stop_;
  data::RequestParser parser_;
  std::string out_, first_error_;
  std::int64_t requests_ = 0, errors_ = 0;
};

}  // namespace

void rerank(const Arguments& arguments) {
  CommandLine line("rerank", "--model FILE [flags] [REQUESTS...]",
                   "re-ranks requests: JSON lines in, JSON lines out (docs/requests.md); no file or - is stdin; either may be gzipped");
  line.value("model", "FILE", "", "model, from piano train")
      .value("on-error", "WHAT", "answer", "answer: a bad line is answered with its error, in place | stop: it ends the run")
      .example("piano rerank --model model.safetensors < requests.jsonl > reranked.jsonl");
  if (!line.parse(arguments)) return;
  const bool stop = line.choice("on-error", {"answer", "stop"}) == 1;
  Reranker reranker(Model::load(line.required("model")), stop);

  std::vector<std::string> files = line.files();
  if (files.empty()) files.push_back("-");
  for (const std::string& file : files) {
    data::LineReader lines(file, data::kMaxLine, file == "-" ? flush_results : std::function<void()>());
    std::string_view text;
    while (lines.next(text)) reranker.answer(text, lines.file(), lines.line());
  }
  reranker.summary();
}

}  // namespace piano::tools
