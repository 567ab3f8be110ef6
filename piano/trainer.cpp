#include "piano/trainer.h"

#include <algorithm>
#include <cmath>

#include "layers/initialise.h"
#include "piano/models.h"

namespace piano {

Trainer::Trainer(const Config& config, const data::Dataset& data, ThreadPool& pool, const DeviceTraining& options)
    : config_(as_read(config)), data_(data), training_(data.requests(data::Split::train)), conversions_(data.conversions(data.features().schema)) {
  check(config_);
  if (training_.empty()) {
    throw Error(ErrorCode::data, data.path() + ": no training requests; prepare the log with --split time or --split user");
  }
  network_ = make_network(config_, data.features(), parameters_);
  weights_ = loss_weights(config_, conversions_.size());
  switch_off_constant_terms();
  rank_without_the_untrained();
  warn_of_short_theta();
  if (config_.loss.weighting == LossWeighting::uncertainty) declare_log_variances(parameters_, weights_);
  parameters_.allocate();
  initialise(parameters_, static_cast<std::uint64_t>(config_.train.seed));
  const std::int64_t steps_an_epoch = (static_cast<std::int64_t>(training_.size()) + config_.train.batch - 1) / config_.train.batch;
  optimiser_ = std::make_unique<Optimiser>(config_, parameters_, cpu_device(), config_.train.epochs * steps_an_epoch);
  const TrainingParts parts{config_, data_, pool, training_, weights_, *network_, parameters_, *optimiser_};
  steps_ = options.device->make_memory == nullptr ? make_cpu_steps(parts) : make_device_steps(parts, options);
}

StepReport Trainer::step(std::span<const std::int64_t> requests) { return steps_->step(requests, count(requests)); }

void Trainer::switch_off_constant_terms() {
  // A label that never changes teaches nothing but a constant, and would look learned in the report.
  struct Range {
    double low = INFINITY, high = -INFINITY;
    void add(double x) { low = std::min(low, x), high = std::max(high, x); }
    bool unknown() const { return high < low; }  // nothing was added
    bool constant() const { return !(low < high); }
  };
  std::array<Range, std::tuple_size_v<LossTerms>> range;
  const auto clicks = data_.clicks(), labelled = data_.labelled();
  std::vector<double> z(conversions_.size()), unknown(conversions_.size());
  for (const std::int64_t r : training_) {
    double items = 0, y = 0;
    std::ranges::fill(z, 0.0), std::ranges::fill(unknown, 0.0);
    for (auto i = static_cast<std::size_t>(data_.candidate_begin(r)); i < static_cast<std::size_t>(data_.candidate_end(r)); ++i) {
      if (labelled[i] == 0) continue;
      range[kClick].add(clicks[i]);
      items += 1, y += clicks[i];
      for (std::size_t k = 0; k < z.size(); ++k) {
        const std::uint8_t conversion = label_of(k, i);
        if (conversion == data::kUnknownLabel) {
          unknown[k] += 1;
          continue;
        }
        if (!weights_.clicked_items || clicks[i] != 0) range[conversion_term(k)].add(conversion);
        z[k] += conversion;
      }
    }
    if (items == 0) continue;
    const auto label = [&](double sum) {
      return weights_.label == ListLabel::any ? (sum > 0 ? 1 : 0) : weights_.label == ListLabel::fraction ? sum / items : sum;
    };
    range[kListClick].add(label(y));
    for (std::size_t k = 0; k < z.size(); ++k) {
      if (unknown[k] == 0) range[list_conversion_term(k)].add(label(z[k]));
    }
  }
  range[kListwise].add(0), range[kListwise].add(std::max(0.0, range[kClick].high));  // needs a positive somewhere
  for (std::size_t t = 0; t < range.size(); ++t) {
    if (weights_.term[t] == 0 || !range[t].constant()) continue;
    weights_.term[t] = 0;
    const std::string name = term_name(t, data_.features().schema);
    const bool of_lists = name.starts_with("list_");
    std::string why = "its label is the same everywhere in the training part";
    if (range[t].unknown()) why = of_lists ? "it needs a list of which the kind is known throughout, and the training part has none" : "nothing in the training part has its label";
    else if (of_lists && weights_.label == ListLabel::any) why += "; list.label = fraction or count may vary where 'any' does not";
    warnings_.push_back("loss." + name + " is switched off: " + why);
  }
  if (std::all_of(weights_.term.begin(), weights_.term.end(), [](double w) { return w == 0; })) {
    throw Error(ErrorCode::data, data_.path() + ": no label varies in the training part, there is nothing to learn");
  }
}

// A head that nothing trains must not shuffle the order.
void Trainer::rank_without_the_untrained() {
  const std::size_t kinds = conversions_.size();
  std::vector<double> counts(weights_.kind_weight.begin(), weights_.kind_weight.begin() + static_cast<std::ptrdiff_t>(kinds));
  std::string untrained;
  for (std::size_t k = 0; k < kinds && weights_.term[kListwise] == 0; ++k) {
    if (weights_.term[conversion_term(k)] != 0 || counts[k] == 0) continue;
    counts[k] = 0;
    untrained += (untrained.empty() ? "" : ", ") + std::string(data_.features().schema.kind(k));
  }
  const bool none = std::all_of(counts.begin(), counts.end(), [](double w) { return w == 0; });
  if (none && config_.rank.beta != 0) {
    config_.rank.beta = 0;
    warnings_.push_back("rank.beta = 0: nothing trains the conversion head, so the order is by click alone");
  } else if (!none && !untrained.empty()) {
    config_.rank.conversion_weights = counts;
    warnings_.push_back("rank.conversion_weights: 0 for " + untrained + ", whose head nothing trains");
  }
  if (config_.rank.by != RankBy::list_search) return;
  std::string unjudged;  // kinds that count, and whose list head nothing trains
  for (std::size_t k = 0; k < kinds; ++k) {
    if (counts[k] == 0 || weights_.term[list_conversion_term(k)] != 0) continue;
    unjudged += (unjudged.empty() ? "" : ", ") + std::string(data_.features().schema.kind(k));
  }
  if ((none || !unjudged.empty()) && config_.rank.list_conversion != 0) {
    config_.rank.list_conversion = 0;
    warnings_.push_back("rank.list_conversion = 0: nothing trains P_cvr" + (kinds > 1 && !none ? " of " + unjudged : "") + ", so orders are judged by P_ctr alone");
  }
  if (weights_.term[kListClick] == 0 || config_.rank.list_click + config_.rank.list_conversion == 0) {
    config_.rank.by = RankBy::score;
    warnings_.push_back("rank.by = score: nothing trains the list heads that list_search would ask");
  }
}

void Trainer::warn_of_short_theta() {
  if (!weights_.examination) return;
  std::int32_t furthest = 0;
  for (const std::int64_t r : training_) {
    const auto begin = static_cast<std::size_t>(data_.candidate_begin(r)), end = static_cast<std::size_t>(data_.candidate_end(r));
    for (const std::int32_t position : data_.positions().subspan(begin, end - begin)) furthest = std::max(furthest, position);
  }
  const std::size_t known = weights_.examination.theta.size();
  if (static_cast<std::size_t>(furthest) <= known) return;
  warnings_.push_back("loss.theta has " + std::to_string(known) + (known == 1 ? " number" : " numbers") + " and lists were shown down to position " +
                      std::to_string(furthest) + ": the last one stands for all positions beyond");
}

std::uint8_t Trainer::label_of(std::size_t kind, std::size_t candidate) const {
  return conversions_[kind].empty() ? data::kUnknownLabel : conversions_[kind][candidate];
}

double Trainer::log_variance(std::size_t term) const {
  return static_cast<double>(parameters_.values<float>(parameters_[weights_.log_variance[term]])[0]);
}

LossCounts Trainer::count(std::span<const std::int64_t> requests) const {
  LossCounts counts;
  const auto clicks = data_.clicks(), labelled = data_.labelled();
  for (const std::int64_t r : requests) {
    std::int64_t items = 0, positives = 0;
    std::array<LossCounts::Unknown, kMostKinds> unknown{};
    for (auto i = static_cast<std::size_t>(data_.candidate_begin(r)), end = static_cast<std::size_t>(data_.candidate_end(r)); i < end; ++i) {
      if (labelled[i] == 0) continue;
      items += 1;
      positives += clicks[i];  // a conversion is also a click
      for (std::size_t k = 0; k < conversions_.size(); ++k) {
        if (label_of(k, i) == data::kUnknownLabel) unknown[k].items += 1, unknown[k].clicked += clicks[i], unknown[k].lists = 1;
      }
    }
    counts.items += items;
    counts.lists += items > 0;
    counts.positive_lists += positives > 0;
    counts.clicked += positives;
    for (std::size_t k = 0; k < conversions_.size(); ++k) {
      counts.unknown[k].items += unknown[k].items, counts.unknown[k].lists += unknown[k].lists, counts.unknown[k].clicked += unknown[k].clicked;
    }
  }
  return counts;
}

}  // namespace piano
