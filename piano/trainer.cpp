#include "piano/trainer.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "engine/ops/op_table.h"
#include "layers/initialise.h"
#include "piano/model_file.h"
#include "piano/models.h"

namespace piano {
namespace {

constexpr std::int64_t kFewestAccumulators = 4;

// A made-up micro-batch of the given extent: every query with all its terms, every field with all its values, the first
// lists as long as any (`longest`: a list of its own).
void fill(const data::FeatureSpace& features, const data::BatchExtent& extent, const data::BatchExtent& longest, data::Batch& batch) {
  const data::Schema& schema = features.schema;
  const auto lists = static_cast<std::size_t>(extent.lists), rows = static_cast<std::size_t>(extent.rows);
  const auto history = static_cast<std::size_t>(extent.history_rows);
  const auto bags = [](data::BagColumn& column, std::size_t n, std::int32_t size) {
    column.offsets.resize(n + 1);
    for (std::size_t i = 0; i <= n; ++i) column.offsets[i] = static_cast<std::int32_t>(i) * size;
    column.ids.assign(n * static_cast<std::size_t>(size), data::kMissing);
  };
  const auto all_bags = [&](std::vector<data::BagColumn>& columns, std::size_t n) {
    for (data::BagColumn& column : columns) bags(column, n, std::max(extent.values_per_field, 1));
  };
  const auto queries = [&](data::QueryColumns& columns, std::size_t n) {
    columns.id.assign(n, data::kMissing);
    bags(columns.terms, n, std::max(extent.terms_per_query, 1));
  };
  const auto wide = [](std::int32_t columns) { return static_cast<std::size_t>(columns > 0 ? columns + 1 : 0); };

  batch.clear();
  batch.lists = extent.lists;
  batch.user.assign(lists, data::kMissing);
  all_bags(batch.user_fields, lists), all_bags(batch.context_fields, lists);
  batch.user_dense.assign(lists * wide(schema.user_dense), 0);
  queries(batch.query, lists);
  batch.history_offsets.assign(1, 0);  // as many events as one list can have, from the first list on
  for (std::size_t l = 1; l <= lists; ++l) {
    batch.history_offsets.push_back(static_cast<std::int32_t>(std::min(history, l * static_cast<std::size_t>(longest.history_rows))));
  }
  queries(batch.history_query, history);
  batch.history_item.id.assign(history, data::kMissing);
  all_bags(batch.history_item.fields, history);
  batch.history_action.assign(history, data::kMissing), batch.history_age.assign(history, data::kAgeUnknown);
  if (features.item_vectors.width() > 0) {
    batch.history_vector_of.assign(history, data::ItemVectors::kNone), batch.history_vector.assign(history * wide(schema.item_vector), 0);
  }
  batch.history_match.offsets.assign(lists + 1, 0);
  batch.offsets.assign(1, 0);  // the same of candidates, but one for each of the others
  for (std::size_t l = 0; l < lists; ++l) {
    batch.offsets.push_back(static_cast<std::int32_t>(std::min(rows - (lists - 1 - l), (l + 1) * static_cast<std::size_t>(longest.rows))));
  }
  batch.item.id.assign(rows, data::kMissing);
  all_bags(batch.item.fields, rows);
  batch.dense.assign(rows * wide(schema.item_dense), 0), batch.vector.assign(rows * wide(schema.item_vector), 0);
  batch.match.assign(rows * data::match_feature_names(schema).size(), 0);
  batch.score.assign(schema.has_score ? 2 * rows : 0, 0);
  batch.rank.assign(rows, 0);
  batch.position.assign(rows, 1);
  batch.kinds = static_cast<std::int32_t>(schema.kinds());
  batch.click.assign(rows, 0), batch.labelled.assign(rows, 1);
  batch.conversion.assign(rows * schema.kinds(), 0), batch.value.assign(rows * schema.kinds(), 1);
}

}  // namespace

struct Trainer::Worker {
  Worker(const data::FeatureSpace& features, data::BuilderLimits limits) : builder(features, limits) {}
  data::BatchBuilder builder;
  data::Batch batch;
  Arena arena;
  Tape tape;
};

Trainer::Trainer(const Config& config, const data::Dataset& data, ThreadPool& pool)
    : config_(as_read(config)), data_(data), pool_(pool), training_(data.requests(data::Split::train)),
      conversions_(data.conversions(data.features().schema)) {
  check(config_);
  if (training_.empty()) {
    throw Error(ErrorCode::data, data.path() + ": no training requests; prepare the log with --split time or --split user");
  }
  for (int w = 0; w < pool.size(); ++w) {
    workers_.push_back(std::make_unique<Worker>(data.features(), builder_limits(config_)));
    w == 0 ? workers_[0]->builder.attach(data) : workers_.back()->builder.share_maps_with(workers_[0]->builder);
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
  accumulators_.resize(static_cast<std::size_t>(config_.train.accumulators));
  partials_.resize(accumulators_.size());
  for (Gradients& g : accumulators_) parameters_.prepare(g);
  reserve();
}

Trainer::~Trainer() = default;

const data::BatchBuilder& Trainer::builder() const { return workers_[0]->builder; }

void Trainer::switch_off_constant_terms() {
  // A label that never changes teaches nothing but a constant, and would look learned in the report.
  struct Range {
    double low = INFINITY, high = -INFINITY;
    void add(double x) { low = std::min(low, x), high = std::max(high, x); }
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
  range[kListwise].add(0), range[kListwise].add(range[kClick].high);  // needs a positive somewhere
  for (std::size_t t = 0; t < range.size(); ++t) {
    if (weights_.term[t] == 0 || !range[t].constant()) continue;
    weights_.term[t] = 0;
    const std::string name = term_name(t, data_.features().schema);
    warnings_.push_back("loss." + name + " is switched off: its label is the same everywhere in the training part" +
                        (name.starts_with("list_") && weights_.label == ListLabel::any ? "; list.label = fraction or count may vary where 'any' does not" : ""));
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
  const auto judges = [&](std::size_t k) { return counts[k] == 0 || weights_.term[list_conversion_term(k)] != 0; };
  bool all = !none;
  for (std::size_t k = 0; k < kinds; ++k) all = all && judges(k);
  if (!all && config_.rank.list_conversion != 0) {
    config_.rank.list_conversion = 0;
    warnings_.push_back("rank.list_conversion = 0: nothing trains P_cvr, so orders are judged by P_ctr alone");
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

void Trainer::bound_log_variances() {
  constexpr auto most = static_cast<float>(kMostLogVariance);
  for (const ParameterId id : weights_.log_variance) {
    if (!id) continue;
    float& s = parameters_.values<float>(parameters_[id])[0];
    s = std::clamp(s, -most, most);
  }
}

// Runs one made-up micro-batch as large as any can be: from then on arenas, batches and gradients have the memory they need.
void Trainer::reserve() {
  const data::BatchExtent one = workers_[0]->builder.largest(training_);
  const auto micro = static_cast<std::int32_t>(micro_tokens() * 3 / 2);  // see cut()
  data::BatchExtent extent = one;
  extent.lists = static_cast<std::int32_t>(std::min<std::int64_t>(config_.train.batch, micro / 2 + 2));  // a list has at least two tokens
  const auto at_most = [&](std::int64_t rows, std::int32_t of_one) { return static_cast<std::int32_t>(std::min(rows, std::int64_t{of_one} * extent.lists)); };
  extent.rows = at_most(std::int64_t{one.rows} + micro + extent.lists - 1, one.rows);  // a longest list goes past the end
  extent.history_rows = at_most(std::int64_t{one.history_rows} + micro, one.history_rows);
  micro_batches_.reserve(static_cast<std::size_t>(config_.train.batch));

  packed_.pack(parameters_, cpu_device());
  for (const auto& worker : workers_) {
    worker->builder.reserve(extent, worker->batch);
    fill(data_.features(), extent, one, worker->batch);
    Partial partial;
    forward_backward(*worker, 0, {1, 1, 1, 1}, accumulators_[0], partial, Spent::given_back);
    worker->arena.reset();  // grown in chunks: now one block of the whole size
  }

  // Row gradients: as many rows as the made-up micro-batch touched, for as many micro-batches as one accumulator may get.
  // In cut() an accumulator gets at most six of them, or there are as many accumulators as can be.
  const auto a = static_cast<std::int64_t>(accumulators_.size()), fewest = std::min(a, kFewestAccumulators);
  std::int64_t most = fewest;
  while (2 * most <= a) most *= 2;
  const auto lists_of_each = [&](std::int64_t used) { return (config_.train.batch + used - 1) / used; };
  const std::int64_t micro_batches = std::min(lists_of_each(fewest), std::max<std::int64_t>(6, lists_of_each(most)));
  for (std::size_t t = 0; t < parameters_.table_count(); ++t) {
    const std::int64_t touches = accumulators_[0].tables[t].touches() / static_cast<std::int64_t>(workers_.size()) * micro_batches;
    const std::int64_t rows = parameters_.table_shape(t).rows();
    for (Gradients& g : accumulators_) g.tables[t].reserve(std::min(touches, rows));
    optimiser_->reserve(t, std::min(touches * a, rows));
  }
}

LossCounts Trainer::count(std::span<const std::int64_t> requests) const {
  LossCounts counts;
  const auto clicks = data_.clicks(), labelled = data_.labelled();
  for (const std::int64_t r : requests) {
    std::int64_t items = 0, positives = 0;
    std::array<LossCounts::Unknown, kMostKinds> unknown{};
    for (auto i = static_cast<std::size_t>(data_.candidate_begin(r)); i < static_cast<std::size_t>(data_.candidate_end(r)); ++i) {
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

// A micro-batch reads every weight twice and reads and writes its gradient, so it should be large; its activations should stay in the cache,
// so it should be small. While the weights themselves fit beside the activations, small wins; when they do not, large does.
std::int64_t Trainer::micro_tokens() const {
  constexpr std::size_t kLargeModel = 2 << 20;  // bytes
  if (config_.train.micro_tokens > 0) return config_.train.micro_tokens;
  return parameters_.dense_elements() * sizeof(float) > kLargeModel ? 800 : 150;
}

void Trainer::cut(std::span<const std::int64_t> requests) {
  const std::int64_t all = std::accumulate(requests.begin(), requests.end(), std::int64_t{0}, [&](std::int64_t sum, std::int64_t request) {
    return sum + workers_[0]->builder.tokens(request);
  });
  // An accumulator costs a pass over all dense gradients: a power of two of them with three micro-batches each, but never so few that four
  // threads would wait for each other.
  const auto most = static_cast<std::int64_t>(accumulators_.size());
  for (used_ = std::min(most, kFewestAccumulators); 2 * used_ <= most && 6 * used_ * micro_tokens() <= all;) used_ *= 2;
  // As many micro-batches for each, of equal size (up to 1.5 times the wanted one) but for whole lists: each ends where its share does.
  const std::int64_t count = used_ * std::max<std::int64_t>(1, (all + used_ * micro_tokens() / 2) / (used_ * micro_tokens()));
  micro_batches_.clear();
  std::int64_t tokens = 0;
  std::int32_t begin = 0;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(requests.size()); ++i) {
    tokens += workers_[0]->builder.tokens(requests[static_cast<std::size_t>(i)]);
    if (tokens * count < static_cast<std::int64_t>(micro_batches_.size() + 1) * all) continue;
    micro_batches_.push_back({begin, i + 1});
    begin = i + 1;
  }
}

// train.rows = catchup: the rows that this batch reads get their missed steps first. Row 0 may stand in for any id (id dropout).
void Trainer::catch_up(std::span<const std::int64_t> requests) {
  if (config_.train.rows != RowUpdates::catchup) return;
  Worker& worker = *workers_[0];
  for (const MicroBatch& micro : micro_batches_) {
    build(worker, requests, micro);
    network_->visit_rows(worker.batch, [&](ParameterId id, std::span<const std::int32_t> ids) {
      const Parameter& p = parameters_[id];
      rows_read_.assign(1, 0);
      for (const std::int32_t row : ids) rows_read_.push_back(std::min(row, static_cast<std::int32_t>(p.shape.rows() - 1)));
      optimiser_->catch_up(p.table, rows_read_);
    });
  }
}

void Trainer::build(Worker& worker, std::span<const std::int64_t> requests, MicroBatch micro) {
  const auto begin = static_cast<std::size_t>(micro.begin), size = static_cast<std::size_t>(micro.end - micro.begin);
  worker.builder.build(requests.subspan(begin, size), worker.batch);
}

void Trainer::forward_backward(Worker& worker, std::int32_t first_list, const LossCounts& counts, Gradients& gradients, Partial& partial,
                               Spent spent) {
  worker.arena.reset();
  worker.tape.clear();
  Context ctx;
  ctx.device = &cpu_device();
  ctx.arena = &worker.arena;
  ctx.tape = &worker.tape;
  ctx.parameters = &parameters_;
  ctx.packed = &packed_;
  ctx.gradients = &gradients;
  ctx.random = {static_cast<std::uint64_t>(config_.train.seed), static_cast<std::uint32_t>(optimiser_->steps())};
  ctx.first_list = first_list;
  ctx.training = true;
  LossTerms terms{};
  const Tensor total = loss(ctx, (*network_)(ctx, worker.batch), worker.batch, weights_, counts, &terms);
  partial.loss += total.item();
  for (std::size_t t = 0; t < terms.size(); ++t) partial.terms[t] += terms[t];
  worker.tape.backward(ctx, total, spent);
}

StepReport Trainer::step(std::span<const std::int64_t> requests) {
  cut(requests);
  catch_up(requests);
  packed_.pack(parameters_, cpu_device());
  const LossCounts counts = count(requests);
  const auto accumulators = static_cast<std::size_t>(used_);
  std::atomic<std::size_t> next{0};  // which worker fills which accumulator changes no bit
  pool_.run([&](int worker) {
    for (std::size_t a; (a = next.fetch_add(1, std::memory_order_relaxed)) < accumulators;) {
      parameters_.start(accumulators_[a]);
      partials_[a] = {};
      for (std::size_t j = a; j < micro_batches_.size(); j += accumulators) {
        Worker& w = *workers_[static_cast<std::size_t>(worker)];
        build(w, requests, micro_batches_[j]);
        forward_backward(w, micro_batches_[j].begin, counts, accumulators_[a], partials_[a], Spent::given_back);
      }
      parameters_.finish(accumulators_[a]);
    }
  });
  StepReport report;
  for (const Partial& partial : std::span(partials_).first(accumulators)) {
    report.loss += partial.loss;
    for (std::size_t t = 0; t < report.terms.size(); ++t) report.terms[t] += partial.terms[t];
  }
  if (!std::isfinite(report.loss)) diverged(requests, counts);
  report.gradient_norm = optimiser_->step(std::span(accumulators_).first(accumulators), pool_);
  if (!std::isfinite(report.gradient_norm)) diverged(requests, counts);
  bound_log_variances();
  return report;
}

// Nothing was updated: the same micro-batches once more, one by one, to find the op.
void Trainer::diverged(std::span<const std::int64_t> requests, const LossCounts& counts) {
  const std::string where = "step " + std::to_string(optimiser_->steps() + 1) + ": ";
  const std::string advice = "; try a lower train.learning_rate or train.clip";
  for (const MicroBatch& micro : micro_batches_) {
    parameters_.zero(accumulators_[0]);
    Partial partial;
    build(*workers_[0], requests, micro);
    forward_backward(*workers_[0], micro.begin, counts, accumulators_[0], partial, Spent::kept);  // to be looked at
    if (const Node* node = workers_[0]->tape.first_non_finite()) {
      throw Error(ErrorCode::diverged, where + "op '" + op_info(node->op).name + "' gave a value or a gradient that is not finite" + advice);
    }
  }
  throw Error(ErrorCode::diverged, where + "the sum of the micro-batches' gradients is not finite" + advice);
}

}  // namespace piano
