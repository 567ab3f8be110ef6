#include <doctest/doctest.h>

#include <cmath>

#include "data/request_json.h"
#include "engine/base/random.h"
#include "piano/calibration.h"
#include "piano/metrics_pointwise.h"
#include "tests/piano/served_world.h"

using namespace piano;
using doctest::Approx;

namespace {

struct Examples {
  std::vector<double> logit, label;
};

// Labels with chance true_probability(logit).
template <class Probability>
Examples drawn(int n, std::uint64_t seed, Probability true_probability) {
  Examples e;
  RandomStream random(seed, "examples");
  for (int i = 0; i < n; ++i) {
    e.logit.push_back(2 * random.normal());
    e.label.push_back(random.uniform() < true_probability(e.logit.back()) ? 1 : 0);
  }
  return e;
}

double error_of(const HeadCalibration& head, const Examples& e) {
  std::vector<double> p;
  for (const double x : e.logit) p.push_back(head(x));
  return *expected_calibration_error(p, e.label);
}

}  // namespace

TEST_CASE("isotonic: a first step without a positive does not lift the rare ones above it") {
  std::vector<double> logit, label(50, 0.0);
  for (int i = 0; i < 50; ++i) logit.push_back(i);
  label[1] = 1;
  const HeadCalibration map = HeadCalibration::isotonic(logit, label);
  CHECK(map(49) < 0.03);
  CHECK(map(0) > 0);
}

TEST_CASE("without a calibration a probability is the sigmoid of the logit, to the bit") {
  const HeadCalibration none;
  for (const float x : {-40.0f, -1.5f, 0.0f, 0.3f, 17.0f}) CHECK(none(x) == sigmoid(x));
  CHECK_FALSE(none.fitted());
}

TEST_CASE("temperature finds the temperature that labels were drawn at") {
  const Examples e = drawn(20000, 1, [](double x) { return sigmoid(x / 2.5); });
  const HeadCalibration head = HeadCalibration::temperature(e.logit, e.label);
  CHECK(head.text().substr(0, 13) == "temperature 2");
  CHECK(head(1.0) == Approx(sigmoid(1 / 2.5)).epsilon(0.02));
  const Examples fresh = drawn(20000, 2, [](double x) { return sigmoid(x / 2.5); });
  CHECK(error_of(head, fresh) < 0.2 * error_of(HeadCalibration(), fresh));
}

TEST_CASE("isotonic finds a map of any rising shape, never falls, and stays off 0 and 1") {
  const auto shape = [](double x) { return x < -1 ? 0.05 : x < 1 ? 0.2 : 0.6; };
  const Examples e = drawn(20000, 1, shape), fresh = drawn(20000, 2, shape);
  const HeadCalibration head = HeadCalibration::isotonic(e.logit, e.label);
  CHECK(error_of(head, fresh) < 0.015);
  CHECK(error_of(HeadCalibration::temperature(e.logit, e.label), fresh) > 0.03);
  double before = 0;
  for (double x = -12; x < 12; x += 0.01) {
    const double p = head(x);
    CHECK(p >= before);
    CHECK(p > 0);
    CHECK(p < 1);
    before = p;
  }
  // By hand: 0 | 1 0 pooled to one half | 1; the ends half an observation inside.
  const std::vector<double> logit{-1, 0, 1, 2}, label{0, 1, 0, 1};
  const HeadCalibration small = HeadCalibration::isotonic(logit, label);
  CHECK(small(-5) == Approx(0.25));
  CHECK(small(0.5) == Approx(0.5));
  CHECK(small(1.5) == Approx(0.625));
  CHECK(small(9) == Approx(0.75));
}

TEST_CASE("the bins of the reliability table are those of the calibration error") {
  const Examples e = drawn(1000, 3, [](double x) { return sigmoid(x / 2); });
  std::vector<double> p;
  for (const double x : e.logit) p.push_back(std::round(20 * sigmoid(x)) / 20);  // with ties
  double error = 0, items = 0;
  for (const ReliabilityBin& bin : reliability(p, e.label)) {
    error += static_cast<double>(bin.items) * std::fabs(bin.predicted - bin.observed) / 1000;
    items += static_cast<double>(bin.items);
  }
  CHECK(items == 1000);
  CHECK(error == Approx(*expected_calibration_error(p, e.label)));
}

TEST_CASE("a calibrated model: the same order and scores to the bit, other probabilities, a file that needs a reader of its version") {
  const World world;
  const Model::Impl& m = world.model->impl();
  const Examples e = drawn(500, 1, [](double x) { return sigmoid(x / 3); });
  const Calibration calibration{HeadCalibration::isotonic(e.logit, e.label), {HeadCalibration::temperature(e.logit, e.label)}};
  save_model(world.folder / "calibrated", m.config, m.features, m.parameters, calibration);
  save_model(world.folder / "plain", m.config, m.features, m.parameters);
  CHECK(read_all(world.folder / "plain") == read_all(world.folder / "model"));
  const SafetensorsFile file(world.folder / "calibrated");
  CHECK(file.metadata().at("format_version") == "6");
  CHECK(file.metadata().at("min_reader_version") == "6");

  for (const Check check : {Check::at_load, Check::as_read}) {
    const auto calibrated = Model::load(world.folder / "calibrated", check);
    Session before(world.model), after(calibrated);
    data::RequestParser parser;
    bool same_order = true, product = true;
    for (const std::string& text : world.lines) {
      const Request& request = parser.parse(text);
      const std::vector<Ranked> a = copy(before.rerank(request)), b = copy(after.rerank(request));
      for (std::size_t i = 0; i < a.size(); ++i) {
        same_order = same_order && a[i].from == b[i].from && a[i].score == b[i].score;
        const double click = std::log(static_cast<double>(a[i].ctr) / (1 - static_cast<double>(a[i].ctr)));
        product = product && std::fabs(static_cast<double>(b[i].ctr) - calibration.click(click)) < 1e-3;
      }
    }
    CHECK(same_order);
    CHECK(product);
  }
}

TEST_CASE("a damaged calibration is refused") {
  const TemporaryFolder folder;
  const auto message_of = [&](float temperature, std::vector<float> logit, std::vector<float> probability) -> std::string {
    SafetensorsWriter writer(folder / "c");
    writer.add("calibration.click.temperature", std::span<const float>(&temperature, 1));
    writer.add("calibration.click.logit", std::span<const float>(logit));
    writer.add("calibration.click.probability", std::span<const float>(probability));
    writer.commit();
    try {
      HeadCalibration::load(SafetensorsFile(folder / "c"), "calibration.click");
      return "";
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::model);
      return e.what();
    }
  };
  CHECK(message_of(1, {0, 1}, {0.1f, 0.2f}) == "");
  CHECK(message_of(0, {}, {}) != "");
  CHECK(message_of(1, {0, 0}, {0.1f, 0.2f}) != "");
  CHECK(message_of(1, {0, 1}, {0.3f, 0.2f}) != "");
  CHECK(message_of(1, {0, 1}, {0.1f, 1.2f}) != "");
  CHECK(message_of(1, {0, 1}, {0.1f}) != "");
}
