#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>
#include <tuple>
#include <unordered_map>

#include "data/csv.h"
#include "data/entity_table.h"
#include "data/hash.h"
#include "data/reader_rows.h"
#include "data/readers.h"
#include "engine/base/error.h"

namespace piano::data {
namespace {

// The files, in the order in which they are read, and the columns that are read of each. Others may be there, in any order.
enum File : std::size_t { items_file, users_file, recommendations_file, searches_file, kFiles };
constexpr std::array<std::string_view, kFiles> kFileNames = {"item_features.csv", "user_features.csv", "rec_inter.csv", "src_inter.csv"};
const std::array<std::vector<std::string_view>, kFiles> kColumns = {{
    {"item_id", "author_id", "first_level_category_id", "second_level_category_id", "third_level_category_id", "fourth_level_category_id", "item_type"},
    {"user_id", "search_active_level", "rec_active_level", "onehot_feat1", "onehot_feat2"},
    {"user_id", "item_id", "timestamp", "click", "like", "follow", "forward"},
    {"user_id", "search_session_id", "search_session_timestamp", "keyword", "search_source", "item_id", "click_cnt", "item_type"},
}};
constexpr std::size_t kLastCategory = 5;  // of item_features: author and categories have 0 for unknown

std::vector<std::string_view> cells_of_header(std::string_view header, CsvRow& csv) {
  if (header.starts_with("\xef\xbb\xbf")) header.remove_prefix(3);
  csv.split(header);
  return csv.cells();
}

bool has_all(const std::vector<std::string_view>& cells, const std::vector<std::string_view>& names) {
  return std::all_of(names.begin(), names.end(), [&](std::string_view n) { return std::find(cells.begin(), cells.end(), n) != cells.end(); });
}

// By the columns; kFiles when it is none of them.
std::size_t kind_of(const std::string& header) {
  CsvRow csv;
  std::size_t kind = 0;
  try {
    const auto cells = cells_of_header(header, csv);
    while (kind < kFiles && !has_all(cells, kColumns[kind])) ++kind;
  } catch (const Error&) {  // not even CSV
    return kFiles;
  }
  return kind;
}

struct Inputs {
  std::vector<std::string> paths;
  std::vector<File> kinds;
};

Inputs in_order(const std::vector<std::string>& paths) {
  std::array<std::string, kFiles> by_kind;
  for (const std::string& path : paths) {
    const std::size_t kind = kind_of(first_line(path));
    if (kind == kFiles)
      throw Error(ErrorCode::data, path + ":1:1: expected the header of KuaiSAR's item_features.csv, user_features.csv, rec_inter.csv or src_inter.csv; "
                                          "no other file of the set is read");
    if (!by_kind[kind].empty()) throw Error(ErrorCode::usage, path + ": " + std::string(kFileNames[kind]) + " was given already, as " + by_kind[kind]);
    by_kind[kind] = path;
  }
  for (const File needed : {recommendations_file, searches_file})
    if (by_kind[needed].empty()) throw Error(ErrorCode::usage, "--format kuaisar wants rec_inter.csv and src_inter.csv; " + std::string(kFileNames[needed]) + " is missing");
  Inputs inputs;
  for (std::size_t kind = 0; kind < kFiles; ++kind)
    if (!by_kind[kind].empty()) inputs.paths.push_back(by_kind[kind]), inputs.kinds.push_back(static_cast<File>(kind));
  return inputs;
}

struct ShownRecord {
  std::int32_t session, item, clicked;
  std::int32_t row;
};

class KuaisarReader {
 public:
  KuaisarReader(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer)
      : inputs_(in_order(paths)), source_(inputs_.paths, options), writer_(writer) {}

  ReadReport read();

 private:
  struct Session {
    std::int64_t time;
    std::int32_t user, query, source;
  };

  void read_header(File kind, std::string_view line);
  void read_row(File kind, std::string_view line);
  // Each throws Error{data} and leaves in cell_ which cell it is about.
  void add_entity(EntityTable& table, File kind);
  void add_recommendation();
  void add_search();
  std::string_view required(std::size_t cell);
  std::int64_t milliseconds(std::size_t cell);
  std::int64_t count(std::size_t cell);
  void write_sessions();
  void write_session(const Session& session, std::string_view id, std::span<const ShownRecord> shown);

  Inputs inputs_;
  RowSource source_;
  DatasetWriter& writer_;
  CsvRow csv_;
  std::vector<std::size_t> places_;       // of the columns of kColumns in this file
  std::size_t header_cells_ = 0;
  std::vector<std::string_view> cells_;
  std::size_t cell_ = 0;

  EntityTable items_{{"author", "category_1", "category_2", "category_3", "category_4", "type"}};
  EntityTable users_{{"search_active_level", "rec_active_level", "onehot_feat1", "onehot_feat2"}};
  std::unordered_map<std::uint64_t, std::int64_t> last_liked_;  // hash of (user, item) -> when last liked, followed or forwarded
  Interner session_ids_, user_ids_, item_ids_, queries_, sources_;
  std::vector<Session> sessions_;
  SpillColumn<ShownRecord> shown_;
  std::int32_t rows_ = 0;
};

std::uint64_t pair_key(std::string_view user, std::string_view item) { return hash64(item, hash64(user, 7)); }

ReadReport KuaisarReader::read() {
  std::string_view line;
  bool first = false;
  while (source_.next(line, first)) {
    const File kind = inputs_.kinds[source_.file_number()];
    if (first) read_header(kind, line);
    else if (!line.empty()) read_row(kind, line);
  }
  write_sessions();
  return source_.finish();
}

void KuaisarReader::read_header(File kind, std::string_view line) {
  const auto cells = cells_of_header(line, csv_);
  header_cells_ = cells.size();
  places_.clear();
  for (const std::string_view name : kColumns[kind]) places_.push_back(static_cast<std::size_t>(std::find(cells.begin(), cells.end(), name) - cells.begin()));
}

void KuaisarReader::read_row(File kind, std::string_view line) {
  source_.count_row();
  std::int64_t column = 1;
  try {
    try {
      csv_.split(line);
    } catch (const Error&) {
      column = csv_.error_column();
      throw;
    }
    if (csv_.cells().size() != header_cells_)
      throw Error(ErrorCode::data, "expected " + std::to_string(header_cells_) + " cells as in the header, got " + std::to_string(csv_.cells().size()));
    cells_.clear();
    for (const std::size_t place : places_) cells_.push_back(csv_.cells()[place]);
    cell_ = 0;
    try {
      if (kind == items_file) add_entity(items_, kind);
      else if (kind == users_file) add_entity(users_, kind);
      else if (kind == recommendations_file) add_recommendation();
      else add_search();
    } catch (const Error&) {
      column = csv_.column(places_[cell_]);
      throw;
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::data) throw;
    source_.reject({source_.file(), source_.line(), column}, error.what(), line);
  }
}

std::string_view KuaisarReader::required(std::size_t cell) {
  cell_ = cell;
  if (cells_[cell].empty()) throw Error(ErrorCode::data, "expected an id, got nothing");
  return cells_[cell];
}

std::int64_t KuaisarReader::milliseconds(std::size_t cell) {
  cell_ = cell;
  const std::string_view text = cells_[cell];
  double value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || !(value >= 0 && value < 1e16))
    throw Error(ErrorCode::data, "expected a time in milliseconds, got \"" + std::string(text) + "\"");
  return static_cast<std::int64_t>(value / 1000);
}

std::int64_t KuaisarReader::count(std::size_t cell) {
  cell_ = cell;
  const std::string_view text = cells_[cell];
  double value = 0;  // whole, but some tools write 1.0
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc{} || end.ptr != text.data() + text.size() || !(value >= 0 && value <= 1e9) || value != std::floor(value))
    throw Error(ErrorCode::data, "expected a count, got \"" + std::string(text) + "\"");
  return static_cast<std::int64_t>(value);
}

void KuaisarReader::add_entity(EntityTable& table, File kind) {
  const std::string_view id = required(0);
  std::vector<std::string_view> values(cells_.begin() + 1, cells_.end());
  if (kind == items_file)
    for (std::size_t k = 0; k < kLastCategory; ++k)
      if (values[k] == "0") values[k] = {};
  if (!table.add(id, values)) throw Error(ErrorCode::data, "the id " + std::string(id) + " was given before");
}

// The strongest of what was done; an item that was passed over is no event.
void KuaisarReader::add_recommendation() {
  const std::string_view user = required(0), item = required(1);
  const std::int64_t time = milliseconds(2);
  const bool clicked = count(3) > 0, liked = count(4) > 0, followed = count(5) > 0, forwarded = count(6) > 0;
  if (liked || followed || forwarded) {
    std::int64_t& last = last_liked_.try_emplace(pair_key(user, item), time).first->second;
    last = std::max(last, time);
  } else if (!clicked) {
    return;
  }
  Event event;
  event.time = time;
  event.item = item;
  event.action = forwarded ? "forward" : followed ? "follow" : liked ? "like" : "play";
  event.fields = items_.look_up({&item, 1})[0];
  writer_.add_event(user, event, 0);
}

void KuaisarReader::add_search() {
  const std::string_view user = required(0), session = required(1), item = required(5);
  const std::int64_t time = milliseconds(2), clicks = count(6);
  cell_ = 3;
  std::string_view keyword = cells_[3];
  if (keyword.size() < 2 || keyword.front() != '[' || keyword.back() != ']')
    throw Error(ErrorCode::data, "expected a list of words like [20, 34, 3], got \"" + std::string(keyword) + "\"");
  keyword = keyword.substr(1, keyword.size() - 2);

  const std::string id = std::string(user) + "/" + std::string(session);
  const std::int32_t known = session_ids_.size(), number = session_ids_.intern(id);
  if (number == known)
    sessions_.push_back({time, user_ids_.intern(user), queries_.intern(keyword), sources_.intern(cells_[4])});
  shown_.push({number, item_ids_.intern(item), clicks > 0 ? 1 : 0, rows_++});
  if (!items_.contains(item)) {
    const std::array<std::string_view, 6> values = {"", "", "", "", "", cells_[7]};
    items_.add(item, values);
  }
}

// The rows of a session need not stand together.
void KuaisarReader::write_sessions() {
  const std::span<ShownRecord> shown = shown_.view();
  std::sort(shown.begin(), shown.end(), [](const ShownRecord& a, const ShownRecord& b) {
    return std::tuple(a.session, a.item, -a.clicked, a.row) < std::tuple(b.session, b.item, -b.clicked, b.row);
  });
  for (std::size_t begin = 0, end = 0; begin < shown.size(); begin = end) {
    const std::int32_t session = shown[begin].session;
    while (end < shown.size() && shown[end].session == session) ++end;
    write_session(sessions_[static_cast<std::size_t>(session)], session_ids_.text(session), shown.subspan(begin, end - begin));
  }
}

void KuaisarReader::write_session(const Session& session, std::string_view id, std::span<const ShownRecord> shown) {
  const std::string_view user = user_ids_.text(session.user);
  std::vector<Candidate> candidates;
  std::vector<std::string_view> ids;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (i > 0 && shown[i].item == shown[i - 1].item) continue;  // shown twice; the clicked one is first
    Candidate& candidate = candidates.emplace_back();
    candidate.id = item_ids_.text(shown[i].item);
    candidate.click = shown[i].clicked != 0;
    const auto liked = last_liked_.find(pair_key(user, candidate.id));
    candidate.conversion = *candidate.click && liked != last_liked_.end() && liked->second >= session.time;
  }
  // The log has no positions: its order is nobody's ranking.
  std::sort(candidates.begin(), candidates.end(), [key = hash64(id)](const Candidate& a, const Candidate& b) {
    return std::tuple(hash64(a.id, key), a.id) < std::tuple(hash64(b.id, key), b.id);
  });
  for (const Candidate& c : candidates) ids.push_back(c.id);
  const auto fields = items_.look_up(ids);
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].fields = fields[i];

  std::vector<std::string_view> words;
  split_at(queries_.text(session.query), ',', words);
  for (std::string_view& word : words) {
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
  }
  const std::string_view source = sources_.text(session.source);
  const Field context{"source", {&source, 1}};
  const auto user_fields = users_.look_up({&user, 1});

  Request request;
  request.id = id;
  request.time = session.time;
  request.user = user;
  request.user_fields = user_fields[0];
  request.query.terms = words;
  request.context = {&context, 1};
  request.candidates = candidates;
  writer_.add_request(request, 0, false);
  source_.count_request();

  // What later requests know of this one: clicks, not the conversions, which are known only later.
  Event event;
  event.time = session.time;
  event.query = request.query;
  event.action = "search";
  bool any = false;
  for (const Candidate& c : candidates) {
    if (!*c.click) continue;
    Event click = event;
    click.item = c.id;
    click.action = "click";
    click.fields = c.fields;
    writer_.add_event(user, click, 0);
    any = true;
  }
  if (!any) writer_.add_event(user, event, 0);
}

}  // namespace

ReadReport read_kuaisar(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer) {
  return KuaisarReader(paths, options, writer).read();
}

}  // namespace piano::data
