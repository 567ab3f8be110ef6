#include "piano/predictor.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/base/random.h"
#include "piano/list_search.h"
#include "piano/model_file.h"
#include "piano/models.h"

namespace piano {
namespace {

// A micro-batch of inference: enough rows to fill the kernels, few enough to stay in cache.
constexpr std::size_t kLists = 4;
constexpr std::int64_t kLongList = 200;  // one such list is enough
// On a device with memory of its own: enough to fill its many cores.
constexpr std::int64_t kDeviceLists = 256, kDeviceRows = 16384;

double log_sigmoid_of(double x) { return x < 0 ? x - std::log1p(std::exp(x)) : -std::log1p(std::exp(-x)); }

// log(e^a + e^b); b alone where there is no a yet (-infinity).
double log_add(double a, double b) {
  if (a == -std::numeric_limits<double>::infinity()) return b;
  return a > b ? a + std::log1p(std::exp(b - a)) : b + std::log1p(std::exp(a - b));
}

// Column `k` of `columns`, from row `at` on.
void copy(Tensor from, std::vector<float>& to, std::size_t at, std::size_t k = 0, std::size_t columns = 1) {
  if (!from) return;  // stays NaN
  for (const float value : from.values<float>()) to[at++ * columns + k] = value;
}

// Shuffles the queries of each history among its events.
void permute(data::Batch& batch) {
  const data::QueryColumns old = batch.history_query;
  data::QueryColumns& queries = batch.history_query;
  queries.terms.ids.clear();
  queries.terms.offsets.assign(1, 0);
  std::vector<std::size_t> order;
  for (std::size_t list = 0; list + 1 < batch.history_offsets.size(); ++list) {
    const auto begin = static_cast<std::size_t>(batch.history_offsets[list]), end = static_cast<std::size_t>(batch.history_offsets[list + 1]);
    order.resize(end - begin);
    std::iota(order.begin(), order.end(), begin);
    RandomStream random(static_cast<std::uint64_t>(batch.request[list]), "control.permute_past_queries");
    random.shuffle(order);
    for (std::size_t row = begin; row < end; ++row) {
      const std::size_t from = order[row - begin];
      queries.id[row] = old.id[from];
      queries.terms.ids.insert(queries.terms.ids.end(), old.terms.ids.begin() + old.terms.offsets[from],
                               old.terms.ids.begin() + old.terms.offsets[from + 1]);
      queries.terms.offsets.push_back(static_cast<std::int32_t>(queries.terms.ids.size()));
    }
  }
}

}  // namespace

double sigmoid(double x) { return std::exp(log_sigmoid_of(x)); }
double softplus(double x) { return -log_sigmoid_of(-x); }

double ranking_score(const Config& config, float click_logit, std::span<const float> conversion_logits, std::span<const float> values) {
  const double click = config.rank.alpha * (traits(config).probabilities ? log_sigmoid_of(click_logit) : double{click_logit});
  if (config.rank.beta == 0 && config.rank.gamma == 0) return click;
  const std::vector<double>& weights = config.rank.conversion_weights;
  double total = -std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < values.size(); ++k) {
    double score = click;
    if (config.rank.beta != 0) score += config.rank.beta * log_sigmoid_of(conversion_logits[k]);
    if (config.rank.gamma != 0) score += config.rank.gamma * std::log(std::max(static_cast<double>(values[k]), 1e-12));
    if (weights.empty()) total = log_add(total, score);
    else if (weights[k] > 0) total = log_add(total, score + std::log(weights[k]));
  }
  return total;
}

double ranking_score(const Config& config, const PredictedLogits& logits, std::size_t candidate) {
  const std::size_t at = candidate * logits.kinds;
  return ranking_score(config, logits.click[candidate], std::span(logits.conversion).subspan(at, logits.kinds), std::span(logits.value).subspan(at, logits.kinds));
}

void require_finite(std::span<const double> scores) {
  if (std::all_of(scores.begin(), scores.end(), [](double s) { return std::isfinite(s); })) return;
  throw Error(ErrorCode::model, "the model gave a score that is not a number: the file is damaged (piano inspect --verify), or its training went wrong");
}

struct Predictor::Worker {
  Worker(const data::FeatureSpace& features, data::BuilderLimits limits) : builder(features, limits) {}
  data::BatchBuilder builder;
  data::Batch batch;
  Arena arena, judging;
  JudgedList list;
  std::vector<double> score;       // of one list
  std::vector<std::int32_t> order, orders;
  std::vector<float> click, conversion;
};

Predictor::Predictor(const Config& config, const Network& network, const ParameterStore& parameters, const data::FeatureSpace& features,
                     const data::BatchBuilder& builder, ThreadPool& pool, const Device& device, DeviceMemory::Tables tables)
    : config_(config), network_(network), parameters_(parameters), kinds_(features.schema.kinds()), pool_(pool), device_(device), tables_(tables) {
  if (device.make_memory != nullptr) memory_ = device.make_memory();
  for (int w = 0; w < pool.size(); ++w) {
    workers_.push_back(std::make_unique<Worker>(features, builder_limits(config)));
    workers_.back()->builder.share_maps_with(builder);
  }
}

Predictor::~Predictor() = default;

// Builds the requests' micro-batches, of some lists each, and calls visit(worker, context, first request, first candidate) for each, from all workers.
void Predictor::each_micro_batch(const data::Dataset& data, std::span<const std::int64_t> requests,
                                 const std::function<void(Worker&, const Context&, std::size_t, std::int64_t)>& visit) {
  packed_.pack(parameters_, device_);
  if (memory_) memory_->keep(parameters_, tables_);
  std::vector<std::int64_t> rows{0};
  std::int64_t longest = 0;
  for (const std::int64_t r : requests) {
    const std::int64_t size = data.candidate_end(r) - data.candidate_begin(r);
    longest = std::max(longest, size);
    rows.push_back(rows.back() + size);
  }
  const std::size_t workers = workers_.size();
  const std::size_t lists = memory_ ? static_cast<std::size_t>(std::clamp<std::int64_t>(kDeviceRows / std::max<std::int64_t>(longest, 1), 1, kDeviceLists))
                                    : longest > kLongList ? 1 : kLists;
  pool_.run([&](int worker) {
    Worker& w = *workers_[static_cast<std::size_t>(worker)];
    for (std::size_t at = static_cast<std::size_t>(worker) * lists; at < requests.size(); at += workers * lists) {
      w.builder.build(requests.subspan(at, std::min(lists, requests.size() - at)), w.batch);
      if (config_.encoder.position == PositionMode::displayed) show_by_initial_rank(w.batch);
      std::unique_lock<std::mutex> turn;
      if (memory_) {
        turn = std::unique_lock(on_device_);
        memory_->reset();
      }
      w.arena.reset();
      Context ctx;
      ctx.device = &device_;
      ctx.memory = memory_.get();
      ctx.arena = &w.arena;
      ctx.parameters = &parameters_;
      ctx.packed = &packed_;
      visit(w, ctx, at, rows[at]);
    }
  });
}

PredictedLogits Predictor::predict(const data::Dataset& data, std::span<const std::int64_t> requests, bool permute_past_queries) {
  PredictedLogits out;
  for (const std::int64_t r : requests) out.offsets.push_back(out.offsets.back() + data.candidate_end(r) - data.candidate_begin(r));
  const auto candidates = static_cast<std::size_t>(out.offsets.back());
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  const bool searches = config_.rank.by == RankBy::list_search;
  const std::size_t kinds = out.kinds = kinds_;
  out.click.resize(candidates), out.conversion.resize(candidates * kinds, kNone), out.recency.resize(candidates), out.value.resize(candidates * kinds);
  out.list_click.resize(requests.size(), kNone), out.list_conversion.resize(requests.size() * kinds, kNone);
  if (searches) out.place.resize(candidates);

  each_micro_batch(data, requests, [&](Worker& w, const Context& ctx, std::size_t at, std::int64_t first) {
    if (permute_past_queries) permute(w.batch);
    const Logits logits = network_(ctx, w.batch);
    to_host(ctx, logits, searches);
    const auto row = static_cast<std::size_t>(first);
    copy(logits.click, out.click, row);
    copy(logits.list_click, out.list_click, at);
    for (std::size_t k = 0; k < kinds; ++k) {
      copy(logits.conversion[k], out.conversion, row, k, kinds);
      copy(logits.list_conversion[k], out.list_conversion, at, k, kinds);
    }
    std::copy(w.batch.recency.begin(), w.batch.recency.end(), out.recency.begin() + first);
    std::copy(w.batch.value.begin(), w.batch.value.end(), out.value.begin() + first * static_cast<std::int64_t>(kinds));
    if (!searches) return;
    ListSearch search(config_);
    Context judging = ctx;
    judging.arena = &w.judging;
    for (std::int32_t l = 0; l < w.batch.lists; ++l) {
      const std::int32_t begin = w.batch.offsets[static_cast<std::size_t>(l)], end = w.batch.offsets[static_cast<std::size_t>(l) + 1];
      w.score.clear();
      for (auto i = static_cast<std::size_t>(first + begin); i < static_cast<std::size_t>(first + end); ++i) {
        w.score.push_back(ranking_score(config_, out, i));
      }
      require_finite(w.score);
      order_by_score(w.score, w.order);
      w.list.take(logits, l, begin, end);
      search.improve(judging, network_, w.list, w.order);
      for (std::size_t place = 0; place < w.order.size(); ++place) {
        out.place[static_cast<std::size_t>(first + begin + w.order[place])] = static_cast<std::int32_t>(place);
      }
    }
  });
  return out;
}

std::vector<JudgedOrders> Predictor::judge(const data::Dataset& data, std::span<const std::int64_t> requests,
                                           std::span<const std::span<const double>> scores) {
  std::vector<JudgedOrders> out(scores.size());
  for (JudgedOrders& o : out) o.list_click.resize(requests.size()), o.list_conversion.resize(requests.size() * kinds_);
  each_micro_batch(data, requests, [&](Worker& w, const Context& ctx, std::size_t at, std::int64_t first) {
    const Logits logits = network_(ctx, w.batch);
    to_host(ctx, logits, true);
    Context judging = ctx;
    judging.arena = &w.judging;
    for (std::int32_t l = 0; l < w.batch.lists; ++l) {
      const std::int32_t begin = w.batch.offsets[static_cast<std::size_t>(l)], end = w.batch.offsets[static_cast<std::size_t>(l) + 1];
      w.orders.clear();
      for (const std::span<const double> score : scores) {
        order_by_score(score.subspan(static_cast<std::size_t>(first + begin), static_cast<std::size_t>(end - begin)), w.order);
        w.orders.insert(w.orders.end(), w.order.begin(), w.order.end());
      }
      w.list.take(logits, l, begin, end);
      w.list.judge(judging, network_, w.orders, w.click, w.conversion);
      for (std::size_t s = 0; s < scores.size(); ++s) {
        out[s].list_click[at + static_cast<std::size_t>(l)] = w.click[s];
        const std::size_t list = at + static_cast<std::size_t>(l);
        for (std::size_t k = 0; k < kinds_; ++k) out[s].list_conversion[list * kinds_ + k] = w.conversion[s * kinds_ + k];
      }
    }
  });
  return out;
}

}  // namespace piano
