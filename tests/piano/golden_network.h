// A golden file of the whole model: its config, world, batches and parameters.
#pragma once

#include "tests/piano/network_bench.h"

namespace golden {

// model_<name>.safetensors
inline constexpr const char* kModels[] = {"default",   "query_user", "count_mean", "mode_mean",  "item_only",
                                          "qdir_off", "no_null",    "bare",       "no_history", "one_by_one", "lambda", "displayed", "uncertainty", "kinds",
                                          "dnn",      "din",        "din_no_history", "esmm",
                                          "dlcm",     "prm",        "setrank",    "setrank_induced",
                                          "mmoe",     "ple",        "mir",        "pear"};

struct ModelFile {
  SafetensorsFile file;
  Config config;
  data::FeatureSpace features;

  explicit ModelFile(const std::string& name)
      : file(path(name)), config(bench::config_of(file.metadata().at("config"))),
        features(bench::feature_space(world())) {}

  bench::World world() const {
    bench::World w = file.find("batch.dense") == nullptr ? bench::bare_world() : bench::World{};
    if (file.at("batch.conversion").shape.size() == 2) w.kinds = {"kept", "shared"};
    return w;
  }

  data::Batch batch(const std::string& prefix) const {
    const auto integers = [&](const std::string& name) { return ints(file, prefix + "." + name); };
    const auto reals = [&](const std::string& name) { return floats(file, prefix + "." + name); };
    const auto bags = [&](const std::string& name) { return data::BagColumn{integers(name + ".offsets"), integers(name + ".ids")}; };
    const auto fields = [&](const std::string& owner, const std::vector<std::string>& names) {
      std::vector<data::BagColumn> columns;
      for (const std::string& f : names) columns.push_back(bags(owner + "." + f));
      return columns;
    };
    data::Batch b;
    b.user = integers("user");
    b.lists = static_cast<std::int32_t>(b.user.size());
    b.user_fields = fields("user_fields", features.schema.user_fields);
    b.context_fields = fields("context_fields", features.schema.context_fields);
    b.user_dense = reals("user_dense");
    b.query = {integers("query.id"), bags("query.terms")};
    b.history_offsets = integers("history_offsets");
    b.history_query = {integers("history_query.id"), bags("history_query.terms")};
    b.history_item = {integers("history_item.id"), fields("history_item.fields", features.schema.item_fields)};
    b.history_action = integers("history_action");
    b.history_age = integers("history_age");
    b.history_match = {integers("history_match.offsets"), integers("history_match.candidate"), integers("history_match.event"),
                       integers("history_match.column")};
    b.offsets = integers("offsets");
    b.item = {integers("item.id"), fields("item.fields", features.schema.item_fields)};
    b.dense = reals("dense");
    b.vector = reals("vector");
    b.match = reals("match");
    b.score = reals("score");
    b.rank = integers("rank");
    if (file.find(prefix + ".position") != nullptr) b.position = integers("position");
    b.click = reals("click");
    b.conversion = reals("conversion");
    b.kinds = static_cast<std::int32_t>(features.schema.kinds());
    if (file.find(prefix + ".value") != nullptr) b.value = reals("value");
    b.labelled = reals("labelled");
    return b;
  }

  void load_parameters(bench::Bench& model) const {
    for (const Parameter& p : model.store.parameters()) set_values(model.store, p, numbers(file, "param." + p.name));
  }
};

}  // namespace golden
