#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>

#include "data/hash.h"
#include "data/reader_rows.h"
#include "data/readers.h"
#include "engine/base/error.h"

namespace piano::data {
namespace {

constexpr std::int64_t kMostFeatures = 10000;
constexpr std::size_t kLongestList = 1000000;  // documents of one query: what is held in memory

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// The words of a line up to its comment.
void split_words(std::string_view line, std::vector<std::string_view>& words) {
  words.clear();
  line = line.substr(0, line.find('#'));
  for (std::size_t i = 0; i < line.size();) {
    while (i < line.size() && is_blank(line[i])) ++i;
    const std::size_t begin = i;
    while (i < line.size() && !is_blank(line[i])) ++i;
    if (i > begin) words.push_back(line.substr(begin, i - begin));
  }
}

std::optional<std::int64_t> feature_index(std::string_view word) {
  const auto index = whole_number(word.substr(0, word.find(':')));
  return index && *index >= 1 && *index <= kMostFeatures ? index : std::nullopt;
}

// Vectors are as wide as the largest index in any of the files.
std::size_t widest(const std::vector<std::string>& paths) {
  std::int64_t width = 0;
  std::vector<std::string_view> words;
  for (const std::string& path : paths) {
    if (path == "-") throw Error(ErrorCode::usage, "--format letor reads its files twice and cannot read stdin");
    LineReader reader(path);
    for (std::string_view line; reader.next(line);) {
      split_words(line, words);
      for (const std::string_view word : words)
        if (word.find(':') != std::string_view::npos) width = std::max(width, feature_index(word).value_or(0));
    }
  }
  return static_cast<std::size_t>(width);
}

// LightGBM's FILE.query beside FILE or FILE.gz: the number of rows of each query, one a line.
class QuerySizes {
 public:
  explicit QuerySizes(std::string path) {
    if (path.ends_with(".gz")) path.resize(path.size() - 3);
    path += ".query";
    if (!std::filesystem::exists(path)) path += ".gz";
    if (std::filesystem::exists(path)) reader_ = std::make_unique<LineReader>(path);
  }
  bool exists() const { return reader_ != nullptr; }
  std::int64_t next() {  // 0 at the end
    std::string_view line;
    do {
      if (!reader_->next(line)) return 0;
    } while (line.empty());
    const auto size = whole_number(line);
    if (!size || *size == 0)
      throw Error(ErrorCode::data, reader_->file() + ":" + std::to_string(reader_->line()) + ":1: expected a number of rows, got \"" + std::string(line) + "\"");
    return *size;
  }
  const std::string& file() const { return reader_->file(); }

 private:
  std::unique_ptr<LineReader> reader_;
};

class LetorReader {
 public:
  LetorReader(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer)
      : paths_(paths), options_(options), source_(paths, options), writer_(writer), width_(widest(paths)) {}

  ReadReport read();

 private:
  void start_file();
  void end_file();
  void read_row(std::string_view line);
  void flush();

  const std::vector<std::string>& paths_;
  const ReadOptions& options_;
  RowSource source_;
  DatasetWriter& writer_;
  std::size_t width_;
  std::vector<std::string_view> words_;

  std::unique_ptr<QuerySizes> sizes_;      // of the file, where there are any
  std::int64_t rows_left_ = 0, list_ = 0;  // with sizes_: of the list; its number in the file
  std::size_t file_ = 0;

  std::string id_;                         // of the list at hand; the first of its rows is at where_
  SourcePosition where_;
  std::string row_;
  std::vector<std::int64_t> grades_;
  std::vector<float> dense_;               // (documents, width)
};

ReadReport LetorReader::read() {
  std::string_view line;
  bool first = false, any = false;
  while (source_.next(line, first)) {
    if (first) {
      if (any) end_file();
      any = true;
      start_file();
    }
    if (line.find_first_not_of(" \t") != std::string_view::npos && line.front() != '#') read_row(line);
  }
  if (any) end_file();
  return source_.finish();
}

void LetorReader::start_file() {
  file_ = source_.file_number();
  sizes_ = std::make_unique<QuerySizes>(paths_[file_]);
  if (!sizes_->exists()) sizes_.reset();
  rows_left_ = list_ = 0;
}

void LetorReader::end_file() {
  flush();
  if (sizes_ && (rows_left_ > 0 || sizes_->next() > 0)) throw Error(ErrorCode::data, sizes_->file() + ": its rows are more than those of " + paths_[file_]);
}

void LetorReader::read_row(std::string_view line) {
  source_.count_row();
  const auto reject = [&](std::string_view where, const std::string& reason) {
    source_.reject({source_.file(), source_.line(), where.data() - line.data() + 1}, reason, line);
  };
  split_words(line, words_);
  if (words_.empty()) return reject(line, "expected a label, got a comment");
  std::string id;
  std::size_t first_feature = 1;
  if (sizes_) {
    if (rows_left_ == 0) {
      rows_left_ = sizes_->next();
      ++list_;
      if (rows_left_ == 0) throw Error(ErrorCode::data, sizes_->file() + ": its rows are fewer than those of " + source_.file());
    }
    --rows_left_;  // also of a row that is rejected below
    id = std::filesystem::path(paths_[file_]).filename().string() + "/" + std::to_string(list_);
  } else if (words_.size() > 1 && words_[1].starts_with("qid:") && words_[1].size() > 4) {
    id = words_[1].substr(4);
    first_feature = 2;
  } else {
    return reject(words_.size() > 1 ? words_[1] : line, "expected qid:<query>, or a file of list sizes " + paths_[file_] + ".query beside it");
  }
  if (id != id_) flush();

  double grade = 0;
  const auto grade_end = std::from_chars(words_[0].data(), words_[0].data() + words_[0].size(), grade);
  if (grade_end.ec != std::errc{} || grade_end.ptr != words_[0].data() + words_[0].size() || !(grade >= 0 && grade <= 1000) || grade != std::floor(grade))
    return reject(words_[0], "expected a whole number as label, got \"" + std::string(words_[0]) + "\"");
  if (grades_.size() == kLongestList) return reject(words_[0], "a query with more than " + std::to_string(kLongestList) + " documents");
  const std::size_t begin = dense_.size();
  dense_.resize(begin + width_, 0.0f);
  for (std::size_t w = first_feature; w < words_.size(); ++w) {
    const std::string_view word = words_[w];
    const std::size_t colon = word.find(':');
    const auto index = feature_index(word);
    double value = 0;
    const std::string_view number = colon == std::string_view::npos ? std::string_view() : word.substr(colon + 1);
    const auto end = std::from_chars(number.data(), number.data() + number.size(), value);
    const bool read = !number.empty() && end.ptr == number.data() + number.size() && end.ec != std::errc::invalid_argument && !std::isnan(value);
    if (!index || !read) {
      dense_.resize(begin);
      return reject(word, "expected <feature from 1 to " + std::to_string(kMostFeatures) + ">:<number>, got \"" + std::string(word) + "\"");
    }
    const bool fits = end.ec == std::errc{} && std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max());
    dense_[begin + static_cast<std::size_t>(*index) - 1] = fits ? static_cast<float>(value) : 0.0f;
  }
  if (grades_.empty()) {
    id_ = id;
    where_ = {source_.file(), source_.line(), 1};
    row_ = line;
  }
  grades_.push_back(static_cast<std::int64_t>(grade));
}

void LetorReader::flush() {
  if (grades_.empty()) return;
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < grades_.size(); ++i) ids.push_back(id_ + "." + std::to_string(i + 1));
  // The file's order is nobody's ranking, and some files have the relevant documents first.
  std::vector<std::size_t> order(ids.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return std::pair(hash64(ids[a]), a) < std::pair(hash64(ids[b]), b); });
  std::vector<Candidate> candidates;
  for (const std::size_t i : order) {
    Candidate& candidate = candidates.emplace_back();
    candidate.id = ids[i];
    candidate.dense = std::span<const float>(dense_).subspan(i * width_, width_);
    candidate.click = grades_[i] >= 1;
    candidate.conversion = grades_[i] >= 2;
  }
  Request request;
  request.id = id_;
  request.candidates = candidates;
  try {
    if (!options_.parts.empty()) writer_.set_part(options_.parts[file_]);
    writer_.add_request(request, 0, false);
    source_.count_request();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::data) throw;
    source_.reject(where_, error.what(), row_);
  }
  grades_.clear();
  dense_.clear();
}

}  // namespace

ReadReport read_letor(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer) {
  return LetorReader(paths, options, writer).read();
}

}  // namespace piano::data
