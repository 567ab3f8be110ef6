#include "piano/models.h"

#include <algorithm>
#include <array>
#include <vector>

#include "engine/base/error.h"

namespace piano {
namespace {

using enum ModelName;

constexpr auto kTraits = std::to_array<ModelTraits>({
    //            probabilities  conversion  list_click  list_conversion
    {piano, "piano", "PIANO", true, true, true, true},
    {dnn, "dnn", "DNN", true, true, false, false},
    {din, "din", "DIN", true, true, false, false},
    {esmm, "esmm", "ESMM", true, true, false, false},
    {.name = mmoe, .key = "mmoe", .title = "MMoE", .probabilities = true, .conversion = true, .clicked_items = true},
    {.name = ple, .key = "ple", .title = "PLE", .probabilities = true, .conversion = true, .clicked_items = true},
    {.name = dlcm, .key = "dlcm", .title = "DLCM", .attention_rank = true},
    {.name = prm, .key = "prm", .title = "PRM"},
    {.name = setrank, .key = "setrank", .title = "SetRank", .attention_rank = true},
    {mir, "mir", "MIR", true, true, false, false},
    {pear, "pear", "PEAR-like", true, true, true, false},
});

// Options that only some models read, by key or, with a dot at the end, by table. What is not here is read by all.
struct Readers {
  const char* key;
  std::vector<ModelName> models;
  const char* otherwise = "";  // what the others do, where the option can say it
};

const std::vector<Readers>& rows() {
  static const std::vector<Readers> table{
      {"qdir.", {piano}},
      {"ian.", {piano}},
      {"list.label", {piano, pear}},
      {"model.layers", {piano, dnn, din, esmm, ple, prm, setrank, mir, pear}},
      {"model.ffn", {piano, dnn, din, esmm, prm, setrank, mir, pear}},
      {"model.experts", {mmoe, ple}},
      {"model.heads", {piano, prm, setrank, mir, pear}},
      {"model.max_history", {piano, din, prm, mir, pear}, "0"},
      {"encoder.attention", {piano, prm, setrank, mir, pear}},
      {"encoder.points", {piano, prm, setrank, mir, pear}},
      {"encoder.position", {piano, dnn, din, esmm, mmoe, ple, prm, pear}, "none"},
      {"encoder.positions", {piano, dnn, din, esmm, mmoe, ple, prm, pear}},
      {"loss.click", {piano, dnn, din, esmm, mmoe, ple, mir, pear}},
      {"loss.conversion", {piano, dnn, din, esmm, mmoe, ple, mir, pear}},
      {"loss.list_click", {piano, pear}},
      {"loss.list_conversion", {piano}},
      {"loss.listwise", {piano}},
      {"loss.listwise_kind", {piano}},
      {"loss.listwise_value", {piano, prm}},
      {"loss.lambda", {piano, dlcm, prm, setrank}},
      {"loss.examination", {piano, dnn, din, esmm, mir, pear}},
      {"loss.theta", {piano, dnn, din, esmm, mir, pear}},
      {"loss.clip", {piano, dnn, din, esmm, mir, pear}},
      {"loss.weighting", {piano, dnn, din, esmm, mmoe, ple, mir, pear}},
      {"rank.by", {piano}},
      {"rank.swaps", {piano}},
      {"rank.places", {piano}},
      {"rank.list_click", {piano}},
      {"rank.list_conversion", {piano}},
      {"rank.beta", {piano, dnn, din, esmm, mmoe, ple, mir, pear}, "0"},
  };
  return table;
}

const Readers* find(std::string_view key) {
  for (const Readers& row : rows()) {
    const std::string_view name = row.key;
    if (name.ends_with('.') ? key.starts_with(name) : key == name) return &row;
  }
  return nullptr;
}

}  // namespace

const ModelTraits& traits(ModelName name) {
  return *std::find_if(kTraits.begin(), kTraits.end(), [&](const ModelTraits& t) { return t.name == name; });
}

bool reads(ModelName name, std::string_view key) {
  const Readers* row = find(key);
  return row == nullptr || std::find(row->models.begin(), row->models.end(), name) != row->models.end();
}

std::string readers(std::string_view key) {
  std::string names;
  if (const Readers* row = find(key)) {
    for (const ModelName name : row->models) names += (names.empty() ? "" : ", ") + std::string(traits(name).key);
  }
  return names;
}

void check_options_are_read(const Config& config) {
  const std::vector<Option> now = options(config), defaults = options(Config{});
  for (std::size_t i = 0; i < now.size(); ++i) {
    if (reads(config.model.name, now[i].key) || now[i].value == defaults[i].value || now[i].value == find(now[i].key)->otherwise) continue;
    throw Error(ErrorCode::usage, now[i].key + ": model.name = " + traits(config).key + " does not read it (read by: " +
                                      readers(now[i].key) + "); leave it at " + defaults[i].value + ", got " + now[i].value);
  }
}

Config as_read(Config config) {
  for (const Readers& row : rows()) {
    if (row.otherwise[0] != '\0' && !reads(config.model.name, row.key)) set_option(config, row.key, row.otherwise);
  }
  return config;
}

}  // namespace piano
