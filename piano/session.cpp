// Serving: one request in, its order out, without an allocation once warm.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "data/dataset.h"
#include "engine/core/device.h"
#include "engine/core/device_memory.h"
#include "engine/ops/shared_forward.h"
#include "piano/history_cache.h"
#include "piano/list_search.h"
#include "piano/model_file.h"
#include "piano/models.h"
#include "piano/piano.h"
#include "piano/predictor.h"
#include "piano/table_guard.h"

namespace piano {

namespace {

constexpr std::size_t kKeysPerEvent = 32, kKeysOfNgrams = 96;  // ids and offsets of a past event; a history with more of them is not kept

}  // namespace

struct Session::Impl {
  Impl(std::shared_ptr<const Model> m, SessionOptions options) : model(std::move(m)), builder(model->impl().features, model->impl().limits()) {
    const Config& config = model->impl().config;
    kept = model->impl().network->memory_columns();
    if (options.device != nullptr) device = options.device;
    if (device->make_memory != nullptr) {
      if (options.threads > 1) throw Error(ErrorCode::usage, "a session on a GPU has no threads to share a request: expected threads = 1, got " + std::to_string(options.threads));
      options.history_cache_bytes = 0;
      memory = device->make_memory();
      memory->keep(model->impl().parameters);
    }
    if (options.threads > 1) shared.emplace(options.threads);
    if (model->impl().tables_unchecked) guard.emplace(*model->impl().file, model->impl().parameters);
    if (config.rank.by == RankBy::list_search) search.emplace(config);
    if (kept.v > 0 && config.model.max_history > 0 && options.history_cache_bytes > 0) {
      const auto events = static_cast<std::size_t>(config.model.max_history);
      const std::size_t keys = kKeysPerEvent + (model->impl().features.schema.ngrams.on() ? kKeysOfNgrams : 0);
      histories.emplace(options.history_cache_bytes, (events + 1) * keys, events * static_cast<std::size_t>(kept.k + kept.v));
    }
  }

  Context context();
  Logits forward();
  void search_order(const Logits& logits);

  std::shared_ptr<const Model> model;
  const Device* device = &cpu_device();
  std::unique_ptr<DeviceMemory> memory;  // the device's own; null: it computes in the host's
  data::BatchBuilder builder;
  data::Batch batch;
  Arena arena;
  std::optional<SharedForward> shared;
  std::optional<TableGuard> guard;
  Network::MemoryColumns kept;        // per past event
  std::optional<HistoryCache> histories;
  std::vector<std::int32_t> history;  // this request's key
  std::optional<ListSearch> search;
  JudgedList list;
  std::vector<std::int32_t> order;    // the search's: order[place] = candidate
  std::vector<Ranked> ranking, by_rank;
  Response response;
};

Session::Session(std::shared_ptr<const Model> model, SessionOptions options) : impl_(std::make_unique<Impl>(std::move(model), options)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;

Context Session::Impl::context() {
  Context ctx;
  ctx.device = device;
  ctx.memory = memory.get();
  ctx.arena = &arena;
  ctx.parameters = &model->impl().parameters;
  ctx.packed = &model->impl().packed;
  if (shared) ctx.shared = &*shared;
  return ctx;
}

// The logits of `batch`, one list.
Logits Session::Impl::forward() {
  arena.reset();
  if (memory) memory->reset();
  const Context ctx = context();

  const std::int64_t events = batch.history_rows();
  const bool keeps = histories && events > 0;
  HistoryMemory remembered;
  bool known = false;
  if (keeps) {
    history_key(batch, history);
    const std::span<const float> found = histories->find(history);  // the keys, then the values
    known = !found.empty();
    const auto keys = static_cast<std::size_t>(events * kept.k);
    if (known && keys > 0) remembered.k = ctx.constant(found.first(keys), {events, kept.k});
    if (known) remembered.v = ctx.constant(found.subspan(keys), {events, kept.v});
  }
  const Logits logits = (*model->impl().network)(ctx, batch, remembered);
  if (shared) shared->run(ctx);
  to_host(ctx, logits, search.has_value());

  if (keeps && !known) {
    const auto k = remembered.k ? remembered.k.values<float>() : std::span<float>(), v = remembered.v.values<float>();
    const std::span<float> room = histories->keep(history, k.size() + v.size());
    if (!room.empty()) std::copy(v.begin(), v.end(), std::copy(k.begin(), k.end(), room.begin()));
  }
  return logits;
}

// From the ranking by score to the order that the list heads like best.
void Session::Impl::search_order(const Logits& logits) {
  list.take(logits, 0, 0, batch.rows());
  order.clear();
  for (const Ranked& r : ranking) order.push_back(r.from - 1);
  search->improve(context(), *model->impl().network, list, order);
  by_rank.resize(ranking.size());
  for (const Ranked& r : ranking) by_rank[static_cast<std::size_t>(r.from - 1)] = r;
  for (std::size_t place = 0; place < order.size(); ++place) ranking[place] = by_rank[static_cast<std::size_t>(order[place])];
}

HistoryUse Session::history_use() const {
  return impl_->histories ? HistoryUse{impl_->histories->lookups(), impl_->histories->hits()} : HistoryUse{};
}

const Response& Session::rerank(const Request& request) {
  Impl& s = *impl_;
  const Model::Impl& model = s.model->impl();
  if (s.shared) s.shared->begin();
  s.builder.build(request, s.batch);
  if (model.config.encoder.position == PositionMode::displayed) show_by_initial_rank(s.batch);
  if (s.guard) model.network->visit_rows(s.batch, [&](ParameterId table, std::span<const std::int32_t> rows) { s.guard->check(table, rows); });
  const Logits logits = s.forward();
  const ModelTraits& gives = traits(model.config);
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  const auto click = logits.click.values<float>();  // (candidates)
  const std::size_t n = request.candidates.size(), kinds = model.features.schema.kinds();
  s.ranking.clear();
  for (std::size_t i = 0; i < n; ++i) {
    std::array<float, kMostKinds> converts{};  // logits, then probabilities
    for (std::size_t k = 0; k < kinds; ++k) converts[k] = gives.conversion ? logits.conversion[k].values<float>()[i] : kNone;
    const double score = ranking_score(model.config, click[i], std::span(converts).first(kinds), std::span(s.batch.value).subspan(i * kinds, kinds));
    for (std::size_t k = 0; k < kinds && gives.conversion; ++k) converts[k] = static_cast<float>(model.calibration.conversion[k](converts[k]));
    s.ranking.push_back({request.candidates[i].id, 0, static_cast<std::int32_t>(i + 1), score,
                         gives.probabilities ? static_cast<float>(model.calibration.click(click[i])) : kNone, converts});
  }
  // A list has one wrong score as soon as one parameter is not a number: better no answer than a made-up order.
  if (std::any_of(s.ranking.begin(), s.ranking.end(), [](const Ranked& r) { return !std::isfinite(r.score); })) {
    throw Error(ErrorCode::model, s.model->impl().file->path() + ": the model gave a score that is not a number: the file is damaged "
                                  "(piano inspect --verify), or its training went wrong");
  }
  std::sort(s.ranking.begin(), s.ranking.end(), [](const Ranked& a, const Ranked& b) {
    return a.score != b.score ? a.score > b.score : a.from < b.from;
  });
  const auto list_value = [&](double logit) {  // counts are softplus rates, the others probabilities
    return static_cast<float>(model.config.list.label == ListLabel::count ? softplus(logit) : sigmoid(logit));
  };
  s.response.list_ctr = logits.list_click ? list_value(logits.list_click.item()) : kNone;
  for (std::size_t k = 0; k < kinds; ++k) s.response.list_cvr[k] = logits.list_conversion[k] ? list_value(logits.list_conversion[k].item()) : kNone;
  if (s.search) {
    s.search_order(logits);
    s.response.list_ctr = list_value(s.search->list_click());
    std::ranges::transform(s.search->list_conversion(), s.response.list_cvr.begin(), list_value);
  }
  for (std::size_t i = 0; i < s.ranking.size(); ++i) s.ranking[i].rank = static_cast<std::int32_t>(i + 1);
  s.response.ranking = s.ranking;
  return s.response;
}

}  // namespace piano
