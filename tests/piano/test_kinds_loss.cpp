// The loss of partly known kinds of conversion is what loss.h says it is: in loss(), in a training step and in validation.
#include <doctest/doctest.h>

#include <cmath>

#include "piano/model_file.h"
#include "piano/predictor.h"
#include "piano/train.h"
#include "piano/trainer.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/kinds_log.h"
#include "tests/piano/network_bench.h"

using namespace piano;
using doctest::Approx;

namespace {

struct PlainLogits {
  std::vector<double> click, list_click;                          // (rows), (lists)
  std::vector<std::vector<double>> conversion, list_conversion;   // of each kind
};

struct TermMean {
  double sum = 0, n = 0;
  void add(double label, double p) { sum -= label * std::log(p) + (1 - label) * std::log(1 - p), n += 1; }
  double value() const { return n > 0 ? sum / n : 0; }
};

// The terms but the listwise one, with list.label = any: means over what is labelled and known, one example after the other.
LossTerms terms_by_definition(const PlainLogits& logits, const data::Batch& batch, const LossWeights& weights) {
  LossTerms terms{};
  const auto kinds = static_cast<std::size_t>(batch.kinds);
  for (std::size_t k = 0; k < kinds; ++k) {
    TermMean click, conversion, list_click, list_conversion;
    for (std::size_t l = 0; l + 1 < batch.offsets.size(); ++l) {
      bool labelled = false, known = true;
      double any_click = 0, any_conversion = 0;
      for (auto i = static_cast<std::size_t>(batch.offsets[l]); i < static_cast<std::size_t>(batch.offsets[l + 1]); ++i) {
        if (batch.labelled[i] == 0) continue;
        const double y = static_cast<double>(batch.click[i]), z = static_cast<double>(batch.conversion[i * kinds + k]);
        labelled = true, any_click = std::max(any_click, y);
        const double pctr = sigmoid(logits.click[i]), pcvr = sigmoid(logits.conversion[k][i]);
        click.add(y, pctr);
        if (z == double{data::kUnknownLabel}) {
          known = false;
          continue;
        }
        any_conversion = std::max(any_conversion, z);
        if (!weights.clicked_items) conversion.add(z, pctr * pcvr);
        else if (y > 0) conversion.add(z, pcvr);
      }
      if (!labelled || logits.list_click.empty()) continue;
      const double p_ctr = sigmoid(logits.list_click[l]);
      list_click.add(any_click, p_ctr);
      if (known && !logits.list_conversion.empty()) list_conversion.add(any_conversion, p_ctr * sigmoid(logits.list_conversion[k][l]));
    }
    terms[kClick] = click.value(), terms[kListClick] = list_click.value();
    terms[conversion_term(k)] = conversion.value(), terms[list_conversion_term(k)] = list_conversion.value();
  }
  return terms;
}

void check_terms(const LossTerms& terms, const LossTerms& expected, const LossWeights& weights, double epsilon) {
  for (std::size_t t = 0; t < terms.size(); ++t) {
    CAPTURE(t);
    if (t != kListwise && weights.term[t] > 0) CHECK(terms[t] == Approx(expected[t]).epsilon(epsilon));
  }
}

// Of three lines in four, one kind is known of a part of the candidates.
std::string partly_known(std::string text, std::int64_t line) {
  const std::string both = R"("conversion":{"follow":0,"save":0})", follow = R"("conversion":{"follow":0})", save = R"("conversion":{"save":0})";
  if (line % 4 == 0) return kinds::replaced(text, both, follow);
  if (line % 4 == 1) text.replace(text.find(both), both.size(), follow);
  if (line % 4 == 2) text.replace(text.find(both), both.size(), save);
  return text;
}

PlainLogits of_part(const Config& config, const Network& network, const ParameterStore& parameters, const data::Dataset& d,
                   std::span<const std::int64_t> requests, ThreadPool& pool, data::Batch& batch) {
  data::BatchBuilder builder(d.features(), builder_limits(config));
  builder.attach(d);
  builder.build(requests, batch);
  const PredictedLogits predicted = Predictor(config, network, parameters, d.features(), builder, pool).predict(d, requests);
  const auto of_kind = [&](const std::vector<float>& all, std::size_t k) {
    std::vector<double> column;
    for (std::size_t at = k; at < all.size(); at += predicted.kinds) column.push_back(static_cast<double>(all[at]));
    return column;
  };
  PlainLogits logits{{predicted.click.begin(), predicted.click.end()}, {predicted.list_click.begin(), predicted.list_click.end()}, {}, {}};
  for (std::size_t k = 0; k < predicted.kinds; ++k) {
    logits.conversion.push_back(of_kind(predicted.conversion, k)), logits.list_conversion.push_back(of_kind(predicted.list_conversion, k));
  }
  return logits;
}

// Of each kind some items and some lists are known, and some are not.
void require_partly_known(const data::Batch& batch) {
  const LossCounts counts = bench::counts(batch);
  for (std::size_t k = 0; k < static_cast<std::size_t>(batch.kinds); ++k) {
    const LossCounts::Unknown& unknown = counts.unknown[k];
    REQUIRE((0 < unknown.items && unknown.items < counts.items));
    REQUIRE((0 < unknown.lists && unknown.lists < counts.lists));
  }
}

}  // namespace

TEST_CASE("kinds: each term of the loss is the mean over what its kind is known of") {
  bench::World world;
  world.kinds = {"purchase", "save", "share"};
  const data::Batch batch = bench::random_batch(world, {{5, 3}, {1, 0}, {2, 1}, {3, 2}, {2, 0}, {7, 2}}, 3);
  require_partly_known(batch);
  for (std::size_t k = 0; k < 3; ++k) REQUIRE(bench::counts(batch).unknown[k].clicked > 0);
  for (const char* options : {"", "model=esmm", "model=mmoe"}) {
    CAPTURE(options);
    bench::Bench model = bench::make(options, reference_device(DType::f64), world);
    const Context ctx = model.context();
    const Logits logits = (*model.network)(ctx, batch);
    TermTensors terms;
    loss(ctx, logits, batch, model.weights, bench::counts(batch), &terms);
    PlainLogits plain{golden::values(logits.click), {}, {}, {}};
    if (logits.list_click) plain.list_click = golden::values(logits.list_click);
    for (std::size_t k = 0; k < 3; ++k) {
      plain.conversion.push_back(golden::values(logits.conversion[k]));
      if (model.weights.term[kListConversion] > 0) plain.list_conversion.push_back(golden::values(logits.list_conversion[k]));
    }
    LossTerms values{};
    for (std::size_t t = 0; t < terms.size(); ++t) values[t] = terms[t] ? terms[t].item() : 0;
    check_terms(values, terms_by_definition(plain, batch, model.weights), model.weights, 1e-12);
  }
}

TEST_CASE("kinds: a training step's terms are those of the whole batch, where kinds are partly known") {
  const TemporaryFolder folder;
  kinds::pack(folder / "d", 200, 2, partly_known);
  const data::Dataset d(folder / "d");
  ThreadPool pool(2);
  for (const std::string model : {"model=piano", "model=mmoe"}) {
    CAPTURE(model);
    Trainer trainer(bench::small_config(model + "\nmodel.dropout=0\nmodel.oov_dropout=0\ntrain.batch=64\ntrain.micro_tokens=100"), d, pool);
    const std::span<const std::int64_t> requests = std::span(trainer.training_requests()).first(64);
    data::Batch batch;
    const PlainLogits logits = of_part(trainer.config(), trainer.network(), trainer.parameters(), d, requests, pool, batch);
    require_partly_known(batch);
    check_terms(trainer.step(requests).terms, terms_by_definition(logits, batch, trainer.weights()), trainer.weights(), 1e-5);
  }
}

TEST_CASE("kinds: train.select = loss looks at the items' terms as the loss defines them, where kinds are partly known") {
  const TemporaryFolder folder;
  kinds::pack(folder / "d", 300, 2, partly_known);
  const data::Dataset d(folder / "d");
  ThreadPool pool(2);
  for (const std::string name : {"model=piano", "model=mmoe"}) {
    CAPTURE(name);
    const Config config = bench::small_config(name + "\ntrain.epochs=1\ntrain.select=loss\nloss.click=0.5\nloss.conversion=2");
    TrainOptions options;
    options.out = folder / "m";
    const TrainSummary summary = train(config, d, pool, options);
    const auto model = Model::load(folder / "m");
    const Model::Impl& m = model->impl();
    data::Batch batch;
    const PlainLogits logits = of_part(m.config, *m.network, m.parameters, d, d.requests(data::Split::valid), pool, batch);
    require_partly_known(batch);
    const LossWeights weights = loss_weights(config, 2);
    const LossTerms terms = terms_by_definition(logits, batch, weights);
    double expected = weights.term[kClick] * terms[kClick];
    for (std::size_t k = 0; k < 2; ++k) expected += weights.term[conversion_term(k)] * terms[conversion_term(k)];
    CHECK(-summary.best == Approx(expected).epsilon(1e-5));
  }
}
