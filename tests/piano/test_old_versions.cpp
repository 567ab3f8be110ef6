// One small file of each format version: it must stay readable, and its model must score as it did when it was written.
//
// version_1_* were made in tests/golden/ by the binary that first wrote version 1:
//   piano simulate --requests 25 --out sim.jsonl
//   piano prepare --out version_1_data.safetensors sim.jsonl
//   piano train --data version_1_data.safetensors --out version_1_model.safetensors --set model.d=8 --set model.heads=2
//     --set model.layers=1 --set model.ffn=2 --set encoder.positions=24 --set train.epochs=1 --set train.batch=8
// version_2_model by the binary that first wrote version 2, which has a calibration; other models are still of version 1:
//   piano calibrate --data version_1_data.safetensors --model version_1_model.safetensors --out version_2_model.safetensors
// version_2_data and version_3_model by the binary that first wrote them: with n-grams and item vectors, where v.npy has a row (1, 2) for each of
// the log's items; other files are still of version 1 or 2:
//   piano simulate --requests 12 --seed 2 --out sim.jsonl
//   piano prepare --ngrams 3-4 --ngram-buckets 50 --item-vectors v.npy --item-ids ids.txt --out version_2_data.safetensors sim.jsonl
//   piano train as above, with --data version_2_data.safetensors --out version_3_model.safetensors
// version_3_data and version_4_model by the binary that first wrote them: with item-item cosine among the match features:
//   piano simulate --requests 12 --seed 3 --out sim.jsonl
//   piano prepare --out version_3_data.safetensors sim.jsonl
//   piano train as above, with --data version_3_data.safetensors --out version_4_model.safetensors --set model.cosine=true
// version_4_data and version_5_model by the binary that first wrote them: with two kinds of conversion:
//   piano simulate --requests 12 --seed 4 --kinds 2 --out sim.jsonl
//   piano prepare --out version_4_data.safetensors sim.jsonl
//   piano train as above, with --data version_4_data.safetensors --out version_5_model.safetensors
// version_5_data and version_6_model by the binary that first wrote them: with match features of set 3:
//   piano simulate --requests 12 --seed 4 --out sim.jsonl
//   piano prepare --out version_5_data.safetensors sim.jsonl
//   piano train as above, with --data version_5_data.safetensors --out version_6_model.safetensors
// Do not make them again: write the next versions beside them when the format changes. tests/cli/old_versions.clitest has the exit codes.
#include <doctest/doctest.h>

#include "piano/model_file.h"
#include "piano/predictor.h"
#include "tests/base/temporary_folder.h"

using namespace piano;

namespace {

const std::string kFolder = "tests/golden/";

PredictedLogits predicted(const Model::Impl& m, const data::Dataset& data, data::Split part) {
  data::BatchBuilder builder(m.features, m.limits());
  builder.attach(data);
  ThreadPool pool(1);
  return Predictor(m.config, *m.network, m.parameters, m.features, builder, pool).predict(data, data.requests(part));
}

}  // namespace

TEST_CASE("files of version 1 are read, and the model's scores are what they were") {
  const data::Dataset data(kFolder + "version_1_data.safetensors");
  CHECK(data.size() == 25);
  CHECK(data.raw_items() == 396);
  CHECK(data.id(24) == "synthetic-1-24");
  CHECK(data.requests(data::Split::test) == std::vector<std::int64_t>{22, 23, 24});

  const auto model = Model::load(kFolder + "version_1_model.safetensors");
  const PredictedLogits logits = predicted(model->impl(), data, data::Split::test);
  REQUIRE(logits.click.size() == 78);
  double click = 0, conversion = 0;
  for (const float x : logits.click) click += sigmoid(x);
  for (const float x : logits.conversion) conversion += sigmoid(x);
  const auto is = [](double value) { return doctest::Approx(value).epsilon(1e-4); };
  CHECK(click == is(29.5967));
  CHECK(conversion == is(27.1773));
  CHECK(logits.click[0] == is(-0.603096));
  CHECK(logits.list_click[2] == is(1.21248));
  CHECK(logits.list_conversion[2] == is(1.16787));
}

TEST_CASE("a model of version 2 has the order of the one that it was made from, and its own probabilities") {
  const auto model = Model::load(kFolder + "version_2_model.safetensors"), plain = Model::load(kFolder + "version_1_model.safetensors");
  CHECK(model->impl().calibration.fitted());
  CHECK_FALSE(plain->impl().calibration.fitted());
  std::vector<Candidate> candidates(3);
  candidates[0].id = "t-1", candidates[1].id = "t-2", candidates[2].id = "t-3";
  Request request;
  request.candidates = candidates;
  Session session(model), plain_session(plain);
  const Response& response = session.rerank(request);
  const Response& plain_response = plain_session.rerank(request);
  REQUIRE(response.ranking.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(response.ranking[i].id == plain_response.ranking[i].id);
    CHECK(response.ranking[i].score == plain_response.ranking[i].score);
    CHECK(response.ranking[i].ctr != plain_response.ranking[i].ctr);
  }
}

TEST_CASE("a model of version 3 scores words by their n-grams and items by their vectors, as it did") {
  const auto model = Model::load(kFolder + "version_3_model.safetensors");
  CHECK(model->impl().features.schema.ngrams == data::Ngrams{3, 4, 50});
  CHECK(model->impl().features.item_vectors.width() == 2);
  const data::Dataset data(kFolder + "version_2_data.safetensors");
  CHECK(data.features().fingerprint() == model->impl().features.fingerprint());

  std::vector<Candidate> candidates(3);
  const std::vector<float> vector{1, 1};
  candidates[0].id = "t-1", candidates[1].id = "t-2", candidates[2].id = "new";
  candidates[2].vector = vector;
  Request request;
  request.query.text = "lofi  slepe";
  request.candidates = candidates;
  Session session(model);
  const Response& response = session.rerank(request);
  REQUIRE(response.ranking.size() == 3);
  const auto is = [](double value) { return doctest::Approx(value).epsilon(1e-4); };
  CHECK(response.ranking[0].score == is(-1.67763));
  CHECK(response.ranking[1].score == is(-2.00863));
  CHECK(response.ranking[2].score == is(-2.22595));
}

TEST_CASE("a model of version 4 knows who had what in its training part, as it did") {
  const auto model = Model::load(kFolder + "version_4_model.safetensors");
  CHECK(model->impl().config.model.cosine);
  const data::Dataset data(kFolder + "version_3_data.safetensors");
  CHECK(data.features().fingerprint() == model->impl().features.fingerprint());
  const PredictedLogits logits = predicted(model->impl(), data, data::Split::train);
  double click = 0;
  for (const float x : logits.click) click += sigmoid(x);
  CHECK(click == doctest::Approx(94.3914).epsilon(1e-4));
}

TEST_CASE("a model of version 5 knows kinds of conversion by name, as it did") {
  const auto model = Model::load(kFolder + "version_5_model.safetensors");
  CHECK(model->conversions() == std::vector<std::string>{"follow", "save"});
  const data::Dataset data(kFolder + "version_4_data.safetensors");
  CHECK(data.features().fingerprint() == model->impl().features.fingerprint());
  const PredictedLogits logits = predicted(model->impl(), data, data::Split::train);
  double follow = 0, save = 0;
  for (std::size_t i = 0; i < logits.conversion.size(); i += 2) follow += sigmoid(logits.conversion[i]), save += sigmoid(logits.conversion[i + 1]);
  CHECK(follow == doctest::Approx(72.5469).epsilon(1e-4));
  CHECK(save == doctest::Approx(67.0051).epsilon(1e-4));
}

TEST_CASE("a model of version 6 reads match features of set 3, as it did; older ones keep theirs") {
  const auto model = Model::load(kFolder + "version_6_model.safetensors");
  CHECK(model->impl().features.schema.match_set == 3);
  const data::Dataset data(kFolder + "version_5_data.safetensors");
  CHECK(data.features().fingerprint() == model->impl().features.fingerprint());
  const PredictedLogits logits = predicted(model->impl(), data, data::Split::train);
  double click = 0;
  for (const float x : logits.click) click += sigmoid(x);
  CHECK(click == doctest::Approx(103.35).epsilon(1e-4));

  const auto older = Model::load(kFolder + "version_4_model.safetensors");
  CHECK(older->impl().features.schema.match_set == 2);
  CHECK(predicted(older->impl(), data, data::Split::train).click.size() == logits.click.size());
}

TEST_CASE("files that need a newer reader are refused, with the version that they need") {
  const TemporaryFolder folder;
  for (const std::string name : {"version_1_data.safetensors", "version_1_model.safetensors"}) {
    CAPTURE(name);
    std::string bytes = read_all(kFolder + name);
    const std::string needs = R"("min_reader_version":"1")";
    REQUIRE(bytes.find(needs) != std::string::npos);
    bytes.replace(bytes.find(needs), needs.size(), R"("min_reader_version":"9")");
    write_all(folder / name, bytes);
    try {
      if (name == "version_1_data.safetensors") data::Dataset(folder / name);
      else Model::load(folder / name);
      FAIL("expected an error");
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::model);
      CHECK(std::string(e.what()).find("version 9, this one is ") != std::string::npos);
    }
  }
}
