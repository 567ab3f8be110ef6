#include "tools/bench_export.h"

#include <cmath>
#include <deque>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/base/files.h"
#include "engine/base/json_text.h"
#include "engine/base/log.h"
#include "piano/model_file.h"
#include "piano/predictor.h"
#include "tools/bench_run.h"

namespace piano::tools {
namespace {

// Tensors of one file; keeps what is made for it alive until it is written.
class BatchFile {
 public:
  explicit BatchFile(const std::string& path) : writer_(path) {}

  template <class T>
  void add(const std::string& name, const std::vector<T>& values, std::int64_t columns = 0) {
    const auto n = static_cast<std::int64_t>(values.size());
    writer_.add(name, columns > 0 ? std::vector<std::int64_t>{n / columns, columns} : std::vector<std::int64_t>{n}, std::span(values));
  }
  void add(const std::string& name, const data::BagColumn& bag) { add(name + ".offsets", bag.offsets), add(name + ".ids", bag.ids); }
  void add(const std::string& name, const std::vector<data::BagColumn>& bags, const std::vector<std::string>& fields) {
    for (std::size_t f = 0; f < fields.size(); ++f) add(name + "." + fields[f], bags[f]);
  }
  void add(const std::string& name, const data::QueryColumns& queries) { add(name + ".id", queries.id), add(name + ".terms", queries.terms); }
  void add(const std::string& name, const data::ItemColumns& items, const std::vector<std::string>& fields) {
    add(name + ".id", items.id), add(name + ".fields", items.fields, fields);
  }
  void keep(const std::string& name, std::span<const float> values, std::vector<std::int64_t> shape) {
    kept_.emplace_back(values.begin(), values.end());
    writer_.add(name, std::move(shape), std::span<const float>(kept_.back()));
  }
  void add_loss(const double& loss) { writer_.add("loss", std::span(&loss, 1)); }
  void commit() { writer_.commit(); }

 private:
  SafetensorsWriter writer_;
  std::deque<std::vector<float>> kept_;
};

void add_batch(BatchFile& file, const data::Batch& b, const data::Schema& schema) {
  const auto width = [](std::int32_t columns) { return std::int64_t{columns > 0 ? columns + 1 : 0}; };  // with "present"
  file.add("user", b.user);
  file.add("user_fields", b.user_fields, schema.user_fields);
  file.add("context_fields", b.context_fields, schema.context_fields);
  file.add("user_dense", b.user_dense, width(schema.user_dense));
  file.add("query", b.query);
  file.add("history_offsets", b.history_offsets);
  file.add("history_query", b.history_query);
  file.add("history_item", b.history_item, schema.item_fields);
  file.add("history_action", b.history_action);
  file.add("history_age", b.history_age);
  file.add("history_match.offsets", b.history_match.offsets);
  file.add("history_match.candidate", b.history_match.candidate);
  file.add("history_match.event", b.history_match.event);
  file.add("history_match.column", b.history_match.column);
  file.add("offsets", b.offsets);
  file.add("item", b.item, schema.item_fields);
  file.add("dense", b.dense, width(schema.item_dense));
  file.add("vector", b.vector, width(schema.item_vector));
  file.add("match", b.match, static_cast<std::int64_t>(data::match_feature_names(schema).size()));
  file.add("score", b.score, schema.has_score ? 2 : 0);
  file.add("rank", b.rank);
  file.add("click", b.click);
  file.add("conversion", b.conversion);
  file.add("labelled", b.labelled);
  file.add("value", b.value);
}

void add_logits(BatchFile& file, const Logits& logits) {
  const auto add = [&](const char* name, const Tensor& t) { file.keep(std::string("logits.") + name, t.values<float>(), {t.rows()}); };
  add("click", logits.click), add("conversion", logits.conversion[0]);  // its logs have one kind of conversion
  add("list_click", logits.list_click), add("list_conversion", logits.list_conversion[0]);
}

void require_near(const std::string& name, const std::string& what, double ours, double product) {
  if (std::abs(ours - product) <= 1e-4 * std::abs(product)) return;
  throw Error(ErrorCode::internal, name + ": " + what + " is " + std::to_string(ours) + " here and " + std::to_string(product) + " in the product");
}

std::vector<std::int64_t> sizes(const Shape& shape) {
  std::vector<std::int64_t> dims;
  for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
  return dims;
}

// Adds every gradient and returns the sum of squares of each module: the first part of a parameter's name. Touched rows are added up in double.
std::map<std::string, double> add_gradients(BatchFile& file, Gradients& gradients, const ParameterStore& parameters) {
  std::map<std::string, double> squares;
  for (const Parameter& p : parameters.parameters()) {
    const auto n = static_cast<std::size_t>(p.shape.elements()), columns = static_cast<std::size_t>(p.shape.cols());
    std::vector<double> sum(n, 0.0);
    if (p.is_table) {
      const RowGradients& touched = gradients.tables[p.table];
      const auto values = touched.values<float>();
      for (std::size_t e = 0; e < touched.rows().size(); ++e) {
        for (std::size_t k = 0; k < columns; ++k) sum[static_cast<std::size_t>(touched.rows()[e]) * columns + k] += static_cast<double>(values[e * columns + k]);
      }
    } else {
      const auto flat = gradients.dense_as<float>().subspan(p.offset, n);
      sum.assign(flat.begin(), flat.end());
    }
    for (const double g : sum) squares[p.name.substr(0, p.name.find('.'))] += g * g;
    file.keep("grad." + p.name, std::vector<float>(sum.begin(), sum.end()), sizes(p.shape));
  }
  return squares;
}

LossCounts counts_of(const data::Batch& batch) {
  LossCounts counts;
  for (std::int32_t l = 0; l < batch.lists; ++l) {
    const ListTargets count = list_targets(batch, l, ListLabel::count);
    counts.lists += count.labelled ? 1 : 0;
    counts.positive_lists += count.click > 0 ? 1 : 0;
  }
  for (const float labelled : batch.labelled) counts.items += labelled > 0 ? 1 : 0;
  return counts;
}

struct Exported { double forward_flops = 0; };

Exported export_training(const std::string& folder, const BenchCase& c, const Config& config) {
  const std::string data = case_file(folder, c.name, "data.safetensors"), model_path = case_file(folder, c.name, "model.safetensors");
  write_bench_data(c.log, data);
  write_bench_model(config, data::Dataset(data), model_path);
  const auto model = Model::load(model_path);
  const Model::Impl& m = model->impl();
  TrainRun run(config, data, 1, model_path);
  if (!run.trainer().warnings().empty()) throw Error(ErrorCode::internal, c.name + ": " + run.trainer().warnings().front());

  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(run.dataset());
  data::Batch batch;
  builder.build(run.batch(0), batch);
  ParameterStore parameters;  // of our own: a model's tables are read-only
  const auto network = make_network(config, m.features, parameters);
  parameters.allocate();
  load_parameters(*m.file, parameters);
  Gradients gradients;
  parameters.prepare(gradients);
  Arena arena;
  Tape tape;
  Context ctx;
  ctx.device = &cpu_device(), ctx.arena = &arena, ctx.tape = &tape, ctx.parameters = &parameters, ctx.gradients = &gradients;
  ctx.training = true;
  const Logits logits = (*network)(ctx, batch);
  const Tensor total = loss(ctx, logits, batch, run.trainer().weights(), counts_of(batch));
  tape.backward(ctx, total);

  BatchFile file(case_file(folder, c.name, "batch.safetensors"));
  add_batch(file, batch, m.features.schema);
  add_logits(file, logits);
  const double loss_value = total.item();
  file.add_loss(loss_value);
  std::map<std::string, double> squares = add_gradients(file, gradients, parameters);
  run.trainer().optimiser().measure_next_step();
  const StepReport report = run.trainer().step(run.batch(0));
  require_near(c.name, "the loss", loss_value, report.loss);
  const double clipped = config.train.clip > 0 ? std::min(1.0, config.train.clip / report.gradient_norm) : 1.0;
  for (const Optimiser::ModuleNorms& module : run.trainer().optimiser().module_norms()) {
    require_near(c.name, "the norm of the gradient of " + module.module, clipped * std::sqrt(squares[module.module]), module.gradient);
  }
  file.commit();
  return {forward_cost(config, m.features, batch, true).flops};
}

Exported export_inference(const std::string& folder, const BenchCase& c, const Config& config) {
  const std::string data = case_file(folder, c.name, "data.safetensors"), model_path = case_file(folder, c.name, "model.safetensors");
  write_bench_data(c.log, data);  // for the vocabularies and the scaling
  write_bench_model(config, data::Dataset(data), model_path);
  std::filesystem::remove(data);
  std::vector<std::string> lines;
  std::string text;
  for (std::int64_t i = 0; i < c.log.lists; ++i) text += lines.emplace_back(bench_request(c.log, i)) + "\n";
  AtomicFile requests(case_file(folder, c.name, "requests.jsonl"));
  requests.write(text);
  requests.commit();

  const auto model = Model::load(model_path);
  const Model::Impl& m = model->impl();
  InferRun run(model, lines);
  data::BatchBuilder builder(m.features, m.limits());
  data::Batch batch;
  builder.build(run.request(0), batch);
  Arena arena;
  Context ctx;
  ctx.device = &cpu_device(), ctx.arena = &arena, ctx.parameters = &m.parameters;
  const Logits logits = (*m.network)(ctx, batch);
  run.rerank(0);
  for (const Ranked& ranked : run.last().ranking) {
    const auto i = static_cast<std::size_t>(ranked.from - 1);
    require_near(c.name, "a score", ranking_score(m.config, logits.click.values<float>()[i], logits.conversion[0].values<float>().subspan(i, 1), std::span(batch.value).subspan(i, 1)), ranked.score);
  }
  BatchFile file(case_file(folder, c.name, "batch.safetensors"));
  add_batch(file, batch, m.features.schema);
  add_logits(file, logits);
  file.commit();
  return {forward_cost(config, m.features, batch, false).flops};
}

}  // namespace

void export_cases(const std::string& folder, const std::vector<BenchCase>& cases, const std::vector<std::string>& assignments) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) throw Error(ErrorCode::io, folder + ": cannot make the folder: " + failed.message());
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const BenchCase& c : cases) {
    log_info("case " + c.name);
    const Config config = bench_config(c, assignments);
    const Exported exported = c.train ? export_training(folder, c, config) : export_inference(folder, c, config);
    nlohmann::ordered_json options_json = nlohmann::ordered_json::object();
    for (const Option& option : options(config)) options_json[option.key] = option.value;
    list.push_back({{"name", c.name}, {"kind", c.train ? "train" : "infer"}, {"lists", c.lists}, {"candidates", c.log.candidates},
                    {"history", c.log.history}, {"d", config.model.d}, {"forward_flops", exported.forward_flops}, {"config", options_json}});
  }
  AtomicFile file(folder + "/cases.json");
  file.write(json_text(list) + "\n");
  file.commit();
}

}  // namespace piano::tools
