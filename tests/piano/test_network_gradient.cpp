// The whole model by finite differences in double: the gradient along random directions through all parameters at once.
#include <doctest/doctest.h>

#include "tests/piano/network_bench.h"

using namespace piano;

namespace {

struct Variant {
  const char* name;
  const char* options;
  bench::World world;
  std::vector<bench::Extent> lists;  // candidates, past events
};

std::vector<Variant> variants() {
  const bench::World full, bare = bench::bare_world();
  bench::World kinds;
  kinds.kinds = {"purchase", "save", "share"};
  const std::vector<bench::Extent> mixed{{5, 3}, {1, 0}, {2, 1}};
  return {{"default", "loss.listwise=0.5\nmodel.layers=2", full, mixed},
          {"query+user, fraction", "qdir.query=query+user\nqdir.value=query\nlist.label=fraction", full, mixed},
          {"count, mean pool", "ian.pool=mean\nlist.label=count\nqdir.value=item", full, mixed},
          {"mean, attention pool", "qdir.mode=mean\nian.pool=attention\nian.feedback=false", full, mixed},
          {"item_only, no null slot", "qdir.mode=item_only\nqdir.null_slot=false\nian.condition=false\nencoder.position=none", full, mixed},
          {"off, ids alone", "qdir.mode=off\nmodel.match=false", bare, mixed},
          {"empty histories", "", full, {{4, 0}, {2, 0}}},
          {"empty histories, no null slot", "qdir.null_slot=false", full, {{4, 0}}},
          {"one candidate", "loss.listwise=0.5", full, {{1, 2}}},
          {"examination, likelihood", "loss.examination=likelihood\nloss.theta=1 0.6 0.3", full, mixed},
          {"examination, weighted", "loss.examination=weighted\nloss.theta=1 0.6 0.3\nloss.clip=0.5\nloss.listwise=0.5", full, mixed},
          {"no blocks", "model.layers=0", full, mixed},
          {"LambdaLoss", "loss.listwise=2\nloss.listwise_kind=lambda", full, {{9, 3}, {5, 0}, {1, 1}}},
          {"displayed, not all shown", "encoder.position=displayed\nencoder.positions=3", full, mixed},
          {"uncertainty", "loss.weighting=uncertainty\nloss.listwise=0.5", full, mixed},
          {"kinds of conversion", "loss.listwise=0.5\nloss.listwise_value=true\nrank.conversion_weights=1 0 0.25", kinds, mixed},
          {"kinds, fraction, uncertainty", "list.label=fraction\nloss.weighting=uncertainty", kinds, mixed},
          {"kinds, examination", "loss.examination=weighted\nloss.theta=1 0.6 0.3", kinds, mixed},
          {"kinds, ple", "model=ple\nmodel.experts=2", kinds, mixed},
          {"kinds, prm", "model=prm\nloss.listwise_value=true", kinds, mixed},
          {"pear, uncertainty", "model=pear\nloss.weighting=uncertainty", bare, mixed},
          {"dnn", "model=dnn\nmodel.layers=2", full, mixed},
          {"din", "model=din", full, mixed},
          {"din, ids alone, empty histories", "model=din\nmodel.match=false", bare, {{4, 0}, {2, 0}}},
          {"esmm", "model=esmm", full, mixed},
          {"mmoe", "model=mmoe\nmodel.experts=3", full, mixed},
          {"ple", "model=ple\nmodel.layers=2\nmodel.experts=2", full, mixed},
          {"mir", "model=mir", full, mixed},
          {"mir, empty histories", "model=mir\nmodel.layers=0", bare, {{4, 0}, {2, 0}}},
          {"pear", "model=pear\nmodel.layers=2", full, mixed},
          {"dlcm", "model=dlcm", full, mixed},
          {"prm", "model=prm", full, mixed},
          {"prm, ids alone, empty histories", "model=prm\nmodel.match=false\nencoder.position=none", bare, {{4, 0}, {2, 0}}},
          {"setrank", "model=setrank\nmodel.layers=2\nloss.lambda=0.5", full, mixed},
          {"setrank, induced", "model=setrank\nencoder.attention=induced\nencoder.points=3", full, mixed}};
}

// d loss / d t along parameters + t * direction, by the fourth-order central difference.
double finite_difference(bench::Bench& model, const data::Batch& batch, const std::vector<std::vector<double>>& direction) {
  std::vector<std::vector<double>> start;
  for (const Parameter& p : model.store.parameters()) start.push_back(golden::values(model.store, p));
  const LossCounts counts = bench::counts(batch);
  const auto loss_at = [&](double t) {
    for (std::size_t k = 0; k < start.size(); ++k) {
      std::vector<double> moved = start[k];
      for (std::size_t i = 0; i < moved.size(); ++i) moved[i] += t * direction[k][i];
      golden::set_values(model.store, model.store.parameters()[k], moved);
    }
    const Context ctx = model.context();
    return loss(ctx, (*model.network)(ctx, batch), batch, model.weights, counts).item();
  };
  const double h = 1e-3;
  const double slope = (8 * (loss_at(h) - loss_at(-h)) - (loss_at(2 * h) - loss_at(-2 * h))) / (12 * h);
  loss_at(0);
  return slope;
}

}  // namespace

TEST_CASE("the whole model's gradient is its loss's slope along random directions") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    bench::Bench model(bench::small_config(variant.options), bench::feature_space(variant.world), reference_device(DType::f64), 5);
    data::Batch batch = bench::random_batch(variant.world, variant.lists, 11);
    if (model.config.encoder.position == PositionMode::displayed) batch.position[1] = batch.position[3] = 0, batch.labelled[1] = batch.labelled[3] = 0;
    REQUIRE(bench::counts(batch).items > 0);
    RandomStream random(17, variant.name);
    // Off the initial point, where biases are zero.
    for (const Parameter& p : model.store.parameters()) {
      std::vector<double> values = golden::values(model.store, p);
      for (double& v : values) v += 0.1 * random.normal();
      golden::set_values(model.store, p, values);
    }
    model.train(batch, bench::counts(batch));
    for (int k = 0; k < 3; ++k) {
      std::vector<std::vector<double>> direction;
      double slope = 0, length = 0;
      for (const Parameter& p : model.store.parameters()) {
        const std::vector<double> gradient = model.gradient(p);
        direction.emplace_back(gradient.size());
        for (double& v : direction.back()) v = random.normal(), length += v * v;
        for (std::size_t i = 0; i < gradient.size(); ++i) slope += gradient[i] * direction.back()[i];
      }
      length = std::sqrt(length);
      slope /= length;
      for (auto& part : direction) {
        for (double& v : part) v /= length;
      }
      const double expected = finite_difference(model, batch, direction);
      CHECK(std::abs(slope - expected) <= 1e-6 * std::abs(expected));
    }
  }
}

TEST_CASE("the gradients of micro-batches add up to the whole batch's") {
  const bench::World world;
  const Config config = bench::small_config("loss.listwise=0.5\nloss.weighting=uncertainty");
  const data::Batch batch = bench::random_batch(world, {{5, 3}, {1, 0}, {2, 1}, {7, 2}}, 3);
  const LossCounts counts = bench::counts(batch);
  bench::Bench whole(config, bench::feature_space(world), reference_device(DType::f64));
  bench::Bench parts(config, bench::feature_space(world), reference_device(DType::f64));
  const double loss_of_whole = whole.train(batch, counts);
  const double loss_of_parts = parts.train(bench::cut(batch, 0, 1), counts, 0) + parts.train(bench::cut(batch, 1, 4), counts, 1);
  CHECK(std::abs(loss_of_whole - loss_of_parts) <= 1e-12 * loss_of_whole);
  double squares = 0;
  for (const Parameter& p : whole.store.parameters()) squares += std::pow(golden::norm(whole.gradient(p)), 2);
  for (const Parameter& p : whole.store.parameters()) {
    CAPTURE(p.name);
    CHECK(golden::gradient_error(parts.gradient(p), whole.gradient(p), std::sqrt(squares)) <= 1e-12);
  }
}

TEST_CASE("a backward that gives back its memory has the bits of one that keeps it") {
  for (const Variant& variant : variants()) {
    CAPTURE(variant.name);
    const Config config = bench::small_config(variant.options);
    const data::Batch batch = bench::random_batch(variant.world, variant.lists, 11);
    for (const Device* device : {&cpu_device(), &reference_device(DType::f64)}) {
      bench::Bench keeps(config, bench::feature_space(variant.world), *device, 5), gives(config, bench::feature_space(variant.world), *device, 5);
      keeps.dropout = gives.dropout = true;
      gives.spent = Spent::given_back;
      CHECK(keeps.train(batch, bench::counts(batch)) == gives.train(batch, bench::counts(batch)));
      for (const Parameter& p : keeps.store.parameters()) CHECK_MESSAGE(keeps.gradient(p) == gives.gradient(p), p.name);
    }
  }
}
