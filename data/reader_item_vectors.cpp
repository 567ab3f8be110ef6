// Vectors of items as other programs write them: .npy or safetensors, and a list of ids.
#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "data/item_vectors.h"
#include "data/npy.h"
#include "engine/base/files.h"

namespace piano::data {

namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorCode::data, message); }

std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

bool is_safetensors(const std::string& path) { return path.ends_with(".safetensors"); }

FloatMatrix matrix_of(const SafetensorsFile& file) {
  const TensorInfo& t = file.at("vectors");
  if (t.shape.size() != 2 || t.dtype != DType::f32) fail(file.path() + ": vectors: expected a matrix of F32, one row an item");
  const std::span<const float> values = file.values<float>("vectors");
  return {t.shape[0], t.shape[1], {values.begin(), values.end()}};
}

// One id a line; the last line may or may not have an end.
std::vector<std::string> parse_ids(std::string_view text, const std::string& name) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark, from a spreadsheet
  std::vector<std::string> ids;
  std::unordered_map<std::string_view, std::size_t> lines;  // views of `text`
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view id = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (id.ends_with('\r')) id.remove_suffix(1);
    const std::string place = name + ":" + std::to_string(ids.size() + 1) + ": ";
    if (id.empty()) fail(place + "expected an item id, got an empty line");
    const auto [before, is_new] = lines.emplace(id, ids.size() + 1);
    if (!is_new) fail(place + "item \"" + std::string(id) + "\" is already in line " + std::to_string(before->second));
    ids.emplace_back(id);
  }
  return ids;
}

ItemVectors checked(FloatMatrix m, std::vector<std::string> ids, const std::string& vectors, const std::string& id_file) {
  const std::string shape = "(" + std::to_string(m.rows) + ", " + std::to_string(m.columns) + ")";
  if (m.rows < 1 || m.columns < 1 || m.columns > kWidestRow || m.rows > (std::int64_t{1} << 30))
    fail(vectors + ": expected at least one row and 1 to " + std::to_string(kWidestRow) + " columns, got " + shape);
  if (m.rows != static_cast<std::int64_t>(ids.size()))
    fail(id_file + ": expected " + std::to_string(m.rows) + " ids, one for each row of " + vectors + ", got " + std::to_string(ids.size()));
  const auto bad = std::find_if(m.values.begin(), m.values.end(), [](float v) { return !std::isfinite(v); });
  if (bad != m.values.end()) {
    const std::int64_t at = bad - m.values.begin();
    fail(vectors + ": row " + std::to_string(at / m.columns) + ", column " + std::to_string(at % m.columns) + " (item \"" +
         ids[static_cast<std::size_t>(at / m.columns)] + "\"): expected a number that a 32-bit float can hold");
  }
  return {std::move(ids), std::move(m.values), static_cast<std::int32_t>(m.columns)};
}

}  // namespace

ItemVectors read_item_vectors(const std::string& vectors, const std::string& ids) {
  const auto given_ids = [&] { return parse_ids(text_of(MappedFile(ids).bytes()), ids); };
  if (!is_safetensors(vectors)) {
    if (ids.empty()) fail(vectors + ": expected a file of ids beside it: --item-ids FILE, one id a line");
    const MappedFile file(vectors);
    return checked(parse_npy(file.bytes(), vectors), given_ids(), vectors, ids);
  }
  try {
    const SafetensorsFile file(vectors);
    FloatMatrix matrix = matrix_of(file);
    if (!ids.empty()) return checked(std::move(matrix), given_ids(), vectors, ids);
    if (file.find("ids") == nullptr) fail(vectors + ": no tensor \"ids\": give --item-ids FILE, one id a line");
    const std::string name = vectors + ": ids";
    return checked(std::move(matrix), parse_ids(text_of(std::as_bytes(file.values<std::uint8_t>("ids"))), name), vectors, name);
  } catch (const Error& e) {
    if (e.code() == ErrorCode::model) fail(e.what());  // it is no model: it is input
    throw;
  }
}

}  // namespace piano::data
