// What all readers share: the lines of several files one after another, progress, and what happens to a row that cannot be read.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/line_reader.h"
#include "data/readers.h"
#include "engine/base/files.h"

namespace piano::data {

// The parts of a text; an empty text has none.
void split_at(std::string_view text, char separator, std::vector<std::string_view>& parts);
std::optional<std::int64_t> whole_number(std::string_view text);  // 0 or more
std::string first_line(const std::string& path);                  // "" of an empty file; what tells the files of a log apart

class RowSource {
 public:
  RowSource(const std::vector<std::string>& paths, const ReadOptions& options);

  // The next line of any of the files; false at the end. `first` says that it is the first line of its file.
  bool next(std::string_view& line, bool& first);
  const std::string& file() const { return reader_->file(); }
  std::int64_t line() const { return reader_->line(); }
  std::size_t file_number() const { return opened_ - 1; }  // of the file, among the paths

  // on_error = stop: throws Error{data}. skip: counts, and writes the row to the rejects file.
  void reject(const SourcePosition& where, std::string_view reason, std::string_view row);
  void count_row() { ++report_.rows; }  // a line that is not empty and no header
  void count_request() { ++report_.requests; }

  // Call at the end: the rejects file appears.
  ReadReport finish();

 private:
  void show_progress();

  std::vector<std::string> paths_;
  const ReadOptions& options_;
  std::unique_ptr<LineReader> reader_;
  std::size_t opened_ = 0;
  std::int64_t lines_ = 0;
  std::int64_t done_ = 0, total_ = 0;  // bytes of the files behind us; of all
  std::unique_ptr<AtomicFile> rejects_;
  ReadReport report_;
};

}  // namespace piano::data
