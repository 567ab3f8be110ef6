#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <span>
#include <tuple>
#include <unordered_set>

#include "data/csv.h"
#include "data/lastfm.h"
#include "data/reader_rows.h"
#include "data/readers.h"
#include "engine/base/error.h"

namespace piano::data {
namespace {

enum File : std::size_t { tags_file, plays_file, taggings_file, kFiles };
constexpr std::array<std::string_view, kFiles> kFileNames = {"tags.dat", "user_artists.dat", "user_taggedartists.dat"};
constexpr std::array<std::string_view, kFiles> kHeaders = {"tagID\ttagValue", "userID\tartistID\tweight",
                                                           "userID\tartistID\ttagID\tday\tmonth\tyear"};
constexpr std::size_t kListLength = 50;

// The three files in the order in which they are read, whatever the order given.
std::vector<std::string> in_order(const std::vector<std::string>& paths) {
  std::vector<std::string> ordered(kFiles);
  for (const std::string& path : paths) {
    const std::string first = first_line(path);
    std::string_view header = first;
    if (header.starts_with("//")) header.remove_prefix(2);
    const auto file = static_cast<std::size_t>(std::find(kHeaders.begin(), kHeaders.end(), header) - kHeaders.begin());
    if (file == kFiles)
      throw Error(ErrorCode::data, path + ":1:1: expected the first line of tags.dat, user_artists.dat or user_taggedartists.dat (as published by HetRec 2011); "
                                          "no other file of the set is read");
    if (!ordered[file].empty()) throw Error(ErrorCode::usage, path + ": " + std::string(kFileNames[file]) + " was given already, as " + ordered[file]);
    ordered[file] = path;
  }
  for (std::size_t f = 0; f < kFiles; ++f)
    if (ordered[f].empty()) throw Error(ErrorCode::usage, "--format lastfm wants tags.dat, user_artists.dat and user_taggedartists.dat; " +
                                                              std::string(kFileNames[f]) + " is missing");
  return ordered;
}

std::string to_utf8(std::string_view text) {
  if (find_broken_utf8(text) == std::string_view::npos) return std::string(text);
  std::string result;
  for (const char c : text) {  // Latin-1
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) result += static_cast<char>(0xc0 | byte >> 6), result += static_cast<char>(0x80 | (byte & 0x3f));
    else result += c;
  }
  return result;
}

class LastfmReader {
 public:
  LastfmReader(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer)
      : source_(in_order(paths), options), writer_(writer), draws_(log_, options.seed) {}

  ReadReport read();

 private:
  // Lines to tables.
  void read_row(File file, std::string_view line);
  std::optional<std::string> add_row(File file);  // what is wrong; cell_ says where
  std::optional<std::int64_t> number(std::size_t cell);

  // Tables to requests.
  void write_user(const LastfmCounts& counts, std::int32_t user, std::span<const LastfmLog::Tagging> taggings);
  void write_events(const LastfmCounts& counts, std::span<const LastfmLog::Tagging> same_query);
  void write_list(const LastfmCounts& counts, const LastfmLog::Tagging& query, LastfmFold fold, Split part);
  Event event_of(const LastfmCounts& counts, std::int32_t artist, std::string_view action);

  RowSource source_;
  DatasetWriter& writer_;
  LastfmLog log_;
  LastfmDraws draws_;
  std::vector<std::string_view> cells_;
  std::size_t cell_ = 0;
  std::unordered_set<std::uint64_t> played_;        // user << 32 | artist

  // Of the user at hand.
  std::vector<std::int64_t> count_of_;              // (artists) plays; 0 = never
  std::vector<char> visible_;                       // (artists)
  std::vector<double> cosine_;                      // (artists)
  std::int64_t twice_median_ = 0;
  std::vector<std::string_view> tag_texts_;
  Field tag_field_;
};

std::optional<std::int64_t> LastfmReader::number(std::size_t cell) {
  cell_ = cell;
  return whole_number(cells_[cell]);
}

std::optional<std::string> LastfmReader::add_row(File file) {
  constexpr std::array<std::size_t, kFiles> kCells = {2, 3, 6};
  const auto got = [&] { return ", got \"" + std::string(cells_[cell_]) + "\""; };
  if (cells_.size() != kCells[file]) return cell_ = 0, "expected " + std::to_string(kCells[file]) + " cells, got " + std::to_string(cells_.size());
  const std::size_t ids = file == tags_file ? 1 : kCells[file] - (file == plays_file ? 1 : 3);
  for (std::size_t c = 0; c < ids; ++c)
    if (!number(c)) return "expected an id" + got();

  if (file == tags_file) {
    cell_ = 1;
    std::string name = to_utf8(cells_[1]);
    if (name.find_first_not_of(' ') == std::string::npos) return "expected a tag" + got();
    if (log_.tags.find(cells_[0]) >= 0) return cell_ = 0, "the tag id " + std::string(cells_[0]) + " was given before";
    log_.tags.intern(cells_[0]);
    log_.tag_names.push_back(std::move(name));
  } else if (file == plays_file) {
    const auto count = number(2);
    if (!count || *count == 0) return "expected a number of plays" + got();
    const std::int32_t user = log_.users.intern(cells_[0]), artist = log_.artists.intern(cells_[1]);
    if (!played_.insert(static_cast<std::uint64_t>(user) << 32 | static_cast<std::uint32_t>(artist)).second)
      return cell_ = 1, "the plays of artist " + std::string(cells_[1]) + " by user " + std::string(cells_[0]) + " were given before";
    log_.plays.push_back({user, artist, *count});
  } else {
    const std::int32_t tag = log_.tags.find(cells_[2]);
    if (tag < 0) return cell_ = 2, "the tag id " + std::string(cells_[2]) + " is not in tags.dat";
    const auto month = number(4), year = number(5);
    if (!year || *year < 1900 || *year > 9999) return "expected a year" + got();
    if (!number(4) || *month < 1 || *month > 12) return "expected a month of 1 to 12" + got();
    const std::int32_t user = log_.users.intern(cells_[0]), artist = log_.artists.intern(cells_[1]);
    log_.taggings.push_back({user, static_cast<std::int32_t>(*year * 12 + *month - 1), tag, artist});
  }
  return std::nullopt;
}

void LastfmReader::read_row(File file, std::string_view line) {
  source_.count_row();
  split_at(line, '\t', cells_);
  if (const auto reason = add_row(file))
    source_.reject({source_.file(), source_.line(), cells_[cell_].data() - line.data() + 1}, *reason, line);
}

ReadReport LastfmReader::read() {
  writer_.set_part(Split::train);  // refuses a split that could part a user's visible plays from the answers otherwise
  std::string_view line;
  bool first = false;
  std::size_t file = kFiles;  // the one being read
  while (source_.next(line, first)) {
    if (first) file = file == kFiles ? 0 : file + 1;
    else if (!line.empty()) read_row(static_cast<File>(file), line);
  }

  // One user's after another's, months ascending; artists by id, not by number, which a hidden play may have given.
  std::sort(log_.taggings.begin(), log_.taggings.end(), [&](const LastfmLog::Tagging& a, const LastfmLog::Tagging& b) {
    return std::tuple(a.user, a.month, a.tag, log_.artists.text(a.artist)) < std::tuple(b.user, b.month, b.tag, log_.artists.text(b.artist));
  });
  std::stable_sort(log_.plays.begin(), log_.plays.end(), [](const auto& a, const auto& b) { return a.user < b.user; });
  const LastfmCounts counts(log_, draws_);
  auto play = log_.plays.begin();
  auto tagging = log_.taggings.begin();
  for (std::int32_t user = 0; user < log_.users.size(); ++user) {
    count_of_.assign(static_cast<std::size_t>(log_.artists.size()), 0);
    std::vector<std::int64_t> sorted;
    for (; play != log_.plays.end() && play->user == user; ++play) {
      count_of_[static_cast<std::size_t>(play->artist)] = play->count;
      sorted.push_back(play->count);
    }
    const auto begin = tagging;
    while (tagging != log_.taggings.end() && tagging->user == user) ++tagging;
    if (sorted.empty()) continue;  // tags, but no plays: nothing to learn from and nothing to measure on
    std::sort(sorted.begin(), sorted.end());
    twice_median_ = sorted[(sorted.size() - 1) / 2] + sorted[sorted.size() / 2];
    write_user(counts, user, {begin, tagging});
  }
  return source_.finish();
}

Event LastfmReader::event_of(const LastfmCounts& counts, std::int32_t artist, std::string_view action) {
  tag_texts_.clear();
  for (const std::int32_t tag : counts.tags_of(artist)) tag_texts_.push_back(log_.tag_names[static_cast<std::size_t>(tag)]);
  tag_field_ = {"tag", tag_texts_};
  Event event;
  event.item = log_.artists.text(artist);
  event.action = action;
  event.fields = {&tag_field_, 1};
  return event;
}

void LastfmReader::write_user(const LastfmCounts& counts, std::int32_t user, std::span<const LastfmLog::Tagging> taggings) {
  visible_.assign(count_of_.size(), 0);
  for (const std::int32_t artist : counts.plays_of(user)) {
    visible_[static_cast<std::size_t>(artist)] = 1;
    writer_.add_event(log_.users.text(user), event_of(counts, artist, "play"), 0);
  }
  counts.cosine(user, cosine_);
  const bool unseen = draws_.unseen_user(user);
  for (std::size_t begin = 0, end = 0; begin < taggings.size(); begin = end) {
    const LastfmLog::Tagging& query = taggings[begin];
    while (end < taggings.size() && taggings[end].month == query.month && taggings[end].tag == query.tag) ++end;
    if (!unseen) {
      const bool valid = draws_.valid_request(user, query.month, query.tag);
      write_list(counts, query, valid ? LastfmFold::valid : LastfmFold::train, valid ? Split::valid : Split::train);
    }
    write_list(counts, query, LastfmFold::test, Split::test);
    write_events(counts, taggings.subspan(begin, end - begin));
  }
}

// Seconds of the first moment of a month (months since year 0), by the proleptic Gregorian calendar.
std::int64_t seconds_of_month(std::int32_t months) {
  const std::int64_t year = months / 12, month = months % 12;
  constexpr std::array<std::int64_t, 12> kDaysBefore = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  const std::int64_t whole = year - 1, leap_days = whole / 4 - whole / 100 + whole / 400;
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return (whole * 365 + leap_days + kDaysBefore[static_cast<std::size_t>(month)] + (leap && month >= 2 ? 1 : 0) - 719162) * 86400;
}

// The visible artists that were tagged; without one, the query alone.
void LastfmReader::write_events(const LastfmCounts& counts, std::span<const LastfmLog::Tagging> same_query) {
  const LastfmLog::Tagging& query = same_query.front();
  const auto write = [&](Event event) {
    event.time = seconds_of_month(query.month);
    event.query.text = log_.tag_names[static_cast<std::size_t>(query.tag)];
    writer_.add_event(log_.users.text(query.user), event, 0);
  };
  bool any = false;
  for (const LastfmLog::Tagging& t : same_query) {
    if (!visible_[static_cast<std::size_t>(t.artist)]) continue;
    write(event_of(counts, t.artist, "tag"));
    any = true;
  }
  if (any) return;
  Event search;
  search.action = "search";
  write(search);
}

void LastfmReader::write_list(const LastfmCounts& counts, const LastfmLog::Tagging& query, LastfmFold fold, Split part) {
  constexpr std::array<std::string_view, 3> kFoldNames = {"train", "valid", "test"};
  constexpr std::size_t kDense = 2;
  std::vector<Candidate> candidates;
  std::vector<float> dense;
  std::vector<std::vector<std::string_view>> tags;
  for (const LastfmCounts::Tagged& t : counts.artists_of(query.tag)) {
    const auto a = static_cast<std::size_t>(t.artist);
    if (visible_[a] || draws_.fold(query.user, t.artist) != fold) continue;
    Candidate& candidate = candidates.emplace_back();
    candidate.id = log_.artists.text(t.artist);
    candidate.score = std::log1p(static_cast<float>(t.users));
    candidate.click = count_of_[a] > 0;
    candidate.conversion = count_of_[a] > 0 && 2 * count_of_[a] >= twice_median_;
    dense.push_back(std::log1p(static_cast<float>(counts.players_of(t.artist).size())));
    dense.push_back(static_cast<float>(cosine_[a]));
    tags.emplace_back();
    for (const std::int32_t tag : counts.tags_of(t.artist)) tags.back().push_back(log_.tag_names[static_cast<std::size_t>(tag)]);
    if (candidates.size() == kListLength) break;
  }
  if (candidates.size() < 2) return;
  std::vector<Field> fields;
  for (const auto& texts : tags) fields.push_back({"tag", texts});
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    candidates[i].dense = std::span<const float>(dense).subspan(i * kDense, kDense);
    candidates[i].fields = {&fields[i], 1};
  }
  std::string month = std::to_string(query.month % 12 + 1);
  if (month.size() == 1) month = "0" + month;
  const std::string id = std::string(log_.users.text(query.user)) + "/" + std::to_string(query.month / 12) + "-" + month + "/" +
                         std::string(log_.tags.text(query.tag)) + "/" + std::string(kFoldNames[static_cast<std::size_t>(fold)]);
  Request request;
  request.id = id;
  request.time = seconds_of_month(query.month);
  request.user = log_.users.text(query.user);
  request.query.text = log_.tag_names[static_cast<std::size_t>(query.tag)];
  request.candidates = candidates;
  writer_.set_part(part);
  writer_.add_request(request, 0, false);
  source_.count_request();
}

}  // namespace

ReadReport read_lastfm(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer) {
  return LastfmReader(paths, options, writer).read();
}

}  // namespace piano::data
