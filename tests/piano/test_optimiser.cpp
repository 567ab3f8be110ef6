// AdamW over dense parameters and a table against its definition, written once more here, in double. tests/piano/test_golden_adamw.cpp has
// PyTorch's numbers for the dense mode.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <set>
#include <vector>

#include "engine/base/random.h"
#include "piano/optimiser.h"
#include "tests/base/temporary_folder.h"

using namespace piano;

namespace {

constexpr std::int64_t kRows = 7, kColumns = 3;
constexpr std::size_t kAccumulators = 3;

// One step's gradients: dense ones per accumulator, row gradients in the order in which they are appended.
struct StepGradients {
  struct Entry {
    std::int32_t row;
    double values[kColumns];
  };
  std::vector<double> dense[kAccumulators];
  std::vector<Entry> entries[kAccumulators];
};

// Rows 0 to 3 often, and more than once in a step; row 4 seldom; row 5 in step 3 alone; row 6 never.
StepGradients random_gradients(int step, std::size_t dense_elements) {
  RandomStream random(static_cast<std::uint64_t>(step), "gradients");
  const double size = step % 3 == 0 ? 4.0 : 0.05;  // some steps are clipped, some are not
  StepGradients g;
  for (std::size_t a = 0; a < kAccumulators; ++a) {
    for (std::size_t i = 0; i < dense_elements; ++i) g.dense[a].push_back(size * random.normal());
    std::vector<std::int32_t> rows;
    for (std::uint64_t n = random.below(4); n > 0; --n) rows.push_back(static_cast<std::int32_t>(random.below(4)));
    if (step % 20 == 7) rows.push_back(4);
    if (step == 3) rows.push_back(5);
    for (const std::int32_t row : rows) g.entries[a].push_back({row, {size * random.normal(), size * random.normal(), size * random.normal()}});
  }
  return g;
}

// The parameters of a small model and their optimiser, as the trainer uses them.
struct Subject {
  explicit Subject(const Config& c) : config(c), store(DType::f64) {
    store.add("weight", {4, 5}, true);
    store.add_table("table", kRows, kColumns);
    store.add("bias", {5}, false);
    store.allocate();
    RandomStream random(1, "values");
    for (double& v : store.dense<double>()) v = random.normal();
    for (double& v : store.table<double>(0)) v = random.normal();
    optimiser = std::make_unique<Optimiser>(config, store, reference_device(DType::f64));
    for (Gradients& g : accumulators) store.prepare(g);
  }

  double step(const StepGradients& g) {
    std::vector<std::int32_t> rows;
    for (std::size_t a = 0; a < kAccumulators; ++a) {
      store.zero(accumulators[a]);
      std::copy(g.dense[a].begin(), g.dense[a].end(), accumulators[a].dense_as<double>().begin());
      for (const auto& entry : g.entries[a]) {
        auto* to = static_cast<double*>(accumulators[a].tables[0].at(entry.row));
        for (std::size_t c = 0; c < kColumns; ++c) to[c] += entry.values[c];
        rows.push_back(entry.row);
      }
    }
    optimiser->catch_up(0, rows);
    return optimiser->step(accumulators, pool);
  }

  std::vector<double> values() {
    std::vector<double> all(store.dense<double>().begin(), store.dense<double>().end());
    all.insert(all.end(), store.table<double>(0).begin(), store.table<double>(0).end());
    return all;
  }

  Config config;
  ParameterStore store;
  std::unique_ptr<Optimiser> optimiser;
  std::vector<Gradients> accumulators = std::vector<Gradients>(kAccumulators);
  ThreadPool pool{2};
};

// The definition, element by element: dense parameters first (the weight's 20, the bias's 5), then the table.
struct Reference {
  Reference(const Config& c, std::vector<double> start) : config(c), value(std::move(start)), m(value.size()), v(value.size()) {}

  double step(const StepGradients& g, bool every_row) {
    std::vector<double> gradient(value.size(), 0.0);
    std::set<std::int64_t> touched;
    const std::size_t dense = g.dense[0].size();
    for (std::size_t a = 0; a < kAccumulators; ++a) {
      for (std::size_t i = 0; i < dense; ++i) gradient[i] += g.dense[a][i];
      for (const auto& entry : g.entries[a]) {
        touched.insert(entry.row);
        for (std::size_t c = 0; c < kColumns; ++c) gradient[dense + static_cast<std::size_t>(entry.row * kColumns) + c] += entry.values[c];
      }
    }
    double squares = 0;
    for (const double x : gradient) squares += x * x;
    const double norm = std::sqrt(squares), scale = norm > config.train.clip ? config.train.clip / norm : 1.0;
    ++steps;
    const auto& t = config.train;
    for (std::size_t i = 0; i < value.size(); ++i) {
      const auto row = (static_cast<std::int64_t>(i) - static_cast<std::int64_t>(dense)) / kColumns;
      if (i >= dense && !every_row && !touched.contains(row)) continue;
      const double x = scale * gradient[i], decay = i < 20 ? t.weight_decay : 0.0;
      m[i] = t.beta1 * m[i] + (1 - t.beta1) * x;
      v[i] = t.beta2 * v[i] + (1 - t.beta2) * x * x;
      const double m_hat = m[i] / (1 - std::pow(t.beta1, steps)), v_hat = v[i] / (1 - std::pow(t.beta2, steps));
      value[i] -= t.learning_rate * (m_hat / (std::sqrt(v_hat) + t.epsilon) + decay * value[i]);
    }
    return norm;
  }

  Config config;
  std::vector<double> value, m, v;
  double steps = 0;
};

Config config_of(RowUpdates rows) {
  Config config;
  config.train.rows = rows;
  config.train.learning_rate = 0.01;
  config.train.weight_decay = 0.1;
  config.train.clip = 3;
  return config;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace

TEST_CASE("optimiser: lazy and dense rows are their definitions, clipped by one norm over everything") {
  for (const RowUpdates rows : {RowUpdates::lazy, RowUpdates::dense}) {
    Subject subject(config_of(rows));
    Reference reference(subject.config, subject.values());
    const std::vector<double> start = subject.values();
    int clipped = 0;
    for (int step = 1; step <= 60; ++step) {
      const StepGradients g = random_gradients(step, 25);
      const double norm = subject.step(g);
      CHECK(norm == doctest::Approx(reference.step(g, rows == RowUpdates::dense)).epsilon(1e-12));
      clipped += norm > subject.config.train.clip;
      CHECK(largest_difference(subject.values(), reference.value) <= 1e-12);
    }
    CHECK(clipped == 20);
    CHECK(std::equal(start.end() - kColumns, start.end(), subject.values().end() - kColumns));  // the row that nothing touched, undecayed
  }
}

TEST_CASE("optimiser: catchup is dense to the bit while no gap is longer than kReplay, and moves rows only when they are read") {
  Subject dense(config_of(RowUpdates::dense)), catchup(config_of(RowUpdates::catchup)), lazy(config_of(RowUpdates::lazy));
  for (int step = 1; step <= 60; ++step) {
    const StepGradients g = random_gradients(step, 25);
    for (Subject* s : {&dense, &catchup, &lazy}) s->step(g);
  }
  CHECK_FALSE(catchup.values() == dense.values());
  CHECK_FALSE(lazy.values() == dense.values());
  const std::vector<std::int32_t> all{6, 5, 4, 3, 2, 1, 0};
  catchup.optimiser->catch_up(0, all);
  CHECK(catchup.values() == dense.values());
  catchup.optimiser->catch_up_all();  // nothing is left to replay
  CHECK(catchup.values() == dense.values());
}

TEST_CASE("optimiser: catchup over a longer gap is dense within lr * 100 * beta1^kReplay") {
  Subject dense(config_of(RowUpdates::dense)), catchup(config_of(RowUpdates::catchup));
  for (int step = 1; step <= 3 * Optimiser::kReplay; ++step) {
    StepGradients g = random_gradients(step, 25);
    if (step > 10 && step < 3 * Optimiser::kReplay) {
      for (auto& entries : g.entries) entries.clear();
    }
    for (Subject* s : {&dense, &catchup}) s->step(g);
  }
  catchup.optimiser->catch_up_all();
  const double difference = largest_difference(catchup.values(), dense.values());
  CHECK(difference > 0);
  CHECK(difference <= 0.01 * 100 * std::pow(0.9, static_cast<double>(Optimiser::kReplay)));
}

TEST_CASE("optimiser: saved after 30 steps and loaded, the next 30 have the same bits") {
  for (const RowUpdates rows : {RowUpdates::lazy, RowUpdates::dense, RowUpdates::catchup}) {
    const TemporaryFolder folder;
    Subject whole(config_of(rows)), second(config_of(rows));
    for (int step = 1; step <= 60; ++step) {
      whole.step(random_gradients(step, 25));
      if (step != 30) continue;
      SafetensorsWriter writer(folder / "optimiser");
      whole.optimiser->save(writer);
      writer.commit();
      second.store.copy_values_from(whole.store);
    }
    second.optimiser->load(SafetensorsFile(folder / "optimiser"), 30);
    for (int step = 31; step <= 60; ++step) second.step(random_gradients(step, 25));
    for (Subject* s : {&whole, &second}) s->optimiser->catch_up_all();
    CHECK(second.values() == whole.values());
  }
}

TEST_CASE("optimiser: a gradient that is not finite moves nothing and is no step") {
  Subject subject(config_of(RowUpdates::lazy));
  subject.step(random_gradients(3, 25));
  const std::vector<double> before = subject.values();
  StepGradients bad = random_gradients(4, 25);
  bad.entries[1].push_back({2, {1, NAN, 1}});
  CHECK_FALSE(std::isfinite(subject.step(bad)));
  CHECK(subject.values() == before);
  CHECK(subject.optimiser->steps() == 1);
}
