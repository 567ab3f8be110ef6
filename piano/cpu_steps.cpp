// A step on the CPU: the batch is cut into micro-batches of whole lists; each goes forward and backward on one worker before the next; micro-batch j
// adds to accumulator j mod S, and the accumulators are added in a fixed tree. The bits depend on train.accumulators and train.micro_tokens, which
// say how a batch is cut, never on the threads. A warmed-up step does not allocate.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "engine/ops/op_table.h"
#include "piano/model_file.h"
#include "piano/training_steps.h"

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

class CpuSteps final : public TrainingSteps {
 public:
  explicit CpuSteps(const TrainingParts& parts);
  StepReport step(std::span<const std::int64_t> requests, const LossCounts& counts) override;
  const data::BatchBuilder& builder() const override { return workers_[0]->builder; }

 private:
  struct Worker {
    Worker(const data::FeatureSpace& features, data::BuilderLimits limits) : builder(features, limits) {}
    data::BatchBuilder builder;
    data::Batch batch;
    Arena arena;
    Tape tape;
  };
  struct MicroBatch { std::int32_t begin = 0, end = 0; };  // lists within the batch
  struct Partial { LossTerms terms{}; double loss = 0; };

  void bound_log_variances();
  void reserve();
  std::int64_t micro_tokens() const;
  void cut(std::span<const std::int64_t> requests);
  void catch_up(std::span<const std::int64_t> requests);
  void build(Worker& worker, std::span<const std::int64_t> requests, MicroBatch micro);
  void forward_backward(Worker& worker, std::int32_t first_list, const LossCounts& counts, Gradients& gradients, Partial& partial, Spent spent);
  [[noreturn]] void diverged(std::span<const std::int64_t> requests, const LossCounts& counts);

  TrainingParts parts_;
  PackedWeights packed_;                    // of this step
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Gradients> accumulators_;
  std::int64_t used_ = 0;                   // of them, in this step
  std::vector<Partial> partials_;           // one per accumulator
  std::vector<MicroBatch> micro_batches_;
  std::vector<std::int32_t> rows_read_;     // scratch of catch_up()
};

CpuSteps::CpuSteps(const TrainingParts& parts) : parts_(parts) {
  const Config& config = parts.config;
  for (int w = 0; w < parts.pool.size(); ++w) {
    workers_.push_back(std::make_unique<Worker>(parts.data.features(), builder_limits(config)));
    w == 0 ? workers_[0]->builder.attach(parts.data) : workers_.back()->builder.share_maps_with(workers_[0]->builder);
  }
  accumulators_.resize(static_cast<std::size_t>(config.train.accumulators));
  partials_.resize(accumulators_.size());
  for (Gradients& g : accumulators_) parts.parameters.prepare(g);
  reserve();
}

void CpuSteps::bound_log_variances() {
  constexpr auto most = static_cast<float>(kMostLogVariance);
  for (const ParameterId id : parts_.weights.log_variance) {
    if (!id) continue;
    float& s = parts_.parameters.values<float>(parts_.parameters[id])[0];
    s = std::clamp(s, -most, most);
  }
}

// Runs one made-up micro-batch as large as any can be: from then on arenas, batches and gradients have the memory they need.
void CpuSteps::reserve() {
  const data::BatchExtent one = workers_[0]->builder.largest(parts_.training);
  const auto micro = static_cast<std::int32_t>(micro_tokens() * 3 / 2);  // see cut()
  data::BatchExtent extent = one;
  extent.lists = static_cast<std::int32_t>(std::min<std::int64_t>(parts_.config.train.batch, micro / 2 + 2));  // a list has at least two tokens
  const auto at_most = [&](std::int64_t rows, std::int32_t of_one) { return static_cast<std::int32_t>(std::min(rows, std::int64_t{of_one} * extent.lists)); };
  extent.rows = at_most(std::int64_t{one.rows} + micro + extent.lists - 1, one.rows);  // a longest list goes past the end
  extent.history_rows = at_most(std::int64_t{one.history_rows} + micro, one.history_rows);
  micro_batches_.reserve(static_cast<std::size_t>(parts_.config.train.batch));

  packed_.pack(parts_.parameters, cpu_device());
  for (const auto& worker : workers_) {
    worker->builder.reserve(extent, worker->batch);
    fill(parts_.data.features(), extent, one, worker->batch);
    Partial partial;
    forward_backward(*worker, 0, {1, 1, 1, 1}, accumulators_[0], partial, Spent::given_back);
    worker->arena.reset();  // grown in chunks: now one block of the whole size
  }

  // Row gradients: as many rows as the made-up micro-batch touched, for as many micro-batches as one accumulator may get.
  // In cut() an accumulator gets at most six of them, or there are as many accumulators as can be.
  const auto a = static_cast<std::int64_t>(accumulators_.size()), fewest = std::min(a, kFewestAccumulators);
  std::int64_t most = fewest;
  while (2 * most <= a) most *= 2;
  const auto lists_of_each = [&](std::int64_t used) { return (parts_.config.train.batch + used - 1) / used; };
  const std::int64_t micro_batches = std::min(lists_of_each(fewest), std::max<std::int64_t>(6, lists_of_each(most)));
  for (std::size_t t = 0; t < parts_.parameters.table_count(); ++t) {
    const std::int64_t touches = accumulators_[0].tables[t].touches() / static_cast<std::int64_t>(workers_.size()) * micro_batches;
    const std::int64_t rows = parts_.parameters.table_shape(t).rows();
    for (Gradients& g : accumulators_) g.tables[t].reserve(std::min(touches, rows));
    parts_.optimiser.reserve(t, std::min(touches * a, rows));
  }
}

// A micro-batch reads every weight twice and reads and writes its gradient, so it should be large; its activations should stay in the cache,
// so it should be small. While the weights themselves fit beside the activations, small wins; when they do not, large does.
std::int64_t CpuSteps::micro_tokens() const {
  constexpr std::size_t kLargeModel = 2 << 20;  // bytes
  if (parts_.config.train.micro_tokens > 0) return parts_.config.train.micro_tokens;
  return parts_.parameters.dense_elements() * sizeof(float) > kLargeModel ? 800 : 150;
}

void CpuSteps::cut(std::span<const std::int64_t> requests) {
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
void CpuSteps::catch_up(std::span<const std::int64_t> requests) {
  if (parts_.config.train.rows != RowUpdates::catchup) return;
  Worker& worker = *workers_[0];
  for (const MicroBatch& micro : micro_batches_) {
    build(worker, requests, micro);
    parts_.network.visit_rows(worker.batch, [&](ParameterId id, std::span<const std::int32_t> ids) {
      const Parameter& p = parts_.parameters[id];
      rows_read_.assign(1, 0);
      for (const std::int32_t row : ids) rows_read_.push_back(std::min(row, static_cast<std::int32_t>(p.shape.rows() - 1)));
      parts_.optimiser.catch_up(p.table, rows_read_);
    });
  }
}

void CpuSteps::build(Worker& worker, std::span<const std::int64_t> requests, MicroBatch micro) {
  const auto begin = static_cast<std::size_t>(micro.begin), size = static_cast<std::size_t>(micro.end - micro.begin);
  worker.builder.build(requests.subspan(begin, size), worker.batch);
}

void CpuSteps::forward_backward(Worker& worker, std::int32_t first_list, const LossCounts& counts, Gradients& gradients, Partial& partial,
                                Spent spent) {
  worker.arena.reset();
  worker.tape.clear();
  Context ctx;
  ctx.device = &cpu_device();
  ctx.arena = &worker.arena;
  ctx.tape = &worker.tape;
  ctx.parameters = &parts_.parameters;
  ctx.packed = &packed_;
  ctx.gradients = &gradients;
  ctx.random = {static_cast<std::uint64_t>(parts_.config.train.seed), static_cast<std::uint32_t>(parts_.optimiser.steps())};
  ctx.first_list = first_list;
  ctx.training = true;
  TermTensors terms;
  const Tensor total = loss(ctx, parts_.network(ctx, worker.batch), worker.batch, parts_.weights, counts, &terms);
  partial.loss += total.item();
  for (std::size_t t = 0; t < terms.size(); ++t) partial.terms[t] += terms[t] ? terms[t].item() : 0.0;
  worker.tape.backward(ctx, total, spent);
}

StepReport CpuSteps::step(std::span<const std::int64_t> requests, const LossCounts& counts) {
  cut(requests);
  catch_up(requests);
  packed_.pack(parts_.parameters, cpu_device());
  const auto accumulators = static_cast<std::size_t>(used_);
  std::atomic<std::size_t> next{0};  // which worker fills which accumulator changes no bit
  parts_.pool.run([&](int worker) {
    for (std::size_t a; (a = next.fetch_add(1, std::memory_order_relaxed)) < accumulators;) {
      parts_.parameters.start(accumulators_[a]);
      partials_[a] = {};
      for (std::size_t j = a; j < micro_batches_.size(); j += accumulators) {
        Worker& w = *workers_[static_cast<std::size_t>(worker)];
        build(w, requests, micro_batches_[j]);
        forward_backward(w, micro_batches_[j].begin, counts, accumulators_[a], partials_[a], Spent::given_back);
      }
      parts_.parameters.finish(accumulators_[a]);
    }
  });
  StepReport report{parts_.optimiser.steps() + 1};
  for (const Partial& partial : std::span(partials_).first(accumulators)) {
    report.loss += partial.loss;
    for (std::size_t t = 0; t < report.terms.size(); ++t) report.terms[t] += partial.terms[t];
  }
  if (!std::isfinite(report.loss)) diverged(requests, counts);
  report.gradient_norm = parts_.optimiser.step(std::span(accumulators_).first(accumulators), parts_.pool);
  if (!std::isfinite(report.gradient_norm)) diverged(requests, counts);
  bound_log_variances();
  return report;
}

// Nothing was updated: the same micro-batches once more, one by one, to find the op.
void CpuSteps::diverged(std::span<const std::int64_t> requests, const LossCounts& counts) {
  const std::string where = "step " + std::to_string(parts_.optimiser.steps() + 1) + ": ";
  const std::string advice = "; try a lower train.learning_rate or train.clip";
  for (const MicroBatch& micro : micro_batches_) {
    parts_.parameters.zero(accumulators_[0]);
    Partial partial;
    build(*workers_[0], requests, micro);
    forward_backward(*workers_[0], micro.begin, counts, accumulators_[0], partial, Spent::kept);  // to be looked at
    if (const Node* node = workers_[0]->tape.first_non_finite()) {
      throw Error(ErrorCode::diverged, where + "op '" + op_info(node->op).name + "' gave a value or a gradient that is not finite" + advice);
    }
  }
  throw Error(ErrorCode::diverged, where + "the sum of the micro-batches' gradients is not finite" + advice);
}

}  // namespace

std::unique_ptr<TrainingSteps> make_cpu_steps(const TrainingParts& parts) { return std::make_unique<CpuSteps>(parts); }

}  // namespace piano
