// A padded batch: sizes in buckets, and nothing changed or added that anything could be learned from.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "piano/loss.h"
#include "piano/model_file.h"
#include "piano/padded_batch.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/tiny_data.h"

using namespace piano;

namespace {

template <class T>
void check_begins_with(const std::vector<T>& padded, const std::vector<T>& column) {
  REQUIRE(padded.size() >= column.size());
  CHECK(std::equal(column.begin(), column.end(), padded.begin()));
}

}  // namespace

TEST_CASE("padded batch: buckets are at most an eighth apart, and hold what they are the bucket of") {
  std::int32_t last = 0;
  for (std::int32_t n = 0; n < 5000; ++n) {
    const std::int32_t b = bucket(n);
    CHECK(b >= n);
    CHECK(b - n <= n / 8);
    CHECK(b >= last);
    CHECK(bucket(b) == b);
    last = b;
  }
  CHECK(bucket(17) == 18);
  CHECK(bucket(1000) == 1024);
}

TEST_CASE("padded batch: the lists stay as they are; those behind them have no labels, and no ids that the batch has not") {
  const TemporaryFolder folder;
  write_tiny_data(folder / "data.safetensors", 60);
  const data::Dataset data(folder / "data.safetensors");
  data::BatchBuilder builder(data.features(), builder_limits(tiny_config()));
  builder.attach(data);
  for (const std::int64_t size : {1, 5, 13}) {
    std::vector<std::int64_t> requests;
    for (std::int64_t r = 0; r < size; ++r) requests.push_back(3 * r);
    data::Batch batch, padded;
    builder.build(requests, batch), builder.build(requests, padded);
    pad_batch(padded);
    const std::int32_t lists = batch.lists, rows = batch.rows();
    CHECK(padded.lists == bucket(lists + lists / 8 + 1));
    CHECK(padded.rows() == bucket(rows));
    CHECK(padded.history_rows() == bucket(batch.history_rows()));
    CHECK(padded.offsets.size() == static_cast<std::size_t>(padded.lists) + 1);
    CHECK(padded.history_match.offsets.size() == padded.offsets.size());
    CHECK(padded.labelled.size() == static_cast<std::size_t>(padded.rows()));
    CHECK(std::all_of(padded.labelled.begin() + rows, padded.labelled.end(), [](float l) { return l == 0; }));
    check_begins_with(padded.offsets, batch.offsets), check_begins_with(padded.history_offsets, batch.history_offsets);
    check_begins_with(padded.item.id, batch.item.id), check_begins_with(padded.click, batch.click), check_begins_with(padded.match, batch.match);
    CHECK(padded.item.id.size() == static_cast<std::size_t>(padded.rows()));
    CHECK(padded.match.size() / static_cast<std::size_t>(padded.rows()) == batch.match.size() / static_cast<std::size_t>(rows));
    for (std::size_t i = batch.item.id.size(); i < padded.item.id.size(); ++i) CHECK(padded.item.id[i] == batch.item.id[0]);
    CHECK(padded.query.terms.ids == batch.query.terms.ids);  // a bag of none for each list
    CHECK(padded.query.terms.offsets.size() == padded.offsets.size());
  }
}

TEST_CASE("padded batch: the loss is that of the batch, whatever is predicted for its padding") {
  const TemporaryFolder folder;
  write_tiny_data(folder / "data.safetensors", 60);
  const data::Dataset data(folder / "data.safetensors");
  data::BatchBuilder builder(data.features(), builder_limits(tiny_config()));
  builder.attach(data);
  const std::vector<std::int64_t> requests{0, 7, 9, 11, 30};
  data::Batch batch;
  builder.build(requests, batch);
  for (std::size_t i = 0; i < batch.labelled.size(); i += 3) batch.labelled[i] = 0;                                // some of a list
  std::fill(batch.labelled.begin() + batch.offsets[2], batch.labelled.begin() + batch.offsets[3], 0.0f);           // a whole list
  data::Batch padded = batch;
  pad_batch(padded);
  LossCounts counts{20, 4, 3, 5};
  Arena arena;
  const auto loss_of = [&](const data::Batch& b, const LossWeights& weights) {
    Context ctx;
    ctx.device = &reference_device(DType::f64), ctx.arena = &arena;
    if (b.lists > batch.lists) ctx.padding = batch.lists;
    const auto column = [&](std::int32_t n, std::int32_t real, double salt) {
      std::vector<double> values;
      for (std::int32_t i = 0; i < n; ++i) values.push_back(i < real ? std::sin(salt + i) : 3.0 + i);
      return ctx.constant(values, {n, 1});
    };
    Logits logits{column(b.rows(), batch.rows(), 1)};
    logits.conversion[0] = column(b.rows(), batch.rows(), 2);
    logits.list_click = column(b.lists, batch.lists, 3), logits.list_conversion[0] = column(b.lists, batch.lists, 4);
    return loss(ctx, logits, b, weights, counts).item();
  };
  for (const auto kind : {LossWeights::Listwise::softmax, LossWeights::Listwise::attention_rank, LossWeights::Listwise::lambda}) {
    LossWeights weights{};
    weights.term[kListwise] = 1, weights.listwise = kind;
    const double expected = loss_of(batch, weights);
    CHECK(expected > 0);
    CHECK(loss_of(padded, weights) == doctest::Approx(expected).epsilon(1e-12));
    weights.term = {1, 1, 1, 1, 1};
    CHECK(loss_of(padded, weights) == doctest::Approx(loss_of(batch, weights)).epsilon(1e-12));
  }
}
