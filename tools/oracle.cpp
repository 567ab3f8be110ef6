#include "tools/oracle.h"

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

}  // namespace

std::vector<double> true_conversion(const std::string& path, const LabelledLists& lists) {
  const SafetensorsFile file(path);
  check_format(file, "piano-oracle", 1);
  const auto offsets = file.values<std::int64_t>("offsets"), id_offsets = file.values<std::int64_t>("id_offsets");
  const auto probability = file.values<float>("p_conversion");
  const auto ids = file.values<std::uint8_t>("id_bytes");
  check_offsets(path, "offsets", offsets, probability.size());
  check_offsets(path, "id_offsets", id_offsets, ids.size());
  if (offsets.size() != id_offsets.size()) throw Error(ErrorCode::model, path + ": offsets and id_offsets differ in length");

  std::map<std::string_view, std::size_t> place;
  for (std::size_t r = 0; r + 1 < id_offsets.size(); ++r) {
    const auto begin = static_cast<std::size_t>(id_offsets[r]), end = static_cast<std::size_t>(id_offsets[r + 1]);
    place.emplace(std::string_view(reinterpret_cast<const char*>(ids.data()) + begin, end - begin), r);
  }
  std::vector<double> result;
  for (std::int64_t l = 0; l < lists.size(); ++l) {
    const auto found = place.find(lists.request_id(l));
    if (found == place.end()) {
      throw Error(ErrorCode::data, path + ": no request '" + std::string(lists.request_id(l)) + "'; the oracle belongs to another log");
    }
    const auto begin = static_cast<std::size_t>(offsets[found->second]), end = static_cast<std::size_t>(offsets[found->second + 1]);
    const std::int64_t rows = lists.offsets[static_cast<std::size_t>(l) + 1] - lists.offsets[static_cast<std::size_t>(l)];
    if (static_cast<std::int64_t>(end - begin) != rows) {
      throw Error(ErrorCode::data, path + ": request '" + std::string(lists.request_id(l)) + "' has " + std::to_string(end - begin) +
                                       " candidates in the oracle and " + std::to_string(rows) + " in the data set");
    }
    result.insert(result.end(), probability.begin() + static_cast<std::ptrdiff_t>(begin), probability.begin() + static_cast<std::ptrdiff_t>(end));
  }
  return result;
}

}  // namespace piano::tools
