// The exported numbers are those that the model is given.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <sstream>

#include "piano/svmlight.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/tiny_data.h"

using namespace piano;

TEST_CASE("svmlight: a line a candidate, with the columns of its batch") {
  const TemporaryFolder folder;
  write_tiny_data(folder / "data", 200);
  const data::Dataset data(folder / "data");
  const std::vector<std::int64_t> requests = data.requests(data::Split::test);
  write_svmlight(folder / "svm", data, requests);

  std::istringstream file(read_all(folder / "svm"));
  std::string line, word;
  std::getline(file, line);
  std::map<std::string, std::string> column;  // name to number
  std::istringstream header(line.substr(2));
  while (header >> word) column[word.substr(word.find(':') + 1)] = word.substr(0, word.find(':'));

  const std::vector<std::string> match = data::match_feature_names(data.features().schema);
  REQUIRE(data.features().schema.has_score);
  CHECK(column.size() >= match.size() + 6);
  data::BatchBuilder builder(data.features(), {});
  builder.attach(data);
  data::Batch batch;
  std::size_t wrong = 0, values = 0;
  for (const std::int64_t request : requests) {
    builder.build({&request, 1}, batch);
    for (std::size_t i = 0; i < static_cast<std::size_t>(batch.rows()); ++i) {
      REQUIRE(std::getline(file, line));
      std::map<std::string, float> row;
      std::istringstream words(line.substr(0, line.find(" #")));
      std::string label, group;
      words >> label >> group;
      while (words >> word) row[word.substr(0, word.find(':'))] = std::stof(word.substr(word.find(':') + 1));
      values += row.size();
      const auto c = static_cast<std::size_t>(data.candidate_begin(request)) + i;
      wrong += label != std::to_string(data.clicks()[c] + data.conversions()[c]);
      wrong += group != "qid:" + std::to_string(request);
      wrong += row[column["place"]] != static_cast<float>(i + 1);
      wrong += row[column["score.0"]] != batch.score[2 * i];
      float lower = 0;
      for (std::size_t j = 0; j < static_cast<std::size_t>(batch.rows()); ++j) lower += batch.score[2 * j] < batch.score[2 * i];
      wrong += std::abs(row[column["score.lower"]] - lower / static_cast<float>(batch.rows() - 1)) > 1e-6f;
      for (std::size_t m = 0; m < match.size(); ++m) wrong += row[column[match[m]]] != batch.match[i * match.size() + m];
    }
  }
  CHECK_FALSE(std::getline(file, line));
  CHECK(wrong == 0);
  CHECK(values > 1000);
}
