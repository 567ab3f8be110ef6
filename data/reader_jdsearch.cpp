#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <optional>
#include <span>

#include "data/csv.h"
#include "data/entity_table.h"
#include "data/hash.h"
#include "data/reader_rows.h"
#include "data/readers.h"
#include "engine/base/error.h"

namespace piano::data {
namespace {

enum Column : std::size_t { query, candidates, labels, history_queries, history_items, history_actions, history_gaps, kColumns };
constexpr std::string_view kHeader =
    "query\tcandidate_wid_list\tcandidate_label_list\thistory_qry_list\thistory_wid_list\thistory_type_list\thistory_time_list";
constexpr std::string_view kProductHeader =
    "wid\tname\tbrand_id\tbrand_name\tcate_id_1\tcate_name_1\tcate_id_2\tcate_name_2\tcate_id_3\tcate_name_3\tcate_id_4\tcate_name_4\tshop_id";
constexpr std::size_t kProductColumns = 13;
constexpr std::array<std::size_t, 6> kProductFields = {2, 4, 6, 8, 10, 12};  // brand_id, cate_id_1 to 4, shop_id
constexpr char kListSeparator = '_', kTermSeparator = '\x18';
constexpr std::string_view kNothing = "-1";

// A row that cannot be read: what is wrong, and the text in the line that it is about.
struct Bad {
  std::string reason;
  std::string_view where;
};

// Products first, whatever the order given.
std::vector<std::string> in_order(std::vector<std::string> paths) {
  const auto products = [](const std::string& path) {
    const std::string header = first_line(path);
    if (header != kHeader && header != kProductHeader)
      throw Error(ErrorCode::data, path + ":1:1: expected the header of JDsearch's searches (query, candidate_wid_list, ...) or of its products "
                                          "(wid, name, brand_id, ...), tab-separated");
    return header == kProductHeader;
  };
  std::stable_partition(paths.begin(), paths.end(), products);
  return paths;
}

class JdsearchReader {
 public:
  JdsearchReader(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer)
      : source_(in_order(paths), options), writer_(writer) {}

  ReadReport read();

 private:
  void add_product(std::string_view line);  // these two throw Bad
  void add_search(std::string_view line);
  void set_history();
  Query query_of(std::string_view text, std::vector<std::string_view>& terms) const;

  RowSource source_;
  DatasetWriter& writer_;
  EntityTable products_{{"brand", "category_1", "category_2", "category_3", "category_4", "shop"}};
  // Of the row at hand.
  std::vector<std::string_view> cells_, items_, labels_, queries_, actions_, gaps_, query_terms_;
  std::vector<std::vector<std::string_view>> event_terms_;
  std::vector<Event> history_;
  std::vector<Candidate> candidates_;
  std::int64_t time_ = 0;
};

ReadReport JdsearchReader::read() {
  std::string_view line;
  bool first = false, products = false;
  while (source_.next(line, first)) {
    if (first) products = line == kProductHeader;
    if (first || line.empty()) continue;
    source_.count_row();
    const auto reject = [&](std::string_view where, const std::string& reason) {
      source_.reject({source_.file(), source_.line(), where.data() - line.data() + 1}, reason, line);
    };
    try {
      if (const std::size_t broken = find_broken_utf8(line); broken != std::string_view::npos) throw Bad{"broken UTF-8", line.substr(broken)};
      products ? add_product(line) : add_search(line);
    } catch (const Bad& bad) {
      reject(bad.where, bad.reason);
    } catch (const Error& error) {  // of the request as a whole
      if (error.code() != ErrorCode::data) throw;
      reject(cells_[candidates], error.what());
    }
  }
  return source_.finish();
}

void JdsearchReader::add_product(std::string_view line) {
  split_at(line, '\t', cells_);
  if (cells_.size() != kProductColumns) throw Bad{"expected 13 cells, got " + std::to_string(cells_.size()), line};
  if (cells_[0].empty()) throw Bad{"expected a wid, got nothing", cells_[0]};
  std::array<std::string_view, kProductFields.size()> values;
  for (std::size_t k = 0; k < values.size(); ++k) values[k] = cells_[kProductFields[k]] == kNothing ? std::string_view() : cells_[kProductFields[k]];
  if (!products_.add(cells_[0], values)) throw Bad{"the product " + std::string(cells_[0]) + " was given before", cells_[0]};
}

Query JdsearchReader::query_of(std::string_view text, std::vector<std::string_view>& terms) const {
  terms.clear();
  if (text != kNothing) split_at(text, kTermSeparator, terms);
  Query query;
  query.terms = terms;
  return query;
}

// Gaps in seconds: before each event, and last from the newest event to the search. Time 0 is that of the first event.
void JdsearchReader::set_history() {
  const auto list = [&](Column column, std::vector<std::string_view>& parts) { split_at(cells_[column], kListSeparator, parts); };
  list(history_queries, queries_), list(history_items, items_), list(history_actions, actions_), list(history_gaps, gaps_);
  const std::size_t n = items_.size();
  const auto expect = [&](std::size_t wanted, const std::vector<std::string_view>& parts, Column column) {
    if (parts.size() != wanted)
      throw Bad{"expected " + std::to_string(wanted) + " entries for " + std::to_string(n) + " past items, got " + std::to_string(parts.size()), cells_[column]};
  };
  expect(n, queries_, history_queries);
  expect(n, actions_, history_actions);
  if (n > 0 || !gaps_.empty()) expect(n + 1, gaps_, history_gaps);
  history_.assign(n, {});
  event_terms_.resize(std::max(event_terms_.size(), n));
  time_ = 0;
  for (std::size_t t = 0; t < gaps_.size(); ++t) {
    const auto gap = whole_number(gaps_[t]);
    if (!gap || *gap > INT32_MAX) throw Bad{"expected a time gap in seconds, got \"" + std::string(gaps_[t]) + "\"", gaps_[t]};
    time_ += *gap;
    if (t == n) break;
    history_[t].time = time_;
    history_[t].query = query_of(queries_[t], event_terms_[t]);
    if (items_[t] != kNothing) history_[t].item = items_[t];
    history_[t].action = actions_[t];
  }
}

void JdsearchReader::add_search(std::string_view line) {
  split_at(line, '\t', cells_);
  if (cells_.size() != kColumns) throw Bad{"expected 7 cells, got " + std::to_string(cells_.size()), line};
  set_history();

  std::vector<std::string_view>& ids = items_;  // the history's, of which history_ has its views, are not needed any more
  split_at(cells_[candidates], kListSeparator, ids);
  split_at(cells_[labels], kListSeparator, labels_);
  if (labels_.size() != ids.size())
    throw Bad{"expected " + std::to_string(ids.size()) + " labels, one a candidate, got " + std::to_string(labels_.size()), cells_[labels]};
  // The file has the positives first; its order is nobody's ranking.
  std::vector<std::size_t> order(ids.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto key = [&, row = static_cast<std::uint64_t>(writer_.requests())](std::size_t i) { return hash64(ids[i], row); };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
  candidates_.clear();
  for (const std::size_t i : order) {
    const std::string_view text = labels_[i];
    double label = 0;
    const auto end = std::from_chars(text.data(), text.data() + text.size(), label);
    if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || !(label == 0 || label == 1 || label == 2 || label == 3))
      throw Bad{"expected a label of 0 (none), 1 (click), 2 (cart) or 3 (purchase), got \"" + std::string(text) + "\"", text};
    Candidate& candidate = candidates_.emplace_back();
    candidate.id = ids[i];
    candidate.click = label >= 1;
    candidate.conversion = label == 3;
  }

  std::vector<std::string_view> asked;
  for (const Candidate& c : candidates_) asked.push_back(c.id);
  for (const Event& e : history_) asked.push_back(e.item);
  const auto fields = products_.look_up(asked);
  for (std::size_t i = 0; i < candidates_.size(); ++i) candidates_[i].fields = fields[i];
  for (std::size_t t = 0; t < history_.size(); ++t) history_[t].fields = fields[candidates_.size() + t];

  Request request;
  request.time = time_;
  request.query = query_of(cells_[query], query_terms_);
  request.has_history = true;
  request.history = history_;
  request.candidates = candidates_;
  writer_.add_request(request, 0, false);
  source_.count_request();
}

}  // namespace

ReadReport read_jdsearch(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer) {
  return JdsearchReader(paths, options, writer).read();
}

}  // namespace piano::data
