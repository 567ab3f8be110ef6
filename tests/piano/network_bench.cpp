#include "tests/piano/network_bench.h"

#include <algorithm>
#include <numeric>
#include <sstream>

#include "layers/initialise.h"
#include "piano/models.h"

namespace bench {
namespace {

data::Vocabulary dummy(std::int32_t rows) {
  std::vector<std::string> texts;
  for (std::int32_t i = data::kFirstId; i < rows; ++i) texts.push_back("id" + std::to_string(i));
  return data::Vocabulary::build(texts);
}

std::vector<data::Vocabulary> dummies(const std::map<std::string, std::int32_t>& fields, std::vector<std::string>& names) {
  std::vector<data::Vocabulary> all;
  for (const auto& [name, rows] : fields) names.push_back(name), all.push_back(dummy(rows));
  return all;
}

std::int32_t width(std::int32_t columns) { return columns > 0 ? columns + 1 : 0; }

using Rows = std::vector<std::int32_t>;

Rows range(std::int32_t begin, std::int32_t end) {
  Rows rows(static_cast<std::size_t>(end - begin));
  std::iota(rows.begin(), rows.end(), begin);
  return rows;
}

template <class T>
std::vector<T> take(const std::vector<T>& column, const Rows& rows, std::size_t all_rows) {
  if (column.empty()) return {};
  const std::size_t columns = column.size() / all_rows;
  std::vector<T> out;
  for (const std::int32_t r : rows) {
    const auto at = column.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(r) * columns);
    out.insert(out.end(), at, at + static_cast<std::ptrdiff_t>(columns));
  }
  return out;
}

data::BagColumn take(const data::BagColumn& bags, const Rows& rows) {
  data::BagColumn out;
  for (const std::int32_t r : rows) {
    out.ids.insert(out.ids.end(), bags.ids.begin() + bags.offsets[static_cast<std::size_t>(r)],
                   bags.ids.begin() + bags.offsets[static_cast<std::size_t>(r) + 1]);
    out.offsets.push_back(static_cast<std::int32_t>(out.ids.size()));
  }
  return out;
}

std::vector<data::BagColumn> take(const std::vector<data::BagColumn>& fields, const Rows& rows) {
  std::vector<data::BagColumn> out;
  for (const data::BagColumn& f : fields) out.push_back(take(f, rows));
  return out;
}

data::QueryColumns take(const data::QueryColumns& q, const Rows& rows) { return {take(q.id, rows, q.id.size()), take(q.terms, rows)}; }
data::ItemColumns take(const data::ItemColumns& i, const Rows& rows) { return {take(i.id, rows, i.id.size()), take(i.fields, rows)}; }

// Any lists of a batch, with any of their rows, in any order. `candidates` and `history` hold row numbers of `b`, list after list.
data::Batch select(const data::Batch& b, const Rows& lists, const Rows& offsets, const Rows& candidates, const Rows& history_offsets,
                   const Rows& history) {
  const auto n = static_cast<std::size_t>(b.rows()), all = static_cast<std::size_t>(b.lists), h = static_cast<std::size_t>(b.history_rows());
  data::Batch out;
  out.lists = static_cast<std::int32_t>(lists.size());
  out.user = take(b.user, lists, all);
  out.user_fields = take(b.user_fields, lists);
  out.context_fields = take(b.context_fields, lists);
  out.user_dense = take(b.user_dense, lists, all);
  out.query = take(b.query, lists);
  out.history_offsets = history_offsets;
  out.history_query = take(b.history_query, history);
  out.history_item = take(b.history_item, history);
  out.history_action = take(b.history_action, history, h);
  out.history_age = take(b.history_age, history, h);
  const data::MatchColumns& m = b.history_match;
  for (std::size_t l = 0; l < lists.size(); ++l) {
    const auto old = static_cast<std::size_t>(lists[l]);
    for (auto x = static_cast<std::size_t>(m.offsets[old]); x < static_cast<std::size_t>(m.offsets[old + 1]); ++x) {
      const auto place = [](const Rows& rows, std::int32_t row) {
        return static_cast<std::int32_t>(std::find(rows.begin(), rows.end(), row) - rows.begin());
      };
      out.history_match.candidate.push_back(place(candidates, m.candidate[x]));
      out.history_match.event.push_back(place(history, m.event[x]));
      out.history_match.column.push_back(m.column[x]);
    }
    out.history_match.offsets.push_back(static_cast<std::int32_t>(out.history_match.event.size()));
  }
  out.offsets = offsets;
  out.item = take(b.item, candidates);
  out.dense = take(b.dense, candidates, n);
  out.vector = take(b.vector, candidates, n);
  out.match = take(b.match, candidates, n);
  out.position = take(b.position, candidates, n);
  out.score = take(b.score, candidates, n);
  out.click = take(b.click, candidates, n);
  out.kinds = b.kinds;
  out.conversion = take(b.conversion, candidates, n);
  out.value = take(b.value, candidates, n);
  out.labelled = take(b.labelled, candidates, n);
  for (std::size_t l = 0; l < lists.size(); ++l) {
    for (std::int32_t i = offsets[l]; i < offsets[l + 1]; ++i) out.rank.push_back(i - offsets[l]);
  }
  return out;
}

}  // namespace

World bare_world() {
  World w;
  w.user_fields.clear(), w.context_fields.clear(), w.item_fields.clear(), w.match_fields.clear();
  w.user_dense = w.item_dense = w.item_vector = 0;
  w.score = false;
  return w;
}

data::FeatureSpace feature_space(const World& w) {
  data::FeatureSpace f;
  f.user = dummy(w.user), f.query = dummy(w.query), f.term = dummy(w.term), f.item = dummy(w.item), f.action = dummy(w.action);
  f.user_fields = dummies(w.user_fields, f.schema.user_fields);
  f.context_fields = dummies(w.context_fields, f.schema.context_fields);
  f.item_fields = dummies(w.item_fields, f.schema.item_fields);
  f.schema.user_dense = w.user_dense, f.schema.item_dense = w.item_dense, f.schema.item_vector = w.item_vector;
  f.schema.has_score = w.score;
  f.schema.conversions = w.kinds;
  f.schema.match_actions = w.match_actions, f.schema.match_fields = w.match_fields;
  return f;
}

data::Batch random_batch(const World& w, const std::vector<Extent>& lists, std::uint64_t seed) {
  RandomStream random(seed, "batch");
  const auto id = [&](std::int32_t rows) { return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(rows))); };
  const auto bag = [&](data::BagColumn& to, std::int32_t rows, std::uint64_t most) {
    for (std::uint64_t k = random.below(most + 1); k > 0; --k) to.ids.push_back(id(rows));
    to.offsets.push_back(static_cast<std::int32_t>(to.ids.size()));
  };
  const auto numbers = [&](std::vector<float>& to, std::int32_t columns) {
    for (std::int32_t c = 0; c < columns; ++c) to.push_back(static_cast<float>(random.normal()));
  };
  const auto fields = [&](std::vector<data::BagColumn>& to, const std::map<std::string, std::int32_t>& sizes) {
    to.resize(sizes.size());
    std::size_t f = 0;
    for (const auto& [name, rows] : sizes) bag(to[f++], rows, 2);
  };
  const auto match = static_cast<std::int32_t>(data::match_feature_names(feature_space(w).schema).size());
  data::Batch b;
  b.lists = static_cast<std::int32_t>(lists.size());
  for (const Extent& extent : lists) {
    b.user.push_back(id(w.user));
    fields(b.user_fields, w.user_fields);
    fields(b.context_fields, w.context_fields);
    numbers(b.user_dense, width(w.user_dense));
    b.query.id.push_back(id(w.query));
    bag(b.query.terms, w.term, 3);
    for (std::int32_t t = 0; t < extent.history; ++t) {
      b.history_query.id.push_back(id(w.query));
      bag(b.history_query.terms, w.term, 3);
      b.history_item.id.push_back(id(w.item));
      fields(b.history_item.fields, w.item_fields);
      b.history_action.push_back(id(w.action));
      b.history_age.push_back(id(data::kAgeBuckets));
    }
    b.history_offsets.push_back(b.history_offsets.back() + extent.history);
    for (std::int32_t i = 0; i < extent.candidates; ++i) {
      b.item.id.push_back(id(w.item));
      fields(b.item.fields, w.item_fields);
      numbers(b.dense, width(w.item_dense));
      numbers(b.vector, width(w.item_vector));
      numbers(b.match, match);
      numbers(b.score, w.score ? 2 : 0);
      b.rank.push_back(i);
      b.position.push_back(i + 1);
      b.click.push_back(random.uniform() < 0.5 ? 1.0f : 0.0f);
      b.conversion.push_back(random.uniform() < 0.5 ? b.click.back() : 0.0f);
      b.labelled.push_back(random.uniform() < 0.9 ? 1.0f : 0.0f);
    }
    for (std::int32_t i = 0; i < extent.candidates; ++i) {
      for (std::int32_t t = 0; t < extent.history; ++t) {
        for (std::int32_t c = 0; c <= static_cast<std::int32_t>(w.match_fields.size()); ++c) {
          if (random.uniform() < 0.6) continue;
          b.history_match.candidate.push_back(b.offsets.back() + i);
          b.history_match.event.push_back(b.history_offsets.back() - extent.history + t);
          b.history_match.column.push_back(c);
        }
      }
    }
    b.history_match.offsets.push_back(static_cast<std::int32_t>(b.history_match.event.size()));
    b.offsets.push_back(b.offsets.back() + extent.candidates);
  }
  b.history_item.fields.resize(w.item_fields.size());
  if (w.kinds.empty()) return b;
  b.kinds = static_cast<std::int32_t>(w.kinds.size());
  b.conversion.clear();
  for (const float click : b.click) {
    for (std::size_t k = 0; k < w.kinds.size(); ++k) {
      b.conversion.push_back(random.uniform() < 0.2 ? float{data::kUnknownLabel} : random.uniform() < 0.5 ? click : 0.0f);
      b.value.push_back(static_cast<float>(random.normal()));
    }
  }
  return b;
}

data::Batch cut(const data::Batch& b, std::int32_t begin, std::int32_t end) {
  const auto at = [](const Rows& offsets, std::int32_t l) { return offsets[static_cast<std::size_t>(l)]; };
  Rows offsets, history_offsets;
  for (std::int32_t l = begin; l <= end; ++l) {
    offsets.push_back(at(b.offsets, l) - at(b.offsets, begin));
    history_offsets.push_back(at(b.history_offsets, l) - at(b.history_offsets, begin));
  }
  return select(b, range(begin, end), offsets, range(at(b.offsets, begin), at(b.offsets, end)), history_offsets,
                range(at(b.history_offsets, begin), at(b.history_offsets, end)));
}

data::Batch reorder_candidates(const data::Batch& b, std::int32_t list, const Rows& order) {
  Rows rows = range(0, b.rows());
  const std::int32_t begin = b.offsets[static_cast<std::size_t>(list)];
  for (std::size_t i = 0; i < order.size(); ++i) rows[static_cast<std::size_t>(begin) + i] = begin + order[i];
  return select(b, range(0, b.lists), b.offsets, rows, b.history_offsets, range(0, b.history_rows()));
}

data::Batch reorder_history(const data::Batch& b, std::int32_t list, const Rows& order) {
  Rows rows = range(0, b.history_rows());
  const std::int32_t begin = b.history_offsets[static_cast<std::size_t>(list)];
  for (std::size_t i = 0; i < order.size(); ++i) rows[static_cast<std::size_t>(begin) + i] = begin + order[i];
  return select(b, range(0, b.lists), b.offsets, range(0, b.rows()), b.history_offsets, rows);
}

LossCounts counts(const data::Batch& b) {
  LossCounts c;
  for (std::int32_t l = 0; l < b.lists; ++l) {
    const ListTargets t = list_targets(b, l, ListLabel::count);
    c.lists += t.labelled;
    c.positive_lists += t.click > 0;
    c.clicked += static_cast<std::int64_t>(t.click);
  }
  for (const float labelled : b.labelled) c.items += labelled > 0;
  const auto kinds = static_cast<std::size_t>(b.kinds);
  for (std::size_t k = 0; k < kinds; ++k) {
    LossCounts::Unknown& unknown = c.unknown[k];
    for (std::int32_t l = 0; l < b.lists; ++l) {
      const ListTargets t = list_targets(b, l, ListLabel::count, k);
      unknown.lists += t.labelled && !t.known;
    }
    for (std::size_t i = 0; i < b.labelled.size(); ++i) {
      if (b.labelled[i] == 0 || b.conversion[i * kinds + k] != float{data::kUnknownLabel}) continue;
      unknown.items += 1, unknown.clicked += b.click[i] > 0;
    }
  }
  return c;
}

Config config_of(const std::string& lines) {
  Config config;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) set_option(config, line);
  check(config);
  return config;
}

Config small_config(const std::string& lines) {
  const ModelName model = config_of(lines).model.name;
  std::string small;
  for (const std::string option : {"model.d=8", "model.heads=2", "model.layers=1", "model.ffn=2", "encoder.positions=16"}) {
    if (reads(model, option.substr(0, option.find('=')))) small += option + "\n";
  }
  return config_of(small + lines);
}

Bench::Bench(const Config& c, const data::FeatureSpace& features, const Device& device, std::uint64_t seed)
    : config(c), weights(loss_weights(c, features.schema.kinds())), store(device.dtype), network(make_network(c, features, store)), device_(device) {
  if (c.loss.weighting == LossWeighting::uncertainty) declare_log_variances(store, weights);
  store.allocate();
  initialise(store, seed);
  store.prepare(gradients);
}

Context Bench::context() {
  arena.reset();
  tape.clear();
  Context ctx;
  ctx.device = &device_;
  ctx.arena = &arena;
  ctx.parameters = &store;
  ctx.random = random;
  return ctx;
}

Scores read(const Logits& logits) {
  const auto values = [](std::span<const Tensor> columns) {
    std::vector<double> all;
    for (const Tensor& t : columns) {
      if (!t) continue;
      const std::vector<double> column = golden::values(t);
      all.insert(all.end(), column.begin(), column.end());
    }
    return all;
  };
  return {values({&logits.click, 1}), values(logits.conversion), values({&logits.list_click, 1}), values(logits.list_conversion)};
}

Scores Bench::scores(const data::Batch& batch) { return read((*network)(context(), batch)); }

double Bench::train(const data::Batch& batch, const LossCounts& counts_of_batch, std::int32_t first_list, Scores* out) {
  Context ctx = context();
  ctx.tape = &tape;
  ctx.gradients = &gradients;
  ctx.first_list = first_list;
  ctx.training = dropout;
  const Logits logits = (*network)(ctx, batch);
  if (out != nullptr) *out = read(logits);
  const Tensor total = loss(ctx, logits, batch, weights, counts_of_batch);
  const double value = total.item();
  tape.backward(ctx, total, spent);
  return value;
}

const Parameter& Bench::find(const std::string& name) const {
  for (const Parameter& p : store.parameters()) {
    if (p.name == name) return p;
  }
  throw Error(ErrorCode::internal, "no parameter " + name);
}

}  // namespace bench
