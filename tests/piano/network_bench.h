// What a test of the whole model needs: a world without data, batches drawn at random, and one model on one device.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/core/context.h"
#include "piano/loss.h"
#include "tests/golden/golden_file.h"

namespace bench {

using namespace piano;

// Sizes of the tables, known ids + 2, and widths without the "present" column.
struct World {
  std::int32_t user = 5, query = 6, term = 7, item = 9, action = 4;
  std::map<std::string, std::int32_t> user_fields{{"country", 4}}, context_fields{{"hour", 4}}, item_fields{{"artist", 5}, {"tags", 6}};
  std::int32_t user_dense = 2, item_dense = 2, item_vector = 3;
  bool score = true;
  std::vector<std::string> match_actions{"play"}, match_fields{"artist"};
  std::vector<std::string> kinds;  // of conversion
};
World bare_world();  // ids alone

data::FeatureSpace feature_space(const World& world);

struct Extent {
  std::int32_t candidates, history;
};

// A batch of these lists with random content: ids of every kind, the rows 0 and 1 too, and bags that may be empty.
data::Batch random_batch(const World& world, const std::vector<Extent>& lists, std::uint64_t seed);

// The lists begin .. end-1 of a batch as a batch of their own.
data::Batch cut(const data::Batch& batch, std::int32_t begin, std::int32_t end);
// The same batch with the candidates (history events) of list l in another order: row i of the result is row order[i] of the list.
// The ranks stay where they are: they belong to the places, not to the items.
data::Batch reorder_candidates(const data::Batch& batch, std::int32_t list, const std::vector<std::int32_t>& order);
data::Batch reorder_history(const data::Batch& batch, std::int32_t list, const std::vector<std::int32_t>& order);

LossCounts counts(const data::Batch& batch);

// Config options as lines of key=value.
Config config_of(const std::string& lines);
// Small: d 8, 2 heads, 1 block, as far as the model reads them, and then `lines`.
Config small_config(const std::string& lines = "");

// Empty where the model gives none; of several kinds of conversion, kind after kind.
struct Scores {
  std::vector<double> click, conversion, list_click, list_conversion;
  bool operator==(const Scores&) const = default;
};

Scores read(const Logits& logits);

// One model on one device.
struct Bench {
  Bench(const Config& config, const data::FeatureSpace& features, const Device& device, std::uint64_t seed = 1);

  Scores scores(const data::Batch& batch);                    // inference
  // Training: forward, loss and backward; gradients are added to `gradients`. Returns the loss.
  double train(const data::Batch& batch, const LossCounts& counts, std::int32_t first_list = 0, Scores* out = nullptr);
  std::vector<double> gradient(const Parameter& p) { return golden::gradient(store, gradients, p); }
  const Parameter& find(const std::string& name) const;

  Config config;
  LossWeights weights;
  ParameterStore store;
  std::unique_ptr<const Network> network;
  Gradients gradients;
  RandomKey random{7, 3};
  bool dropout = false;                                       // in train(): whether the random parts are on
  Spent spent = Spent::kept;                                  // in train(): what becomes of what backward needs no more
  Arena arena;
  Tape tape;

  Context context();  // for inference, on an empty arena

 private:
  const Device& device_;
};

// A small model with these options.
inline Bench make(const std::string& options, const Device& device = reference_device(DType::f64), const World& world = {}) {
  return {small_config(options), feature_space(world), device, 5};
}

// order[i] is what comes to place i.
inline std::vector<double> permuted(const std::vector<double>& v, const std::vector<std::int32_t>& order) {
  std::vector<double> out;
  for (const std::int32_t i : order) out.push_back(v[static_cast<std::size_t>(i)]);
  return out;
}

}  // namespace bench
