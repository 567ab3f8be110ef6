// Id dropout: how often, which ids, and that it depends on nothing but (seed, step, site, list, row, column).
#include <doctest/doctest.h>

#include <numeric>

#include "layers/embedding.h"
#include "tests/layers/layer_bench.h"

using namespace piano;

namespace {

// A table whose row r reads r, so that a looked-up value tells the row.
struct Reader {
  LayerBench bench{reference_device(DType::f64)};
  Embedding layer;
  explicit Reader(double id_dropout, const std::string& name = "table") {
    layer = Embedding::declare(bench.store, name, 100, 1, id_dropout);
    bench.allocate();
    std::vector<double> values(100);
    std::iota(values.begin(), values.end(), 0.0);
    golden::set_values(bench.store, bench.find(name), values);
    bench.ctx.training = true;
    bench.ctx.random = {3, 1};
  }
  // One id per row, all rows in one list unless `offsets` says otherwise.
  std::vector<double> read(const std::vector<std::int32_t>& ids, std::vector<std::int32_t> offsets = {}, std::uint32_t salt = 0) {
    if (offsets.empty()) offsets = {0, static_cast<std::int32_t>(ids.size())};
    return golden::values(layer(bench.ctx, ids, Ragged{offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}, salt));
  }
};

}  // namespace

TEST_CASE("an id becomes the out-of-vocabulary row with the given probability, in training only") {
  const std::vector<std::int32_t> ids(40000, 7);
  Reader reader(0.2);
  const std::vector<double> rows = reader.read(ids);
  const auto dropped = std::count(rows.begin(), rows.end(), 0.0);
  CHECK(dropped + std::count(rows.begin(), rows.end(), 7.0) == 40000);
  CHECK(std::abs(static_cast<double>(dropped) / 40000 - 0.2) < 0.01);  // five standard deviations
  CHECK(reader.read(ids) == rows);

  reader.bench.ctx.training = false;
  CHECK(reader.read(ids) == std::vector<double>(40000, 7.0));
  Reader never(0);
  CHECK(never.read(ids) == std::vector<double>(40000, 7.0));
}

TEST_CASE("a missing id stays missing, an unknown one unknown") {
  Reader reader(0.5);
  CHECK(reader.read(std::vector<std::int32_t>(1000, 1)) == std::vector<double>(1000, 1.0));
  CHECK(reader.read(std::vector<std::int32_t>(1000, 0)) == std::vector<double>(1000, 0.0));
}

TEST_CASE("in a bag each id is dropped by itself, and the missing ones are not") {
  Reader reader(0.3);
  const std::int32_t bags = 10000;
  std::vector<std::int32_t> offsets{0}, ids;
  for (std::int32_t b = 0; b < bags; ++b) ids.insert(ids.end(), {60, 1, 20}), offsets.push_back(3 * (b + 1));
  const std::vector<std::int32_t> one_list{0, bags};
  const std::vector<double> means = golden::values(reader.layer(reader.bench.ctx, offsets, ids, Ragged{one_list.data(), 1}));
  const auto share = [&](double sum) {
    return static_cast<double>(std::count_if(means.begin(), means.end(), [&](double m) { return std::abs(3 * m - sum) < 1e-9; })) / bags;
  };
  CHECK(std::abs(share(81) - 0.49) < 0.025);
  CHECK(std::abs(share(61) - 0.21) < 0.025);
  CHECK(std::abs(share(21) - 0.21) < 0.025);
  CHECK(std::abs(share(1) - 0.09) < 0.025);
}

TEST_CASE("what is dropped depends on seed, step, table, salt, list and row, and not on the cut into micro-batches") {
  const std::vector<std::int32_t> ids(300, 7), offsets{0, 100, 200, 300};
  Reader reader(0.5);
  const std::vector<double> rows = reader.read(ids, offsets);
  const auto part = [&](std::size_t list) {
    return std::vector<double>(rows.begin() + static_cast<std::ptrdiff_t>(100 * list), rows.begin() + static_cast<std::ptrdiff_t>(100 * list + 100));
  };
  CHECK(part(0) != part(1));
  reader.bench.ctx.first_list = 1;
  CHECK(reader.read(std::vector<std::int32_t>(100, 7)) == part(1));
  CHECK(reader.read(std::vector<std::int32_t>(200, 7), {0, 100, 200}) == std::vector<double>(rows.begin() + 100, rows.end()));
  reader.bench.ctx.first_list = 0;
  CHECK(reader.read(ids, offsets, 1) != rows);
  reader.bench.ctx.random.step = 2;
  CHECK(reader.read(ids, offsets) != rows);
  reader.bench.ctx.random = {4, 1};
  CHECK(reader.read(ids, offsets) != rows);
  Reader other(0.5, "other");
  CHECK(other.read(ids, offsets) != rows);
}

TEST_CASE("ids of lists that pad a batch are not dropped") {
  const std::vector<std::int32_t> ids(300, 7), offsets{0, 100, 200, 300};
  Reader reader(0.5);
  const std::vector<double> rows = reader.read(ids, offsets);
  reader.bench.ctx.padding = 2;
  const std::vector<double> padded = reader.read(ids, offsets);
  CHECK(std::equal(rows.begin(), rows.begin() + 200, padded.begin()));
  CHECK(std::count(padded.begin() + 200, padded.end(), 7.0) == 100);
}

TEST_CASE("the gradient of a dropped id goes to the out-of-vocabulary row") {
  Reader reader(0.5);
  const std::vector<std::int32_t> ids(100, 7), offsets{0, 100};
  const Tensor out = reader.layer(reader.bench.ctx, ids, Ragged{offsets.data(), 1});
  const std::vector<double> rows = golden::values(out);
  reader.bench.tape.backward(reader.bench.ctx, out, std::vector<double>(100, 1.0));
  const std::vector<double> gradient = golden::gradient(reader.bench.store, reader.bench.gradients, reader.bench.find("table"));
  CHECK(gradient[0] == static_cast<double>(std::count(rows.begin(), rows.end(), 0.0)));
  CHECK(gradient[7] == static_cast<double>(std::count(rows.begin(), rows.end(), 7.0)));
  CHECK(gradient[0] + gradient[7] == 100);
}
