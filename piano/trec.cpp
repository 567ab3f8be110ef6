#include "piano/trec.h"

#include <vector>

#include "engine/base/files.h"

namespace piano {
namespace {

std::string request_field(const LabelledLists& lists, std::int64_t list) {
  const std::string_view id = lists.request_id(list);
  return id.empty() ? "#" + std::to_string(list) : trec_field(id);
}

// The rows of a list that both files hold.
std::vector<std::int64_t> written_rows(const LabelledLists& lists, std::int64_t list, TrecGrades grades) {
  const auto l = static_cast<std::size_t>(list);
  std::vector<std::int64_t> rows;
  for (std::int64_t row = lists.offsets[l]; row < lists.offsets[l + 1]; ++row)
    if (grades == TrecGrades::target ? lists.target[l] >= 0 : lists.labelled[static_cast<std::size_t>(row)] != 0) rows.push_back(row);
  return rows;
}

int grade(const LabelledLists& lists, std::int64_t list, std::int64_t row, TrecGrades grades) {
  const auto l = static_cast<std::size_t>(list), r = static_cast<std::size_t>(row);
  if (grades == TrecGrades::target) return row - lists.offsets[l] == lists.target[l] ? 1 : 0;
  return lists.click[r] + lists.conversion[r];
}

}  // namespace

std::string trec_field(std::string_view id) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string field;
  for (const char c : id) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte == 0x7f || c == '%') {
      field += '%';
      field += digits[byte >> 4];
      field += digits[byte & 15];
    } else {
      field += c;
    }
  }
  return field;
}

void write_trec_run(const std::string& path, const LabelledLists& lists, const Predictions& system, TrecGrades grades,
                    const EvaluationOptions& options) {
  AtomicFile file(path);
  const std::string tag = trec_field(system.name);
  std::vector<double> scores;
  for (std::int64_t l = 0; l < lists.size(); ++l) {
    const std::vector<std::int64_t> rows = written_rows(lists, l, grades);
    scores.clear();
    for (const std::int64_t row : rows) scores.push_back(system.score[static_cast<std::size_t>(row)]);
    const auto id = [&](std::int32_t i) { return lists.item_id(rows[static_cast<std::size_t>(i)]); };
    const std::string request = request_field(lists, l);
    std::size_t place = 0;
    for (const std::int32_t i : show_order(scores, id, lists.request_id(l), options.tie_seed)) {
      ++place;
      file.write(request + " Q0 " + trec_field(id(i)) + " " + std::to_string(place) + " " + std::to_string(rows.size() + 1 - place) + " " +
                 tag + "\n");
    }
  }
  file.commit();
}

void write_trec_qrels(const std::string& path, const LabelledLists& lists, TrecGrades grades) {
  AtomicFile file(path);
  for (std::int64_t l = 0; l < lists.size(); ++l) {
    const std::string request = request_field(lists, l);
    for (const std::int64_t row : written_rows(lists, l, grades))
      file.write(request + " 0 " + trec_field(lists.item_id(row)) + " " + std::to_string(grade(lists, l, row, grades)) + "\n");
  }
  file.commit();
}

}  // namespace piano
