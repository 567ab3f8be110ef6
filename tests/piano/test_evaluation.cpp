#include <doctest/doctest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "evaluation_fixture.h"

using namespace piano;
using doctest::Approx;

namespace {

const Row& row_of(const Table& table, const std::string& name) {
  for (const Row& row : table.rows)
    if (row.name == name) return row;
  FAIL("no row " << name);
  return table.rows[0];
}

EvaluationOptions quick() {
  EvaluationOptions options;
  options.bootstrap.replicates = 50;
  return options;
}

double value(const Report& report, const std::string& row, std::size_t system = 0) {
  return row_of(report.tables[0], row).cells[system].estimate.value;
}

}  // namespace

TEST_CASE("evaluate: two lists by hand") {
  test::Lists made;
  made.add(0, {0, 1, 1}, {0, 0, 1}, 2);
  made.add(1, {0, 0}, {0, 0}, 0);  // no positive
  made.lists.value = {1, 1, 5, 1, 1};
  const std::vector<Predictions> systems{initial_order(made.lists)};
  const Report report = evaluate(made.lists, systems, quick());
  CHECK(value(report, "MRR click") == 0.5);
  CHECK(value(report, "MRR conversion") == Approx(1.0 / 3));
  CHECK(value(report, "MRR target") == Approx((1.0 / 3 + 1) / 2));
  CHECK(value(report, "MAP@10 click") == Approx((1.0 / 2 + 2.0 / 3) / 2));
  CHECK(value(report, "HR@1 click") == 0.0);
  CHECK(value(report, "HR@5 conversion") == 1.0);
  CHECK(value(report, "click@10") == 2.0);
  CHECK(value(report, "revenue@10") == 5.0);
  CHECK(value(report, "NDCG@10 click+conversion") == Approx((1 / std::log2(3.0) + 2 / std::log2(4.0)) / (2 + 1 / std::log2(3.0))));
  const RankingMetric map{"MAP@10 click", Gain::click, Measure::average_precision, 10, false};
  CHECK(mean_metric(made.lists, systems[0].score, map) == value(report, "MAP@10 click"));
  CHECK(row_of(report.tables[0], "MRR click").used == 1);
  CHECK(row_of(report.tables[0], "MRR click").skipped == 1);
  CHECK(row_of(report.tables[0], "MRR target").used == 2);
}

TEST_CASE("candidates that were not shown count for nothing but the target") {
  test::Lists made;
  made.add(0, {1, 0, 1}, {0, 0, 0}, 2);
  made.lists.labelled = {0, 1, 1};
  const std::vector<Predictions> systems{initial_order(made.lists)};
  const Report report = evaluate(made.lists, systems, quick());
  CHECK(value(report, "MRR click") == 0.5);
  CHECK(value(report, "click@10") == 1.0);
  CHECK(value(report, "MRR target") == Approx(1.0 / 3));
}

TEST_CASE("a constant scorer does not win, even where positives come first") {
  test::Lists made;
  for (int l = 0; l < 300; ++l) made.add(l, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0);
  const Predictions constant{"constant", std::vector<double>(3000, 0.7), std::vector<double>(3000, 0.1), {}, {}, {}};
  const std::vector<Predictions> systems{constant};
  EvaluationOptions options = quick();
  const Report hashed = evaluate(made.lists, systems, options);
  CHECK(value(hashed, "HR@1 click") == Approx(0.1).epsilon(0.5));
  CHECK(value(hashed, "MRR target") == Approx(0.2929).epsilon(0.15));  // (1 + 1/2 + .. + 1/10) / 10
  CHECK(value(hashed, "pctr AUC") == 0.5);
  CHECK(value(hashed, "pctr NE") == Approx(1.0));
  options.ties = TieBreak::average;
  const Report averaged = evaluate(made.lists, systems, options);
  CHECK(value(averaged, "HR@1 click") == Approx(0.1));
  CHECK(value(averaged, "MRR target") == Approx(0.29289682539682539));
}

TEST_CASE("labels that never vary are not available, and the reason is said") {
  test::Lists made;
  for (int l = 0; l < 20; ++l) made.add(l, {1, 0, 1}, {0, 0, 0});
  Predictions all{"all", std::vector<double>(60, 0.0), std::vector<double>(60, 0.5), std::vector<double>(60, 0.5),
                  std::vector<double>(20, 0.9), std::vector<double>(20, 0.1)};
  const std::vector<Predictions> systems{initial_order(made.lists), all};
  const Report report = evaluate(made.lists, systems, quick());
  const Table& table = report.tables[0];
  CHECK(row_of(table, "MRR target").cells[0].reason == "no list with a target");
  CHECK(row_of(table, "NDCG@10 conversion").cells[1].reason == "no list with a conversion");
  CHECK(row_of(table, "pcvr AUC").cells[1].reason == "label always 0");
  CHECK(row_of(table, "P_ctr NE").cells[1].reason == "label always 1");
  CHECK(row_of(table, "P_cvr ECE").cells[1].reason == "label always 0");
  CHECK(row_of(table, "pctr AUC").cells[0].reason == "no pctr");
  CHECK(row_of(table, "pctr AUC").cells[1].reason.empty());
  CHECK(row_of(table, "pcvr log loss").used == 40);
  CHECK(row_of(table, "pcvr log loss").skipped == 20);
  const std::string text = to_text(report);
  CHECK(text.find("n/a (label always 1)") != std::string::npos);
  const auto json = nlohmann::json::parse(to_json(report));
  CHECK(json["tables"][0]["rows"].size() == table.rows.size());
  for (const auto& row : json["tables"][0]["rows"])
    if (row["metric"] == "P_ctr NE") {
      CHECK(row["systems"]["all"]["value"].is_null());
      CHECK(row["systems"]["all"]["reason"] == "label always 1");
    }
}

TEST_CASE("probabilities: each on its own examples") {
  test::Lists made;
  made.add(0, {1, 0}, {1, 0});
  made.add(1, {0, 0}, {0, 0});
  made.add(2, {1, 1}, {0, 0});
  const Predictions p{"p", {6, 5, 4, 3, 2, 1}, {0.9, 0.2, 0.1, 0.1, 0.6, 0.6}, {0.7, 0.7, 0.7, 0.7, 0.2, 0.3},
                      {0.8, 0.3, 0.9}, {0.5, 0.5, 0.25}};
  const std::vector<Predictions> systems{p};
  EvaluationOptions options = quick();
  const Report report = evaluate(made.lists, systems, options);
  CHECK(value(report, "pctr PCOC") == Approx(2.5 / 3));
  CHECK(value(report, "pcvr PCOC") == Approx(1.2));
  CHECK(value(report, "P_ctr log loss") == Approx(-(std::log(0.8) + std::log(0.7) + std::log(0.9)) / 3));
  CHECK(value(report, "P_cvr PCOC") == Approx(0.75));
  CHECK(value(report, "pctr GAUC") == 1.0);
  CHECK(row_of(report.tables[0], "pctr GAUC").used == 1);
  CHECK(row_of(report.tables[0], "pctr GAUC").skipped == 2);
  options.list_label = ListLabel::fraction;
  const Report fraction = evaluate(made.lists, systems, options);
  CHECK(value(fraction, "P_ctr PCOC") == Approx(2.0 / 1.5));
  CHECK(row_of(fraction.tables[0], "P_ctr AUC").cells[0].reason == "label is a fraction");
}

TEST_CASE("list.label = count: rates are no probabilities, and the report says so") {
  test::Lists made;
  made.add(0, {1, 0}, {1, 0});
  made.add(1, {0, 1}, {0, 0});
  const std::vector<Predictions> systems{initial_order(made.lists), {"p", {4, 3, 2, 1}, {0.9, 0.2, 0.1, 0.6}, {}, {}, {}}};
  EvaluationOptions options = quick();
  options.list_label = ListLabel::count;
  const Report report = evaluate(made.lists, systems, options);
  for (const char* row : {"P_ctr AUC", "P_ctr PCOC", "P_cvr log loss"}) {
    for (const Cell& cell : row_of(report.tables[0], row).cells) CHECK(cell.reason == "list.label = count: rates, no probabilities");
  }
  CHECK(row_of(report.tables[0], "pctr AUC").cells[1].reason.empty());
  CHECK(to_text(report).find("n/a (list.label = count: rates, no probabilities)") != std::string::npos);
}

TEST_CASE("paired differences, slices, gap closed") {
  test::Lists made;
  test::add_random_lists(made, 400, 4);
  RandomStream random(9, "truth");
  std::vector<double> half;
  for (std::size_t r = 0; r < made.items.size(); ++r) {
    made.lists.true_conversion.push_back(random.uniform());
    half.push_back(made.lists.true_conversion.back() + 0.5 * random.uniform());
  }
  Slice slice{"even", {}}, empty{"empty", std::vector<std::uint8_t>(400, 0)};
  for (int l = 0; l < 400; ++l) slice.member.push_back(l % 2 == 0);
  made.lists.slices = {slice, empty};
  const std::vector<Predictions> systems{initial_order(made.lists), {"truth", made.lists.true_conversion, {}, {}, {}, {}},
                                         {"half", half, {}, {}, {}, {}}};
  const Report report = evaluate(made.lists, systems, quick());
  CHECK(value(report, "gap closed", 0) == 0.0);
  CHECK(value(report, "gap closed", 1) == 1.0);
  CHECK(value(report, "gap closed", 2) > 0.5);
  CHECK(value(report, "gap closed", 2) < 1.0);
  REQUIRE(report.tables.size() == 3);  // a slice without lists has no table
  const Table& differences = report.tables[1];
  CHECK(differences.columns == std::vector<std::string>{"initial order", "truth"});
  const Estimate lead = row_of(differences, "NDCG@10 true conversion").cells[0].estimate;
  CHECK(lead.value == Approx(value(report, "NDCG@10 true conversion", 2) - value(report, "NDCG@10 true conversion", 0)));
  CHECK(lead.low > 0);
  CHECK(report.tables[2].lists == 200);
  const Row& sliced = row_of(report.tables[2], "MRR target");
  CHECK(sliced.used + sliced.skipped == 200);
  CHECK(to_json(report) == to_json(evaluate(made.lists, systems, quick())));
}

TEST_CASE("a row or a slice of few users has values and no intervals") {
  test::Lists made;
  Slice five{"five", {}}, six{"six", {}};
  for (std::int32_t user = 0; user < 12; ++user) {
    made.add(user, {0, 1, 1}, {0, static_cast<std::uint8_t>(user < 5), 0});
    five.member.push_back(user < 5), six.member.push_back(user < 6);
  }
  made.lists.slices = {five, six};
  const std::vector<double> p(36, 0.3);
  const std::vector<Predictions> systems{initial_order(made.lists), {"p", p, p, p, {}, {}}};
  const Report report = evaluate(made.lists, systems, quick());
  const auto sure = [&](std::size_t table, const char* row) {
    const Estimate& e = row_of(report.tables[table], row).cells.back().estimate;
    CHECK_FALSE(std::isnan(e.value));
    CHECK(std::isnan(e.low) == (e.replicates == 0));
    return !std::isnan(e.low);
  };
  CHECK(sure(0, "NDCG@10 click"));
  CHECK_FALSE(sure(0, "NDCG@10 conversion"));  // five have one
  CHECK(sure(0, "pctr AUC"));
  CHECK(sure(0, "pcvr log loss"));
  CHECK(sure(1, "NDCG@10 click"));
  CHECK_FALSE(sure(1, "NDCG@10 conversion"));
  CHECK_FALSE(sure(2, "NDCG@10 click"));
  CHECK(sure(3, "NDCG@10 click"));
}

TEST_CASE("whole orders: the truth of the order shown, what a model says of it, and the gap to the best order found") {
  test::Lists made;
  test::add_random_lists(made, 60, 4);
  RandomStream random(9, "truth");
  made.lists.truth.dials = {1, 0.5};
  for (std::size_t r = 0; r < made.items.size(); ++r) {
    made.lists.truth.item.push_back({random.uniform(), random.uniform(), static_cast<std::int32_t>(random.below(4)), 0});
    made.lists.true_conversion.push_back(made.lists.truth.item[r].click * made.lists.truth.item[r].convert);
  }
  made.lists.best_order = best_order(made.lists.truth, made.lists.offsets);
  std::vector<Predictions> systems{initial_order(made.lists), {"oracle", made.lists.true_conversion, {}, {}, {}, {}},
                                   {"best", made.lists.best_order, {}, {}, {}, {}}};
  systems[2].order_ctr.assign(60, 0.25), systems[2].order_cvr.assign(60, 0.125);
  const Report report = evaluate(made.lists, systems, quick());

  TrueValue expected;  // of the initial order, over all lists
  for (std::size_t l = 0; l < 60; ++l) {
    const auto begin = static_cast<std::size_t>(made.lists.offsets[l]), end = static_cast<std::size_t>(made.lists.offsets[l + 1]);
    const TrueValue v = true_value(std::span(made.lists.truth.item).subspan(begin, end - begin), made.lists.truth.dials);
    expected.clicks += v.clicks / 60, expected.conversions += v.conversions / 60;
    expected.any_click += v.any_click / 60, expected.any_conversion += v.any_conversion / 60;
  }
  CHECK(value(report, "true clicks a list", 0) == Approx(expected.clicks));
  CHECK(value(report, "true conversions a list", 0) == Approx(expected.conversions));
  CHECK(value(report, "P_ctr, true", 0) == Approx(expected.any_click));
  CHECK(value(report, "P_ctr*P_cvr, true", 0) == Approx(expected.any_conversion));
  CHECK(value(report, "P_ctr, predicted", 2) == Approx(0.25));
  CHECK(value(report, "P_ctr*P_cvr, predicted", 2) == Approx(0.125));
  CHECK(row_of(report.tables[0], "P_ctr, predicted").cells[0].reason == "nobody judged the order");
  CHECK(value(report, "gap closed, whole orders", 0) == 0.0);
  CHECK(value(report, "gap closed, whole orders", 1) < 1.0);
  CHECK(value(report, "gap closed, whole orders", 2) == 1.0);
  CHECK(value(report, "gap closed", 1) == 1.0);
  CHECK(value(report, "gap closed", 2) < 1.0);
  const Row& lead = row_of(report.tables[1], "true conversions a list");
  CHECK(lead.cells[1].estimate.value == Approx(value(report, "true conversions a list", 2) - value(report, "true conversions a list", 1)));
  CHECK(lead.used == 60);

  EvaluationOptions fractions = quick();
  fractions.list_label = ListLabel::fraction;
  const Report shares = evaluate(made.lists, systems, fractions);
  CHECK(value(shares, "P_ctr, true", 0) < value(report, "P_ctr, true", 0));
}

TEST_CASE("equal scores by initial rank, where a heuristic serves") {
  test::Lists made;
  made.add(0, {0, 0, 0, 0}, {0, 0, 0, 0});
  made.add(0, {0, 0}, {0, 0});
  const std::vector<double> score{0, 3, 3, 1, 5, 5};
  CHECK(break_ties_by_rank(made.lists, score) == std::vector<double>{-3, 0, -1, -2, 0, -1});
}

TEST_CASE("no lists, wrong sizes and predictions that are no probabilities are refused") {
  test::Lists made;
  EvaluationOptions options = quick();
  std::vector<Predictions> systems(1);
  CHECK_THROWS_AS(evaluate(made.lists, systems, options), Error);
  made.add(0, {1, 0}, {0, 0});
  systems[0].score = {1};
  CHECK_THROWS_AS(evaluate(made.lists, systems, options), Error);
  systems[0].score = {1, 0};
  systems[0].pctr = {1.5, 0.5};
  CHECK_THROWS_AS(evaluate(made.lists, systems, options), Error);
}
