#include "data/reader_rows.h"

#include <filesystem>

#include "engine/base/error.h"

namespace piano::data {

RowSource::RowSource(const std::vector<std::string>& paths, const ReadOptions& options) : paths_(paths), options_(options) {
  if (paths.empty()) throw Error(ErrorCode::usage, "expected at least one input file, or - for stdin");
  for (const std::string& path : paths) {
    std::error_code failed;
    const auto size = std::filesystem::file_size(path, failed);  // stdin and pipes have none
    if (!failed) total_ += static_cast<std::int64_t>(size);
  }
}

bool RowSource::next(std::string_view& line, bool& first) {
  for (;;) {
    if (!reader_) {
      if (opened_ == paths_.size()) return false;
      reader_ = std::make_unique<LineReader>(paths_[opened_++]);
    }
    if (reader_->next(line)) {
      first = reader_->line() == 1;
      if (++lines_ % 1000 == 0) show_progress();
      return true;
    }
    done_ += reader_->bytes_total();
    if (opened_ == paths_.size()) return false;
    reader_.reset();
  }
}

void RowSource::show_progress() {
  if (!options_.progress) return;
  options_.progress(std::min(total_, done_ + reader_->bytes_done()), total_, report_.requests);
}

void RowSource::reject(const SourcePosition& where, std::string_view reason, std::string_view row) {
  const std::string place = where.file + ":" + std::to_string(where.line) + ":" + std::to_string(where.column);
  const std::string message = place + ": " + std::string(reason);
  if (options_.on_error == OnError::stop) throw Error(ErrorCode::data, message);
  if (report_.rejected++ == 0) report_.first_rejection = message;
  if (options_.rejects.empty()) return;
  if (!rejects_) rejects_ = std::make_unique<AtomicFile>(options_.rejects);
  rejects_->write(place + "\t" + std::string(reason) + "\t" + std::string(row) + "\n");
}

ReadReport RowSource::finish() {
  if (options_.progress) options_.progress(total_, total_, report_.requests);
  if (rejects_) rejects_->commit();
  return report_;
}

}  // namespace piano::data
