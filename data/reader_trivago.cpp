#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <span>
#include <unordered_map>

#include "data/csv.h"
#include "data/reader_rows.h"
#include "data/readers.h"
#include "engine/base/error.h"

namespace piano::data {
namespace {

enum Column : std::size_t {
  user, session, timestamp, step, action, reference, platform, city, device, filters, impressions, prices, kColumns
};
constexpr std::array<std::string_view, kColumns> kNames = {"user_id",  "session_id", "timestamp", "step",   "action_type",     "reference",
                                                           "platform", "city",       "device",    "current_filters", "impressions", "prices"};
constexpr std::string_view kClickOut = "clickout item";
constexpr std::array<std::string_view, 5> kItemActions = {"interaction item image", "interaction item info", "interaction item rating",
                                                          "interaction item deals", "search for item"};
constexpr std::array<std::string_view, 3> kReferenceActions = {"search for destination", "search for poi", "change of sort order"};
constexpr std::size_t kLongestSession = 100000;  // rows: what is held in memory
constexpr std::size_t kPriceFeatures = 3;

bool is_in(std::string_view text, std::span<const std::string_view> list) { return std::find(list.begin(), list.end(), text) != list.end(); }

// The row's own text and what was made of it.
struct Row {
  std::string line;
  std::array<std::string, kColumns> cells;
  SourcePosition where;
  std::int64_t time = 0, step = 0;
  std::vector<std::string> terms;          // the query in force
  std::vector<std::string_view> term_views;
  std::string_view item;                   // empty: an action without an item

  std::string_view at(Column column) const { return cells[column]; }
};

class TrivagoReader {
 public:
  TrivagoReader(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer)
      : source_(paths, options), writer_(writer) {}

  ReadReport read();

 private:
  void read_header(std::string_view line);
  void read_row(std::string_view line);
  void flush();
  void set_queries();
  void set_last_steps();
  void add_request(const Row& row);
  void set_prices(const Row& row);

  RowSource source_;
  DatasetWriter& writer_;
  CsvRow csv_;
  std::vector<Row> rows_;                  // of the session at hand; the first used_ count
  std::size_t used_ = 0;

  // The last step of the session at which an item was acted on at all, and clicked out.
  struct LastSteps {
    std::int64_t action = -1, click_out = -1;
  };
  std::unordered_map<std::string_view, LastSteps> last_steps_;
  // Scratch of one request.
  std::vector<std::string_view> items_, price_texts_, filters_;
  std::vector<float> price_features_;
  std::vector<double> log_prices_;
  std::vector<Candidate> candidates_;
};

ReadReport TrivagoReader::read() {
  std::string_view line;
  bool first = false;
  while (source_.next(line, first)) {
    if (first) read_header(line);
    else if (!line.empty()) read_row(line);
  }
  flush();
  return source_.finish();
}

void TrivagoReader::read_header(std::string_view line) {
  const auto fail = [&](std::size_t column, const std::string& reason) {
    throw Error(ErrorCode::data, source_.file() + ":1:" + std::to_string(column) + ": " + reason);  // no row can be read: never skipped
  };
  if (line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
  try {
    csv_.split(line);
  } catch (const Error& error) {
    fail(static_cast<std::size_t>(csv_.error_column()), error.what());
  }
  for (std::size_t c = 0; c < std::max(csv_.cells().size(), std::size_t{kColumns}); ++c) {
    const std::string got = c < csv_.cells().size() ? "\"" + std::string(csv_.cells()[c]) + "\"" : "nothing";
    const std::string wanted = c < kColumns ? "\"" + std::string(kNames[c]) + "\"" : "nothing";
    if (got == wanted) continue;
    const auto column = c < csv_.cells().size() ? static_cast<std::size_t>(csv_.column(c)) : line.size() + 1;
    fail(column, "expected " + wanted + " as column " + std::to_string(c + 1) + " of the header, got " + got);
  }
}

void TrivagoReader::read_row(std::string_view line) {
  const auto reject = [&](std::int64_t column, const std::string& reason) {
    source_.reject({source_.file(), source_.line(), column}, reason, line);
  };
  source_.count_row();
  try {
    csv_.split(line);
  } catch (const Error& error) {
    return reject(csv_.error_column(), error.what());
  }
  const auto& cells = csv_.cells();
  if (cells.size() != kColumns) return reject(1, "expected " + std::to_string(kColumns) + " cells, got " + std::to_string(cells.size()));
  for (const Column required : {user, session, action})
    if (cells[required].empty()) return reject(csv_.column(required), "expected a " + std::string(kNames[required]) + ", got nothing");
  const auto time = whole_number(cells[timestamp]), place = whole_number(cells[step]);
  if (!time) return reject(csv_.column(timestamp), "expected a timestamp in seconds, got \"" + std::string(cells[timestamp]) + "\"");
  if (!place) return reject(csv_.column(step), "expected a whole number as step, got \"" + std::string(cells[step]) + "\"");

  if (used_ > 0 && (rows_[0].at(user) != cells[user] || rows_[0].at(session) != cells[session])) flush();
  if (used_ == kLongestSession) return reject(1, "a session of more than " + std::to_string(kLongestSession) + " rows");
  if (used_ == rows_.size()) rows_.emplace_back();
  Row& row = rows_[used_++];
  row.line = line;
  for (std::size_t c = 0; c < kColumns; ++c) row.cells[c] = cells[c];
  row.where = {source_.file(), source_.line(), csv_.column(impressions)};
  row.time = *time;
  row.step = *place;
}

// City, then the last search or sort, then the filters: a query cut short loses filters first.
void TrivagoReader::set_queries() {
  std::string_view last_reference;
  for (Row& row : std::span(rows_).first(used_)) {
    if (is_in(row.at(action), kReferenceActions)) last_reference = row.at(reference);
    row.terms.clear();
    if (!row.at(city).empty()) row.terms.push_back("city:" + row.cells[city]);
    if (!last_reference.empty()) row.terms.push_back("ref:" + std::string(last_reference));
    split_at(row.at(filters), '|', filters_);
    for (const std::string_view filter : filters_)
      if (!filter.empty()) row.terms.push_back("filter:" + std::string(filter));
    row.term_views.assign(row.terms.begin(), row.terms.end());
    const bool acts_on_item = row.at(action) == kClickOut || is_in(row.at(action), kItemActions);
    row.item = acts_on_item && row.at(reference) != "unknown" ? row.at(reference) : std::string_view();
  }
}

void TrivagoReader::set_last_steps() {
  last_steps_.clear();
  for (const Row& row : std::span(rows_).first(used_)) {
    if (row.item.empty()) continue;
    LastSteps& last = last_steps_[row.item];
    last.action = std::max(last.action, row.step);
    if (row.at(action) == kClickOut) last.click_out = std::max(last.click_out, row.step);
  }
}

// One session: each row is an event, and each click-out a request before it is an event.
void TrivagoReader::flush() {
  set_queries();
  set_last_steps();
  for (const Row& row : std::span(rows_).first(used_)) {
    try {
      if (row.at(action) == kClickOut) add_request(row);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::data) throw;
      source_.reject(row.where, error.what(), row.line);
      continue;
    }
    Event event;
    event.time = row.time;
    event.query.terms = row.term_views;
    event.item = row.item;
    event.action = row.at(action);
    writer_.add_event(row.at(user), event, row.step);
  }
  used_ = 0;
}

void TrivagoReader::add_request(const Row& row) {
  split_at(row.at(impressions), '|', items_);
  if (std::find(items_.begin(), items_.end(), row.at(reference)) == items_.end()) return;  // clicked out of a list that is not recorded
  set_prices(row);

  candidates_.assign(items_.size(), {});
  for (std::size_t i = 0; i < items_.size(); ++i) {
    Candidate& candidate = candidates_[i];
    candidate.id = items_[i];
    if (std::isfinite(log_prices_[i])) candidate.dense = std::span<const float>(price_features_).subspan(i * kPriceFeatures, kPriceFeatures);
    const auto last = last_steps_.find(items_[i]);
    candidate.click = last != last_steps_.end() && last->second.action >= row.step;
    candidate.conversion = last != last_steps_.end() && last->second.click_out >= row.step;
  }

  const std::array<std::string_view, 3> values = {row.at(platform), row.at(city), row.at(device)};
  std::vector<Field> context;
  for (std::size_t f = 0; f < values.size(); ++f)
    if (!values[f].empty()) context.push_back({kNames[platform + f], {&values[f], 1}});

  const std::string id = row.cells[user] + "/" + row.cells[session] + "/" + row.cells[step];
  Request request;
  request.id = id;
  request.time = row.time;
  request.user = row.at(user);
  request.query.terms = row.term_views;
  request.context = context;
  request.candidates = candidates_;
  request.target = row.at(reference);
  writer_.add_request(request, row.step, false);
  source_.count_request();
}

// Per candidate: log1p(price); how far that lies above the list's mean; the share of the list's other prices that are lower.
// A price that is not there has NaN in log_prices_; when their number differs from the impressions', nobody knows whose they are.
void TrivagoReader::set_prices(const Row& row) {
  split_at(row.at(prices), '|', price_texts_);
  log_prices_.assign(items_.size(), std::nan(""));
  price_features_.assign(items_.size() * kPriceFeatures, 0.0f);
  if (price_texts_.size() != items_.size()) return;

  double sum = 0;
  std::size_t known = 0;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const std::string_view text = price_texts_[i];
    if (text.empty()) continue;
    double price = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), price);
    if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || !std::isfinite(price) || price < 0)
      throw Error(ErrorCode::data, "expected a price, got \"" + std::string(text) + "\"");
    log_prices_[i] = std::log1p(price);
    sum += log_prices_[i];
    ++known;
  }
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (!std::isfinite(log_prices_[i])) continue;
    const auto lower = std::count_if(log_prices_.begin(), log_prices_.end(), [&](double other) { return other < log_prices_[i]; });
    float* features = &price_features_[i * kPriceFeatures];
    features[0] = static_cast<float>(log_prices_[i]);
    features[1] = static_cast<float>(log_prices_[i] - sum / static_cast<double>(known));
    features[2] = known > 1 ? static_cast<float>(lower) / static_cast<float>(known - 1) : 0.0f;
  }
}

}  // namespace

ReadReport read_trivago(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer) {
  return TrivagoReader(paths, options, writer).read();
}

}  // namespace piano::data
