#include "tools/oracle.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <string_view>

#include "engine/base/safetensors.h"

namespace piano::tools {
namespace {

// Offsets that begin with 0, never fall and end at `end`: nothing read from the file is used before it is checked.
void check_offsets(const std::string& path, const char* name, std::span<const std::int64_t> offsets, std::size_t end) {
  bool fine = !offsets.empty() && offsets.front() == 0 && offsets.back() == static_cast<std::int64_t>(end);
  for (std::size_t i = 1; i < offsets.size(); ++i) fine = fine && offsets[i - 1] <= offsets[i];
  if (!fine) throw Error(ErrorCode::model, path + ": " + name + ": expected offsets that rise from 0 to " + std::to_string(end));
}

// The file as it was written, with probabilities in it: a damaged truth must not turn into figures.
std::span<const float> probabilities(const SafetensorsFile& file, const char* name) {
  const auto values = file.values<float>(name);
  const auto wrong = std::find_if(values.begin(), values.end(), [](float p) { return !(p >= 0 && p <= 1); });  // NaN is wrong, too
  if (wrong != values.end()) {
    throw Error(ErrorCode::model, file.path() + ": " + name + ": expected probabilities from 0 to 1, got " + std::to_string(*wrong));
  }
  return values;
}

// Where the rows of each list begin in the oracle: (lists).
std::vector<std::size_t> first_rows(const SafetensorsFile& file, const LabelledLists& lists) {
  const std::string& path = file.path();
  check_format(file, "piano-oracle", 2);
  file.verify();
  const auto offsets = file.values<std::int64_t>("offsets"), id_offsets = file.values<std::int64_t>("id_offsets");
  const auto ids = file.values<std::uint8_t>("id_bytes");
  check_offsets(path, "offsets", offsets, file.values<float>("p_conversion").size());
  check_offsets(path, "id_offsets", id_offsets, ids.size());
  if (offsets.size() != id_offsets.size()) throw Error(ErrorCode::model, path + ": offsets and id_offsets differ in length");

  std::map<std::string_view, std::size_t> place;
  for (std::size_t r = 0; r + 1 < id_offsets.size(); ++r) {
    const auto begin = static_cast<std::size_t>(id_offsets[r]), end = static_cast<std::size_t>(id_offsets[r + 1]);
    place.emplace(std::string_view(reinterpret_cast<const char*>(ids.data()) + begin, end - begin), r);
  }
  std::vector<std::size_t> result;
  for (std::int64_t l = 0; l < lists.size(); ++l) {
    const auto found = place.find(lists.request_id(l));
    if (found == place.end()) {
      throw Error(ErrorCode::data, path + ": no request '" + std::string(lists.request_id(l)) + "'; the oracle belongs to another log");
    }
    const std::int64_t known = offsets[found->second + 1] - offsets[found->second];
    const std::int64_t rows = lists.offsets[static_cast<std::size_t>(l) + 1] - lists.offsets[static_cast<std::size_t>(l)];
    if (known != rows) {
      throw Error(ErrorCode::data, path + ": request '" + std::string(lists.request_id(l)) + "' has " + std::to_string(known) +
                                       " candidates in the oracle and " + std::to_string(rows) + " in the data set");
    }
    result.push_back(static_cast<std::size_t>(offsets[found->second]));
  }
  return result;
}

// Visits (row of the lists, row of the oracle).
template <class Visit>
void each_row(const LabelledLists& lists, const std::vector<std::size_t>& first, Visit visit) {
  for (std::size_t l = 0; l < first.size(); ++l) {
    const auto begin = static_cast<std::size_t>(lists.offsets[l]), end = static_cast<std::size_t>(lists.offsets[l + 1]);
    for (std::size_t row = begin; row < end; ++row) visit(row, first[l] + (row - begin));
  }
}

double number_in(const SafetensorsFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  const std::string text = found == file.metadata().end() ? "" : found->second;
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0') throw Error(ErrorCode::model, file.path() + ": metadata '" + key + "': expected a number, got '" + text + "'");
  return value;
}

}  // namespace

std::vector<double> true_conversion(const std::string& path, const LabelledLists& lists) {
  const SafetensorsFile file(path);
  const std::vector<std::size_t> first = first_rows(file, lists);
  const auto probability = probabilities(file, "p_conversion");
  std::vector<double> result(static_cast<std::size_t>(lists.rows()));
  each_row(lists, first, [&](std::size_t row, std::size_t from) { result[row] = static_cast<double>(probability[from]); });
  return result;
}

bool knows_orders(const std::string& path) {
  const SafetensorsFile file(path);
  return file.find("artist") != nullptr && file.find("genre") != nullptr;
}

SimulatedTruth simulated_truth(const std::string& path, const LabelledLists& lists) {
  const SafetensorsFile file(path);
  const std::vector<std::size_t> first = first_rows(file, lists);
  if (!knows_orders(path)) {
    throw Error(ErrorCode::model, path + ": the oracle does not say which items are alike, as those of an older piano; simulate again");
  }
  const auto click = probabilities(file, "p_click"), conversion = probabilities(file, "p_conversion");
  const auto artist = file.values<std::int32_t>("artist"), genre = file.values<std::int32_t>("genre");
  if (click.size() != conversion.size() || artist.size() != conversion.size() || genre.size() != conversion.size()) {
    throw Error(ErrorCode::model, path + ": p_click, p_conversion, artist and genre differ in length");
  }
  SimulatedTruth truth;
  truth.dials = {number_in(file, "eta"), number_in(file, "position_bias")};
  truth.item.resize(static_cast<std::size_t>(lists.rows()));
  each_row(lists, first, [&](std::size_t row, std::size_t from) {
    const auto p = static_cast<double>(click[from]);
    truth.item[row] = {p, p > 0 ? static_cast<double>(conversion[from]) / p : 0.0, artist[from], genre[from]};
  });
  return truth;
}

}  // namespace piano::tools
