#include <doctest/doctest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/core/device.h"
#include "piano/config.h"
#include "piano/loss.h"
#include "piano/loss_examination.h"
#include "piano/predictor.h"

using namespace piano;
using doctest::Approx;

namespace {

ExaminationLoss loss_of(LossExamination mode, double clip = 0.05) { return {mode, {1, 0.5, 0.02}, clip}; }

// Two lists; the second one's last item was not shown.
data::Batch batch() {
  data::Batch b;
  b.lists = 2;
  b.offsets = {0, 3, 6};
  b.position = {1, 2, 3, 2, 1, 0};
  b.click = {0, 1, 1, 1, 0, 0};
  b.conversion = {0, 1, 0, 0, 0, 0};
  b.labelled = {1, 1, 1, 1, 1, 0};
  return b;
}

const std::vector<double> kClicks{0.3, -1.0, 2.0, -0.2, 0.9, 5.0}, kConverts{1.0, 0.4, -0.7, 0.1, 0.0, 5.0};

std::string refusal_of(const std::vector<std::string>& assignments) {
  Config config;
  for (const std::string& assignment : assignments) set_option(config, assignment);
  try {
    check(config);
    return "";
  } catch (const Error& e) {
    CHECK(e.code() == ErrorCode::usage);
    return e.what();
  }
}

}  // namespace

TEST_CASE("the sums over a batch are those of its labelled items") {
  const data::Batch b = batch();
  for (const LossExamination mode : {LossExamination::likelihood, LossExamination::weighted}) {
    const ExaminationLoss loss = loss_of(mode);
    Arena arena;
    Context ctx;
    ctx.device = &reference_device(DType::f64);
    ctx.arena = &arena;
    double click = 0, conversion = 0;
    for (std::size_t i = 0; i < 5; ++i) {
      const double y = static_cast<double>(b.click[i]), z = static_cast<double>(b.conversion[i]);
      click += loss.click_term(kClicks[i], y, b.position[i]);
      conversion += loss.conversion_term(kConverts[i], y, z, b.position[i]);
    }
    CHECK(loss.click(ctx, ctx.constant(kClicks, {6, 1}), b).item() == Approx(click).epsilon(1e-5));
    LossWeights weights;
    weights.term[kConversion] = 1, weights.examination = loss;
    Logits logits{ctx.constant(kClicks, {6, 1})};
    logits.conversion[0] = ctx.constant(kConverts, {6, 1});
    CHECK(piano::loss(ctx, logits, b, weights, {}).item() == Approx(conversion).epsilon(1e-5));
  }
}

TEST_CASE("likelihood: the cross entropy of theta * sigmoid(a), least where sigmoid(a) is the relevance") {
  const ExaminationLoss loss = loss_of(LossExamination::likelihood);
  const double p = 0.5 * sigmoid(0.7);
  CHECK(loss.click_term(0.7, 1, 2) == Approx(-std::log(p)));
  CHECK(loss.click_term(0.7, 0, 2) == Approx(-std::log(1 - p)));
  CHECK(loss.conversion_term(0.3, 1, 1, 3) == Approx(-std::log(sigmoid(0.3))));
  CHECK(loss.conversion_term(0.3, 0, 0, 3) == 0);
  const double relevance = 0.3, logit = std::log(relevance / (1 - relevance));
  for (const std::int32_t position : {1, 2, 3}) {
    const double clicks = loss.at(position) * relevance;
    const auto expected = [&](double a) { return clicks * loss.click_term(a, 1, position) + (1 - clicks) * loss.click_term(a, 0, position); };
    CHECK(expected(logit) < expected(logit + 0.05));
    CHECK(expected(logit) < expected(logit - 0.05));
  }
}

TEST_CASE("weighted: its mean over clicks is the loss against relevance, except where theta is clipped") {
  const ExaminationLoss loss = loss_of(LossExamination::weighted);
  const double relevance = 0.3;
  const auto mean = [&](double a, std::int32_t position) {
    const double clicks = loss.at(position) * relevance;
    return clicks * loss.click_term(a, 1, position) + (1 - clicks) * loss.click_term(a, 0, position);
  };
  const auto against_relevance = [&](double a) { return -relevance * std::log(sigmoid(a)) - (1 - relevance) * std::log(sigmoid(-a)); };
  for (const double a : {-2.0, 0.0, 1.5}) {
    CHECK(mean(a, 1) == Approx(against_relevance(a)).epsilon(1e-5));
    CHECK(mean(a, 2) == Approx(against_relevance(a)));
    if (a != 0) CHECK(mean(a, 3) != Approx(against_relevance(a)));
  }
  CHECK(loss.weight(3) == Approx(20));
  CHECK(loss.weight(99) == Approx(20));
}

TEST_CASE("the options go together or are refused") {
  CHECK(refusal_of({"loss.examination=likelihood", "loss.theta=1 0.5 0.25"}) == "");
  CHECK(refusal_of({"loss.examination=weighted", "loss.theta=1", "loss.listwise=1"}) == "");
  CHECK(refusal_of({"loss.examination=likelihood"}).find("expected loss.theta") != std::string::npos);
  CHECK(refusal_of({"loss.theta=1 0.5"}).find("expected loss.examination") != std::string::npos);
  CHECK(refusal_of({"loss.examination=likelihood", "loss.theta=1", "loss.listwise=1"}).find("no listwise term") != std::string::npos);
  Config config;
  CHECK_THROWS_AS(set_option(config, "loss.theta=1 x"), Error);
  CHECK_THROWS_AS(set_option(config, "loss.theta=1 0"), Error);
  set_option(config, "loss.theta= 1  0.5 ");
  CHECK(config.loss.theta == std::vector<double>{1, 0.5});
  Config copy;
  parse_toml(to_toml(config), "copy", copy);
  CHECK(copy.loss.theta == config.loss.theta);
}
