#include "data/reader_rows.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "engine/base/error.h"

namespace piano::data {

void split_at(std::string_view text, char separator, std::vector<std::string_view>& parts) {
  parts.clear();
  if (text.empty()) return;
  for (std::size_t begin = 0;;) {
    const std::size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    if (end == text.size()) return;
    begin = end + 1;
  }
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::string first_line(const std::string& path) {
  if (path == "-") throw Error(ErrorCode::usage, "expected files, not stdin: this log is read from several files, or twice");
  std::string_view line;
  return LineReader(path).next(line) ? std::string(line) : std::string();
}

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
