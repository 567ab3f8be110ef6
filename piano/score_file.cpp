#include "piano/score_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "piano/trec.h"

namespace piano {
namespace {

// The next field of `line`, which it is cut from; "" at the end.
std::string_view next_field(std::string_view& line) {
  constexpr std::string_view blanks = " \t\r";
  line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
  const std::string_view field = line.substr(0, line.find_first_of(blanks));
  line.remove_prefix(field.size());
  return field;
}

std::string key(std::string_view request, std::string_view item) { return std::string(request) + '\t' + std::string(item); }

}  // namespace

std::vector<double> read_scores(std::span<const std::string> paths, const LabelledLists& lists) {
  std::unordered_map<std::string, std::size_t> row_of;
  std::unordered_set<std::string> asked;
  std::vector<std::string> names;  // (rows)
  for (std::int64_t l = 0; l < lists.size(); ++l) {
    const std::string request = trec_field(lists.request_id(l));
    asked.insert(request);
    for (std::int64_t r = lists.offsets[static_cast<std::size_t>(l)]; r < lists.offsets[static_cast<std::size_t>(l) + 1]; ++r) {
      names.push_back(key(request, trec_field(lists.item_id(r))));
      row_of.emplace(names.back(), static_cast<std::size_t>(r));
    }
  }
  std::vector<double> score(static_cast<std::size_t>(lists.rows()), std::numeric_limits<double>::quiet_NaN());
  for (const std::string& path : paths) {
    const MappedFile file(path);
    std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    for (std::int64_t number = 1; !text.empty(); ++number) {
      std::string_view line = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(line.size() + 1, text.size()));
      const auto wrong = [&](const std::string& what) { return Error(ErrorCode::data, path + ":" + std::to_string(number) + ": " + what); };
      const std::string_view request = next_field(line), item = next_field(line), digits = next_field(line);
      if (request.empty()) continue;
      double value = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (digits.empty() || !next_field(line).empty()) throw wrong("expected three fields: request, item, score");
      if (error != std::errc{} || end != digits.data() + digits.size() || !std::isfinite(value)) {
        throw wrong("score: expected a finite number, got '" + std::string(digits) + "'");
      }
      if (!asked.contains(std::string(request))) continue;
      const auto row = row_of.find(key(request, item));
      if (row == row_of.end()) throw wrong("request '" + std::string(request) + "' has no candidate '" + std::string(item) + "'");
      if (!std::isnan(score[row->second])) throw wrong("a second score for candidate '" + std::string(item) + "' of this request");
      score[row->second] = value;
    }
  }
  for (std::size_t r = 0; r < score.size(); ++r) {
    if (!std::isnan(score[r])) continue;
    const std::size_t tab = names[r].find('\t');
    throw Error(ErrorCode::data, (paths.empty() ? std::string("no file") : paths.back()) + ": no score for candidate '" + names[r].substr(tab + 1) +
                                     "' of request '" + names[r].substr(0, tab) + "'; every candidate of every list needs one");
  }
  return score;
}

}  // namespace piano
