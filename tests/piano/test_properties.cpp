// What must hold of the model whatever its parameters are: symmetries, the edges of what it accepts, and bits that must not depend on company.
#include <doctest/doctest.h>

#include <set>

#include "tests/piano/network_bench.h"

using namespace piano;
using bench::make;
using bench::permuted;

namespace {

const bench::World kWorld;

double distance(const std::vector<double>& a, const std::vector<double>& b) { return golden::error(a, b); }

bool finite(const bench::Scores& s) {
  for (const auto* column : {&s.click, &s.conversion, &s.list_click, &s.list_conversion}) {
    if (!std::all_of(column->begin(), column->end(), [](double v) { return std::isfinite(v); })) return false;
  }
  return true;
}

// The scores of list l of a batch.
bench::Scores of_list(const bench::Scores& s, const data::Batch& batch, std::int32_t l) {
  const auto begin = batch.offsets[static_cast<std::size_t>(l)], end = batch.offsets[static_cast<std::size_t>(l) + 1];
  const auto part = [](const std::vector<double>& v, std::int32_t from, std::int32_t to) {
    return std::vector<double>(v.begin() + from, v.begin() + to);
  };
  return {part(s.click, begin, end), part(s.conversion, begin, end), part(s.list_click, l, l + 1), part(s.list_conversion, l, l + 1)};
}

std::vector<const Device*> every_device() {
  std::vector<const Device*> all{&reference_device(DType::f64), &reference_device(DType::f32)};
  all.insert(all.end(), cpu_levels().begin(), cpu_levels().end());
  return all;
}

const std::vector<std::int32_t> kOrder{3, 0, 4, 1, 2};

}  // namespace

TEST_CASE("without positions the encoder is permutation-equivariant and the list heads are permutation-invariant") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}}, 1), other = bench::reorder_candidates(batch, 0, kOrder);
  for (const char* pool : {"token", "mean", "attention"}) {
    CAPTURE(pool);
    bench::Bench model = make(std::string("encoder.position=none\nmodel.layers=2\nian.pool=") + pool);
    const bench::Scores a = model.scores(batch), b = model.scores(other);
    CHECK(distance(b.click, permuted(a.click, kOrder)) <= 1e-12);
    CHECK(distance(b.conversion, permuted(a.conversion, kOrder)) <= 1e-12);
    CHECK(distance(b.list_click, a.list_click) <= 1e-12);
    CHECK(distance(b.list_conversion, a.list_conversion) <= 1e-12);
    CHECK(distance(b.click, a.click) > 1e-3);  // the order did change
  }
}

TEST_CASE("with initial-rank positions the order matters") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}}, 1), other = bench::reorder_candidates(batch, 0, kOrder);
  bench::Bench model = make("encoder.position=initial_rank");
  const bench::Scores a = model.scores(batch), b = model.scores(other);
  CHECK(distance(b.click, permuted(a.click, kOrder)) > 1e-3);
  CHECK(distance(b.list_click, a.list_click) > 1e-4);
}

TEST_CASE("with displayed positions it matters where a candidate is shown, and not where it stands in the batch; not shown is a place of its own") {
  data::Batch batch = bench::random_batch(kWorld, {{5, 3}}, 1);
  batch.position = {4, 2, 0, 1, 3};
  bench::Bench model = make("encoder.position=displayed");
  const bench::Scores a = model.scores(batch), b = model.scores(bench::reorder_candidates(batch, 0, kOrder));  // each takes its position along
  CHECK(distance(b.click, permuted(a.click, kOrder)) <= 1e-12);
  CHECK(distance(b.list_click, a.list_click) <= 1e-12);
  data::Batch swapped = batch;
  std::swap(swapped.position[0], swapped.position[3]);
  CHECK(distance(model.scores(swapped).list_click, a.list_click) > 1e-4);
  std::swap(swapped.rank[1], swapped.rank[2]);  // initial ranks are not looked at
  std::swap(swapped.position[0], swapped.position[3]);
  CHECK(model.scores(swapped) == a);

  const Parameter& table = model.find("encoder.position");
  CHECK(table.shape.rows() == 16 + 1);
  std::vector<double> rows = golden::values(model.store, table);
  rows[0] += 1;  // row 0: not shown; layer norm would not see a whole row moved
  golden::set_values(model.store, table, rows);
  CHECK(distance(model.scores(batch).list_click, a.list_click) > 1e-4);
  swapped.position = batch.position = {4, 2, 5, 1, 3};
  bench::Bench same = make("encoder.position=displayed");
  CHECK(model.scores(batch) == same.scores(batch));  // nobody is not shown
}

TEST_CASE("QDIR sees the history as a set of (query, item, action, age): its order alone changes nothing") {
  data::Batch batch = bench::random_batch(kWorld, {{3, 5}}, 1);
  for (const char* mode : {"attend", "item_only", "mean"}) {
    CAPTURE(mode);
    bench::Bench model = make(std::string("qdir.mode=") + mode);
    const bench::Scores a = model.scores(batch), b = model.scores(bench::reorder_history(batch, 0, kOrder));
    CHECK(distance(b.click, a.click) <= 1e-12);
    CHECK(distance(b.list_click, a.list_click) <= 1e-12);
  }
}

TEST_CASE("exchanging the past queries alone changes the scores, but not in a mode that does not read them") {
  const data::Batch batch = bench::random_batch(kWorld, {{3, 5}}, 1);
  data::Batch other = batch;
  other.history_query = bench::reorder_history(batch, 0, kOrder).history_query;
  for (const std::string mode : {"attend", "item_only", "off"}) {
    CAPTURE(mode);
    bench::Bench model = make("qdir.mode=" + mode);
    if (mode == "attend") CHECK(distance(model.scores(other).click, model.scores(batch).click) > 1e-6);
    else CHECK(model.scores(other) == model.scores(batch));
  }
}

TEST_CASE("empty history, one candidate, 1,000 candidates, all ids unknown or missing: defined and finite") {
  const bench::World bare = bench::bare_world();
  for (const Device* device : every_device()) {
    CAPTURE(device->name);
    for (const char* options : {"", "qdir.null_slot=false", "qdir.mode=mean", "qdir.mode=item_only", "qdir.mode=off", "ian.pool=mean",
                                "ian.pool=attention"}) {
      CAPTURE(options);
      bench::Bench model = make(options, *device);
      for (const std::vector<bench::Extent>& lists : {std::vector<bench::Extent>{{1, 0}}, {{3, 0}, {2, 0}}, {{1, 4}}, {{2, 3}, {1, 0}}}) {
        data::Batch batch = bench::random_batch(kWorld, lists, 4);
        CHECK(finite(model.scores(batch)));
        for (const std::int32_t id : {data::kOutOfVocabulary, data::kMissing}) {
          for (auto* ids : {&batch.user, &batch.query.id, &batch.query.terms.ids, &batch.history_query.id, &batch.history_query.terms.ids,
                            &batch.history_item.id, &batch.history_action, &batch.item.id}) {
            std::fill(ids->begin(), ids->end(), id);
          }
          for (auto* fields : {&batch.user_fields, &batch.context_fields, &batch.item.fields, &batch.history_item.fields}) {
            for (data::BagColumn& f : *fields) std::fill(f.ids.begin(), f.ids.end(), id);
          }
          const double total = model.train(batch, bench::counts(batch));
          CHECK(std::isfinite(total));
          CHECK(finite(model.scores(batch)));
          for (const Parameter& p : model.store.parameters()) CHECK_MESSAGE(std::isfinite(golden::norm(model.gradient(p))), p.name);
        }
      }
    }
  }
  for (const Device* device : cpu_levels()) {
    CAPTURE(device->name);
    bench::Bench model = make("", *device, bare);
    const data::Batch large = bench::random_batch(bare, {{1000, 200}}, 4);
    const bench::Scores scores = model.scores(large);
    CHECK(scores.click.size() == 1000);
    CHECK(finite(scores));
    CHECK(std::isfinite(model.train(large, bench::counts(large))));
  }
}

TEST_CASE("a batch without labels has a loss of zero and no gradient") {
  bench::Bench model = make("loss.listwise=1");
  data::Batch batch = bench::random_batch(kWorld, {{3, 2}, {2, 0}}, 4);
  std::fill(batch.labelled.begin(), batch.labelled.end(), 0.0f);
  CHECK(model.train(batch, bench::counts(batch)) == 0);
  for (const Parameter& p : model.store.parameters()) CHECK_MESSAGE(golden::norm(model.gradient(p)) == 0, p.name);
}

TEST_CASE("loss.listwise_value: a conversion worth v counts as lambda v, one worth less than nothing as none") {
  data::Batch batch = bench::random_batch(kWorld, {{5, 3}, {6, 0}}, 4);
  const auto loss_of = [&](const std::string& options, float value) {
    batch.value.assign(batch.click.size(), value);
    return make("loss.listwise=1\n" + options).train(batch, bench::counts(batch));
  };
  for (const std::string kind : {"softmax", "lambda"}) {
    const std::string listwise = "loss.listwise_kind=" + kind + "\n", worth = listwise + "loss.listwise_value=true\n";
    CHECK(loss_of(worth + "loss.lambda=1", 3) == loss_of(listwise + "loss.lambda=3", 7));
    CHECK(loss_of(worth + "loss.lambda=2", -1) == loss_of(listwise + "loss.lambda=0", 7));
    CHECK(loss_of(worth + "loss.lambda=1", 3) != loss_of(listwise + "loss.lambda=1", 3));
  }
}

TEST_CASE("a list's scores have the same bits alone, and anywhere in any batch") {
  const std::vector<bench::Extent> lists{{5, 3}, {1, 0}, {13, 9}, {2, 1}, {8, 8}, {3, 0}, {31, 17}};
  const data::Batch batch = bench::random_batch(kWorld, lists, 6);
  for (const Device* device : every_device()) {
    CAPTURE(device->name);
    for (const char* options : {"", "ian.pool=attention\nqdir.mode=mean", "ian.pool=mean\nqdir.null_slot=false",
                                "model.d=20\nmodel.heads=4\nqdir.query=query+user"}) {
      CAPTURE(options);
      bench::Bench model = make(options, *device);
      const bench::Scores together = model.scores(batch);
      for (std::int32_t l = 0; l < batch.lists; ++l) {
        CAPTURE(l);
        CHECK(model.scores(bench::cut(batch, l, l + 1)) == of_list(together, batch, l));
        const data::Batch rest = bench::cut(batch, l, batch.lists);
        CHECK(of_list(model.scores(rest), rest, 0) == of_list(together, batch, l));
        const data::Batch front = bench::cut(batch, 0, l + 1);
        CHECK(of_list(model.scores(front), front, l) == of_list(together, batch, l));
      }
    }
  }
}

TEST_CASE("recording a tape changes no bit of the scores") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}, {1, 0}}, 6);
  for (const Device* device : every_device()) {
    CAPTURE(device->name);
    bench::Bench model = make("", *device);
    bench::Scores recorded;
    model.train(batch, bench::counts(batch), 0, &recorded);
    CHECK(recorded == model.scores(batch));
  }
}

TEST_CASE("dropout is off at inference and on in training, and its masks belong to the lists") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}, {1, 0}, {13, 9}, {2, 1}}, 6);
  const LossCounts counts = bench::counts(batch);
  for (const Device* device : every_device()) {
    CAPTURE(device->name);
    bench::Bench model = make("model.dropout=0.3\nmodel.oov_dropout=0.2\nmodel.layers=2", *device);
    bench::Bench without = make("model.dropout=0\nmodel.oov_dropout=0\nmodel.layers=2", *device);
    CHECK(model.scores(batch) == without.scores(batch));

    model.dropout = true;
    bench::Scores whole, again, other_step, part;
    model.train(batch, counts, 0, &whole);
    model.train(batch, counts, 0, &again);
    CHECK(whole == again);
    CHECK_FALSE(whole == model.scores(batch));
    model.random.step += 1;
    model.train(batch, counts, 0, &other_step);
    CHECK_FALSE(whole == other_step);
    model.random.step -= 1;

    for (const auto& range : {std::pair{0, 1}, {1, 4}, {2, 3}, {2, 4}, {0, 3}}) {
      const std::int32_t begin = range.first, end = range.second;
      CAPTURE(begin);
      CAPTURE(end);
      const data::Batch piece = bench::cut(batch, begin, end);
      model.train(piece, counts, begin, &part);
      for (std::int32_t l = begin; l < end; ++l) CHECK(of_list(part, piece, l - begin) == of_list(whole, batch, l));
    }
    model.train(bench::cut(batch, 2, 3), counts, 0, &part);  // taken for the first list of the batch: other masks
    CHECK_FALSE(part == of_list(whole, batch, 2));
  }
}

TEST_CASE("micro-batches with dropout have the gradients of the whole batch") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}, {1, 0}, {13, 9}, {2, 1}}, 6);
  const LossCounts counts = bench::counts(batch);
  const std::string options = "model.dropout=0.3\nmodel.oov_dropout=0.2\nloss.listwise=0.5";
  bench::Bench whole = make(options), parts = make(options);
  whole.dropout = parts.dropout = true;
  whole.train(batch, counts);
  for (const auto& [begin, end] : {std::pair{0, 2}, {2, 3}, {3, 4}}) parts.train(bench::cut(batch, begin, end), counts, begin);
  double squares = 0;
  for (const Parameter& p : whole.store.parameters()) squares += std::pow(golden::norm(whole.gradient(p)), 2);
  for (const Parameter& p : whole.store.parameters()) {
    CHECK_MESSAGE(golden::gradient_error(parts.gradient(p), whole.gradient(p), std::sqrt(squares)) <= 1e-12, p.name);
  }
}

TEST_CASE("without feedback the list loss reaches the item heads only through the shared encoder") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}, {4, 2}}, 6);
  const std::string list_loss_alone = "encoder.position=none\nian.feedback=false\nloss.click=0\nloss.conversion=0\nloss.list_click=1";
  bench::Bench model = make(list_loss_alone);
  model.train(batch, bench::counts(batch));
  for (const Parameter& p : model.store.parameters()) {
    CAPTURE(p.name);
    const double norm = golden::norm(model.gradient(p));
    if (p.name.starts_with("head.click") || p.name.starts_with("head.conversion")) CHECK(norm == 0);
    if (p.name.starts_with("head.list_") || p.name == "item.project.weight" || p.name == "encoder.0.attention.wv") CHECK(norm > 0);
  }
  bench::Bench items = make("ian.feedback=false\nloss.list_click=0\nloss.list_conversion=0");
  items.train(batch, bench::counts(batch));
  for (const Parameter& p : items.store.parameters()) {
    if (p.name.starts_with("head.list_")) CHECK_MESSAGE(golden::norm(items.gradient(p)) == 0, p.name);
  }
}

TEST_CASE("with feedback the token's list summary moves the items' scores") {
  const data::Batch batch = bench::random_batch(kWorld, {{5, 3}}, 6);
  for (const bool feedback : {true, false}) {
    bench::Bench model = make("model.layers=0\nian.feedback=" + std::string(feedback ? "true" : "false"));
    const bench::Scores before = model.scores(batch);
    std::vector<double> token = golden::values(model.store, model.find("ian.token"));
    for (double& v : token) v = -2 * v + 0.5;
    golden::set_values(model.store, model.find("ian.token"), token);
    CHECK((distance(model.scores(batch).click, before.click) > 1e-6) == feedback);  // without blocks there is no other way from token to item
  }
}

TEST_CASE("attention_weights: between 0 and 1, at most 1 a list, 1 without a null slot, uniform in mode mean, 0 when off") {
  const data::Batch batch = bench::random_batch(kWorld, {{2, 3}, {1, 0}, {2, 5}}, 6);
  for (const auto& variant : {std::pair{"", -1.0}, {"qdir.null_slot=false", 1.0}, {"qdir.mode=mean", 1.0}, {"qdir.mode=off", 0.0},
                                       {"qdir.mode=item_only", -1.0}}) {
    const std::string options = variant.first;
    const double total = variant.second;
    CAPTURE(options);
    bench::Bench model = make(options, cpu_device());
    std::vector<double> weights(static_cast<std::size_t>(batch.history_rows()), -1);
    model.network->attention_weights(model.context(), batch, weights);
    for (const std::size_t l : {std::size_t{0}, std::size_t{2}}) {
      double sum = 0;
      for (auto t = batch.history_offsets[l]; t < batch.history_offsets[l + 1]; ++t) {
        CHECK(weights[static_cast<std::size_t>(t)] >= 0);
        sum += weights[static_cast<std::size_t>(t)];
      }
      if (total >= 0) CHECK(sum == doctest::Approx(total));
      else CHECK((sum > 0 && sum < 1));  // the rest is the null slot's
    }
  }
}
