#include "piano/train.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/base/files.h"
#include "engine/base/json_text.h"
#include "engine/base/log.h"
#include "piano/evaluation.h"
#include "piano/evaluation_set.h"
#include "piano/model_file.h"
#include "piano/models.h"
#include "piano/predictor.h"
#include "piano/train_state.h"
#include "piano/trainer.h"

namespace piano {
namespace {

constexpr std::int64_t kLogEvery = 50;  // steps

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

// One JSON object a line. A run appends to what an earlier one wrote only when it resumes it. The file is opened for its first line: a run that
// fails before leaves none, and an old one as it was.
class JsonLog {
 public:
  JsonLog(const std::string& path, bool append) : path_(path), append_(append) {}
  ~JsonLog() {
    if (file_ != nullptr) std::fclose(file_);
  }
  JsonLog(const JsonLog&) = delete;
  JsonLog& operator=(const JsonLog&) = delete;

  void write(const nlohmann::ordered_json& json) {
    if (file_ == nullptr) file_ = std::fopen(path_.c_str(), append_ ? "ab" : "wb");
    if (file_ == nullptr) throw Error(ErrorCode::io, "cannot write " + path_ + ": " + std::strerror(errno));
    const std::string line = json_text(json) + "\n";
    std::fwrite(line.data(), 1, line.size(), file_);
    std::fflush(file_);
  }
  // Beside a new model, an older training's log would mislead.
  void remove_older() {
    std::error_code absent;
    if (file_ == nullptr && !append_) std::filesystem::remove(path_, absent);
  }

 private:
  std::string path_;
  bool append_;
  std::FILE* file_ = nullptr;
};

nlohmann::ordered_json terms_json(const LossTerms& terms, const LossWeights& weights, const data::Schema& schema) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (std::size_t t = 0; t < terms.size(); ++t) {
    if (weights.term[t] > 0) json[term_name(t, schema)] = terms[t];
  }
  return json;
}

Config by_score(Config config) {
  config.rank.by = RankBy::score;
  return config;
}

// What chooses the best epoch, by the items' own scores (whatever rank.by says): larger is better. Looks at the validation part only.
class Validation {
 public:
  Validation(const data::Dataset& data, Trainer& trainer, ThreadPool& pool, const DeviceTraining& device)
      : data_(data), trainer_(trainer), requests_(data.requests(data::Split::valid)),
        by_score_(by_score(trainer.config())),
        predictor_(by_score_, trainer.network(), trainer.parameters(), data.features(), trainer.builder(), pool, *device.device, device.tables) {
    if (requests_.empty()) return;
    data::BatchBuilder builder(data.features(), builder_limits(trainer.config()));
    builder.share_maps_with(trainer.builder());
    set_ = evaluation_set(data, requests_, data.features(), builder);
    metric_ = trainer.config().train.select == SelectBy::target_mrr
                  ? RankingMetric{"MRR (target)", Gain::target, Measure::reciprocal_rank, 0, false}
              : trainer.config().train.select == SelectBy::revenue
                  ? RankingMetric{"revenue@10", Gain::revenue, Measure::sum, 10, false}
                  : RankingMetric{"NDCG@10 (click + conversion)", Gain::click_plus_conversion, Measure::ndcg, 10, false};
    const std::vector<double> any_score(set_.lists.click.size(), 0.0);
    const bool defined = trainer.config().train.select == SelectBy::loss || !std::isnan(mean_metric(set_.lists, any_score, metric_));
    if (!defined) requests_.clear();  // no list has a label that the metric could reward
  }

  bool empty() const { return requests_.empty(); }
  std::string name() const { return trainer_.config().train.select == SelectBy::loss ? "-loss" : metric_.name; }

  double measure() {
    const PredictedLogits logits = predictor_.predict(data_, requests_);
    check_finite(logits);
    if (trainer_.config().train.select == SelectBy::loss) return -mean_loss(logits);
    std::vector<double> score(logits.click.size());
    for (std::size_t i = 0; i < score.size(); ++i) score[i] = ranking_score(trainer_.config(), logits, i);
    return mean_metric(set_.lists, score, metric_);
  }

 private:
  // A step checks its loss before it moves the parameters: what an epoch's last steps did to them shows here first.
  void check_finite(const PredictedLogits& logits) const {
    const ModelTraits& gives = traits(trainer_.config());
    for (const auto& [column, given] : {std::pair{&logits.click, true}, std::pair{&logits.conversion, gives.conversion},
                                        std::pair{&logits.list_click, gives.list_click}, std::pair{&logits.list_conversion, gives.list_conversion}}) {
      if (!given || std::all_of(column->begin(), column->end(), [](float x) { return std::isfinite(x); })) continue;
      throw Error(ErrorCode::diverged, "step " + std::to_string(trainer_.optimiser().steps()) +
                                           ": validation gave a score that is not finite: the parameters blew up in the epoch's last steps" +
                                           "; try a lower train.learning_rate or train.clip");
    }
  }

  // The items' terms of the loss, as in loss.h, from the logits.
  double mean_loss(const PredictedLogits& logits) const {
    const LossWeights& weights = trainer_.weights();
    const ExaminationLoss& examination = weights.examination;
    double sum = 0, items = 0;
    std::array<double, kMostKinds> known{}, clicked{}, clicked_sum{};  // per kind of conversion
    for (std::size_t i = 0; i < logits.click.size(); ++i) {
      items += set_.lists.labelled[i];
      for (std::size_t k = 0; k < logits.kinds; ++k) known[k] += set_.lists.known(i, k);
    }
    std::vector<std::int32_t> position;  // of each row
    for (const std::int64_t r : requests_) {
      position.insert(position.end(), data_.positions().begin() + data_.candidate_begin(r), data_.positions().begin() + data_.candidate_end(r));
    }
    const auto log_s = [](double x) { return -softplus(-x); };
    for (std::size_t i = 0; i < logits.click.size(); ++i) {
      if (set_.lists.labelled[i] == 0) continue;
      const double a = logits.click[i], y = set_.lists.click[i];
      sum += weights.term[kClick] * (examination ? examination.click_term(a, y, position[i]) : softplus(a) - y * a);
      for (std::size_t k = 0; k < logits.kinds; ++k) {
        if (!set_.lists.known(i, k)) continue;
        const double b = logits.conversion[i * logits.kinds + k], z = set_.lists.converted(i, k), both = log_s(a) + log_s(b);
        const double weight = weights.term[conversion_term(k)] * (items / known[k]);  // a mean over the items that it is known of
        if (examination) sum += weight * examination.conversion_term(b, y, z, position[i]);
        else if (!weights.clicked_items) sum -= weight * (z > 0 ? both : std::log(-std::expm1(std::min(both, -1e-12))));
        else if (y > 0) clicked_sum[k] += weights.term[conversion_term(k)] * (softplus(b) - z * b), clicked[k] += 1;
      }
    }
    double mean = sum / std::max(items, 1.0);
    for (std::size_t k = 0; k < logits.kinds; ++k) mean += clicked_sum[k] / std::max(clicked[k], 1.0);
    return mean;
  }

  const data::Dataset& data_;
  Trainer& trainer_;
  std::vector<std::int64_t> requests_;
  Config by_score_;
  Predictor predictor_;
  EvaluationSet set_;
  RankingMetric metric_;
};

// The lists of an epoch in their random order: a function of the seed and the epoch alone.
std::vector<std::int64_t> epoch_order(const Trainer& trainer, std::int64_t epoch) {
  std::vector<std::int64_t> order = trainer.training_requests();
  RandomStream random(static_cast<std::uint64_t>(trainer.config().train.seed), "train.order." + std::to_string(epoch));
  random.shuffle(order);
  return order;
}

}  // namespace

TrainSummary train(const Config& asked, const data::Dataset& data, ThreadPool& pool, const TrainOptions& options) {
  const std::string state_path = options.out + ".state", log_path = options.out + ".log.jsonl";
  for (const std::string& path : {state_path, log_path}) require_regular_file(path);
  { const AtomicFile probe(options.out); }  // what cannot be written fails now, not after an epoch
  Trainer trainer(asked, data, pool, options.device);
  for (const std::string& warning : trainer.warnings()) log_warning(warning);
  const Config& config = trainer.config();
  Validation validation(data, trainer, pool, options.device);
  if (validation.empty()) log_warning("no requests to validate on: the last epoch is kept, and there is no early stop");

  TrainState state;
  bool has_model = false;  // which only matters to a training that goes on
  if (options.resume) {
    state = load_state(state_path, asked, data.fingerprint(), trainer.parameters(), trainer.optimiser());
    trainer.from_host();
    has_model = std::filesystem::exists(options.out);
    if (state.has_best() && !has_model) {
      throw Error(ErrorCode::usage, options.out + ": no such file, and it alone held epoch " + std::to_string(state.best_epoch) +
                                        ", the best so far; put it back, or train anew without --resume");
    }
  }
  TrainSummary summary;
  const auto summarise = [&](const char* why) {
    const double best = validation.empty() || !state.has_best() ? std::numeric_limits<double>::quiet_NaN() : state.best;
    summary = {trainer.optimiser().steps(), state.epoch, state.best_epoch, best, why};
    return summary;
  };
  const bool exhausted = state.epoch >= config.train.epochs ||
                         (config.train.patience > 0 && state.worse >= config.train.patience);
  if (has_model && (exhausted || (config.train.max_steps > 0 && trainer.optimiser().steps() >= config.train.max_steps))) {
    return summarise("already finished");
  }

  JsonLog log(log_path, options.resume);
  const auto save = [&](const char* why) {
    log.remove_older();
    trainer.to_host();
    save_state(state_path, state, asked, data.fingerprint(), trainer.parameters(), trainer.optimiser());
    // An interrupt before the first epoch's end is no reason to replace an earlier model.
    if (why == std::string_view("interrupted") && !state.has_best() && std::filesystem::exists(options.out)) {
      log_warning(options.out + ": kept as it was, since no epoch of this training has ended");
    } else if (!state.has_best()) {
      trainer.optimiser().catch_up_all();  // after the state: when rows were last caught up is part of it
      save_model(options.out, config, data.features(), trainer.parameters());
    }
    return summarise(why);
  };

  const auto started = Clock::now();
  auto shown = started;
  std::int64_t lists_done = 0;  // in this run
  const auto step_json = [&](const StepReport& report) {
    if (config.loss.weighting == LossWeighting::uncertainty) trainer.to_host();  // for log_variance()
    nlohmann::ordered_json line{{"step", report.step}, {"epoch", state.epoch + 1}, {"loss", report.loss},
                                {"terms", terms_json(report.terms, trainer.weights(), data.features().schema)}, {"gradient_norm", report.gradient_norm},
                                {"lists_per_second", static_cast<double>(lists_done) / seconds_since(started)}};
    for (std::size_t t = 0; t < report.terms.size(); ++t) {
      if (trainer.weights().log_variance[t]) line["log_variance"][term_name(t, data.features().schema)] = trainer.log_variance(t);
    }
    if (DeviceMemory* memory = trainer.device_memory(); memory != nullptr) {
      if (const auto [hits, misses] = memory->replays(); hits + misses > 0) line["graphs"] = {{"hits", hits}, {"misses", misses}};
    }
    for (const auto& m : trainer.optimiser().module_norms()) {
      line["modules"][m.module] = {{"gradient_norm", m.gradient}, {"update_ratio", m.value > 0 ? m.update / m.value : 0.0}};
    }
    return line;
  };
  const auto batch = static_cast<std::size_t>(config.train.batch);
  StepReport last;  // whose numbers are known
  while (state.epoch < config.train.epochs) {
    const std::vector<std::int64_t> order = epoch_order(trainer, state.epoch);
    const std::size_t batches = (order.size() + batch - 1) / batch;
    double epoch_loss = 0;
    std::int64_t epoch_steps = 0;
    const auto account = [&](const StepReport& report) {  // of this step, or of the one before
      if (report.step == 0) return;
      last = report;
      epoch_loss += report.loss, ++epoch_steps;
      if (report.step % kLogEvery == 0) log.write(step_json(report));
    };
    trainer.announce(std::span(order).subspan(static_cast<std::size_t>(state.cursor) * batch));
    for (; static_cast<std::size_t>(state.cursor) < batches; ++state.cursor) {
      const bool limit = config.train.max_steps > 0 && trainer.optimiser().steps() >= config.train.max_steps;
      const bool interrupted = options.stop != nullptr && options.stop->load();
      if (limit || interrupted) {
        account(trainer.finish());
        return save(interrupted ? "interrupted" : "max_steps");
      }
      const std::size_t begin = static_cast<std::size_t>(state.cursor) * batch, size = std::min(batch, order.size() - begin);
      if ((trainer.optimiser().steps() + 1) % kLogEvery == 0) trainer.optimiser().measure_next_step();
      account(trainer.step(std::span(order).subspan(begin, size)));
      lists_done += static_cast<std::int64_t>(size);
      const double elapsed = seconds_since(started);
      if (options.progress && last.step > 0 && (seconds_since(shown) > 0.2 || static_cast<std::size_t>(state.cursor) + 1 == batches)) {
        shown = Clock::now();
        const double rate = static_cast<double>(lists_done) / elapsed;
        const auto total = static_cast<double>(order.size());
        const double left = total * static_cast<double>(config.train.epochs - state.epoch) - static_cast<double>(begin + size);
        options.progress({state.epoch + 1, config.train.epochs, static_cast<std::int64_t>(begin + size), static_cast<std::int64_t>(order.size()),
                          last.step, last.loss, rate, left / rate});
      }
    }

    account(trainer.finish());
    trainer.to_host();
    trainer.optimiser().catch_up_all();
    ++state.epoch;
    state.cursor = 0;
    const double value = validation.empty() ? 0.0 : validation.measure();
    const bool better = validation.empty() || !state.has_best() || value > state.best;
    if (better) {
      state.best = value, state.best_epoch = state.epoch, state.worse = 0;
      save_model(options.out, config, data.features(), trainer.parameters());
    } else {
      ++state.worse;
    }
    const double mean_loss = epoch_loss / static_cast<double>(std::max<std::int64_t>(epoch_steps, 1));
    nlohmann::ordered_json line{{"epoch", state.epoch}, {"step", trainer.optimiser().steps()}, {"loss", mean_loss}, {"best_epoch", state.best_epoch}};
    if (!validation.empty()) line["validation"] = {{"metric", validation.name()}, {"value", value}};
    log.write(line);
    char text[160];
    std::snprintf(text, sizeof text, "epoch %lld: loss %.4f", static_cast<long long>(state.epoch), mean_loss);
    std::string message = text;
    if (!validation.empty()) {
      std::snprintf(text, sizeof text, ", validation %s %.4f%s", validation.name().c_str(), value, better ? " (best, saved)" : "");
      message += text;
    }
    log_info(message);
    if (config.train.patience > 0 && state.worse >= config.train.patience) return save("early stop");
    save_state(state_path, state, asked, data.fingerprint(), trainer.parameters(), trainer.optimiser());
  }
  return save("epochs");
}

}  // namespace piano
