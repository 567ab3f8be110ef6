#include "piano/svmlight.h"

#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "engine/base/files.h"
#include "piano/trec.h"

namespace piano {
namespace {

using data::Batch;

// The columns of one candidate, one after another; the first candidate's names are the header.
class SvmRow {
 public:
  void clear() { names_.clear(), values_.clear(); }
  void add(const std::string& name, double value) { names_.push_back(name), values_.push_back(static_cast<float>(value)); }
  std::string header() const {
    std::string text = "#";
    for (std::size_t c = 0; c < names_.size(); ++c) text += " " + std::to_string(c + 1) + ":" + trec_field(names_[c]);
    return text + "\n";
  }
  void write(std::string& out) const {
    std::array<char, 32> digits{};
    for (std::size_t c = 0; c < values_.size(); ++c) {
      if (values_[c] == 0) continue;
      const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), values_[c]).ptr;
      out += " " + std::to_string(c + 1) + ":";
      out.append(digits.data(), end);
    }
  }

 private:
  std::vector<std::string> names_;
  std::vector<float> values_;
};

// Column c of a table of `width` columns, the last of which says "present"; row i of n.
struct Column {
  const std::vector<float>& values;
  std::size_t width, column;
  float at(std::size_t row) const { return values[row * width + column]; }
  bool present(std::size_t row) const { return values[row * width + width - 1] != 0; }
};

double share_of_lower(const Column& column, std::size_t row, std::size_t rows) {
  if (rows < 2 || !column.present(row)) return 0;
  double lower = 0;
  for (std::size_t other = 0; other < rows; ++other) lower += column.present(other) && column.at(other) < column.at(row);
  return lower / static_cast<double>(rows - 1);
}

void add_table(SvmRow& row, const std::string& name, const std::vector<float>& values, std::size_t width, std::size_t at) {
  for (std::size_t c = 0; c + 1 < width; ++c) row.add(name + "." + std::to_string(c), static_cast<double>(values[at * width + c]));
  if (width > 0) row.add(name + ".present", static_cast<double>(values[at * width + width - 1]));
}

}  // namespace

void write_svmlight(const std::string& path, const data::Dataset& dataset, std::span<const std::int64_t> requests) {
  const data::FeatureSpace& features = dataset.features();
  const std::vector<std::string> match = data::match_feature_names(features.schema);
  const auto width = [](std::int32_t numbers) { return numbers > 0 ? static_cast<std::size_t>(numbers) + 1 : std::size_t{0}; };
  const std::size_t dense = width(features.schema.item_dense), user_dense = width(features.schema.user_dense);
  data::BatchBuilder builder(features, {});
  builder.attach(dataset);
  AtomicFile file(path);
  Batch batch;
  SvmRow row;
  bool first = true;
  std::string text;
  for (const std::int64_t request : requests) {
    builder.build({&request, 1}, batch);
    const auto n = static_cast<std::size_t>(batch.rows());
    for (std::size_t i = 0; i < n; ++i) {
      row.clear();
      row.add("place", static_cast<double>(i + 1));
      row.add("candidates", static_cast<double>(n));
      row.add("history", std::log1p(static_cast<double>(dataset.history_size(request))));
      if (features.schema.has_score) {
        add_table(row, "score", batch.score, 2, i);
        row.add("score.lower", share_of_lower({batch.score, 2, 0}, i, n));
      }
      add_table(row, "user", batch.user_dense, user_dense, 0);
      add_table(row, "dense", batch.dense, dense, i);
      for (std::size_t c = 0; c + 1 < dense; ++c) row.add("dense." + std::to_string(c) + ".lower", share_of_lower({batch.dense, dense, c}, i, n));
      for (std::size_t c = 0; c < match.size(); ++c) row.add(match[c], static_cast<double>(batch.match[i * match.size() + c]));
      if (first) file.write(row.header());
      first = false;

      const std::int64_t candidate = dataset.candidate_begin(request) + static_cast<std::int64_t>(i);
      const auto c = static_cast<std::size_t>(candidate);
      text = std::to_string(dataset.clicks()[c] + dataset.conversions()[c]) + " qid:" + std::to_string(request);
      row.write(text);
      text += " # " + trec_field(dataset.id(request)) + " " + trec_field(dataset.item(candidate)) + (dataset.labelled()[c] != 0 ? " 1" : " 0") +
              (dataset.target(request) == static_cast<std::int64_t>(i) ? " 1\n" : " 0\n");
      file.write(text);
    }
  }
  file.commit();
}

}  // namespace piano
