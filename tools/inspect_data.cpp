// A packed data set in numbers: sizes, lists, labels, histories, and how much of it the training part has never seen.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <map>
#include <string_view>

#include "data/dataset.h"
#include "data/dataset_columns.h"
#include "data/labels.h"
#include "piano/training_part.h"
#include "tools/inspect.h"
#include "tools/inspect_suspicions.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

using Json = nlohmann::ordered_json;

double share(double part, double whole) { return whole > 0 ? part / whole : 0.0; }

Json spread(std::vector<std::int64_t> values) {
  if (values.empty()) return Json::object();
  std::sort(values.begin(), values.end());
  double sum = 0;
  for (const std::int64_t v : values) sum += static_cast<double>(v);
  const auto at = [&](double q) { return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))]; };
  return {{"least", values.front()}, {"median", at(0.5)}, {"mean", sum / static_cast<double>(values.size())}, {"nine_in_ten_up_to", at(0.9)},
          {"most", values.back()}};
}

struct Labels {
  double labelled = 0, clicks = 0, conversions = 0, lists = 0, clicked_lists = 0, converted_lists = 0;
};

Labels count_labels(const data::Dataset& d) {
  Labels n;
  const auto click = d.clicks(), conversion = d.conversions(), labelled = d.labelled();
  for (std::int64_t r = 0; r < d.size(); ++r) {
    double items = 0, y = 0, z = 0;
    for (auto c = static_cast<std::size_t>(d.candidate_begin(r)); c < static_cast<std::size_t>(d.candidate_end(r)); ++c) {
      if (labelled[c] == 0) continue;
      items += 1, y += click[c], z += conversion[c];
    }
    if (items == 0) continue;
    n.labelled += items, n.clicks += y, n.conversions += z;
    n.lists += 1, n.clicked_lists += y > 0 ? 1 : 0, n.converted_lists += z > 0 ? 1 : 0;
  }
  return n;
}

// Of the test part: what the training part has not seen, and what has no embedding of its own, because that saw it too seldom.
struct Cold {
  struct Of { double all = 0, unseen = 0, without = 0; } users, queries, candidates;
};

Cold count_cold(const data::Dataset& d) {
  const data::FeatureSpace& f = d.features();
  const TrainingPart training(d);
  Cold n;
  const auto count = [](Cold::Of& of, bool unseen, std::int32_t row) {
    of.all += 1, of.unseen += unseen ? 1 : 0, of.without += row == data::kOutOfVocabulary ? 1 : 0;
  };
  for (const std::int64_t r : d.requests(data::Split::test)) {
    if (!d.user(r).empty()) count(n.users, training.unseen_user(r), f.user.find(d.user(r)));
    if (!d.query(r).empty()) count(n.queries, training.unseen_query(r), f.query.find(d.query(r)));
    for (std::int64_t c = d.candidate_begin(r); c < d.candidate_end(r); ++c) count(n.candidates, training.unseen_item(c), f.item.find(d.item(c)));
  }
  return n;
}

// Vectors of items: from the table that came with the log, and from the requests, which go before it.
Json vectors_of(const data::Dataset& d) {
  const data::ItemVectors& table = d.features().item_vectors;
  const data::Dataset::Columns& log = d.columns();
  std::vector<bool> known;
  for (std::int64_t i = 0; i < log.strings.items.size(); ++i) known.push_back(table.find(log.strings.items[i]) != data::ItemVectors::kNone);
  double own = 0, any = 0, events = 0, past = 0;
  for (std::size_t c = 0; c < log.item.size(); ++c) {
    const bool has = log.vector.has(static_cast<std::int64_t>(c));
    own += has, any += has || known[static_cast<std::size_t>(log.item[c])];
  }
  for (const std::int32_t item : log.event_item)
    if (item >= 0) events += 1, past += known[static_cast<std::size_t>(item)];
  const auto candidates = static_cast<double>(log.item.size());
  return {{"width", d.features().schema.item_vector},
          {"rows_of_the_table", table.size()},
          {"items_in_the_table", share(static_cast<double>(std::count(known.begin(), known.end(), true)), static_cast<double>(known.size()))},
          {"candidates_with_a_vector", share(any, candidates)},
          {"candidates_with_one_of_the_request", share(own, candidates)},
          {"past_items_with_a_vector", share(past, events)}};
}

// Each kind of conversion that has a name: a section of its own.
void describe_kinds(const data::Dataset& d, Json& out, std::vector<std::string>& warnings) {
  const data::Dataset::Columns& log = d.columns();
  for (std::size_t k = 0; k < log.strings.kinds.size(); ++k) {
    double labelled = 0, known = 0, clicks = 0, happened = 0, worth = 0;
    for (std::size_t c = 0; c < log.item.size(); ++c) {
      const auto row = static_cast<std::int64_t>(c);
      labelled += log.labelled[c];
      if (log.labelled[c] == 0 || log.conversions[k][c] == data::kUnknownLabel) continue;
      known += 1, clicks += log.click[c], happened += log.conversions[k][c];
      const double value = log.values[k].has(row) ? log.values[k][row][0] : log.value.has(row) ? log.value[row][0] : 1.0;
      worth += log.conversions[k][c] * value;
    }
    const std::string& kind = log.strings.kinds[k];
    Json& card = out["conversion " + kind] = {{"known", share(known, labelled)}, {"given_click", share(happened, clicks)}};
    if (happened > 0) card["mean_value"] = worth / happened;
    if (clicks > 0 && happened == 0) warnings.push_back("constant label: no candidate has the conversion '" + kind + "'");
    if (happened > 0 && happened == clicks)
      warnings.push_back("every click that the conversion '" + kind + "' is known of has it: name it where it did not happen, too");
  }
}

void warn_labels(const Labels& n, std::vector<std::string>& warnings) {
  if (n.labelled == 0) return warnings.push_back("nothing is labelled: fit to be re-ranked, not to train or evaluate");
  if (n.clicks == 0) warnings.push_back("constant label: no candidate was clicked");
  if (n.clicks == n.labelled) warnings.push_back("constant label: every candidate was clicked");
  if (n.clicks > 0 && n.conversions == 0) warnings.push_back("constant label: no candidate was converted, conversion terms are switched off");
  if (n.clicks > 0 && n.conversions == n.clicks) warnings.push_back("every click converts: conversion says nothing that click does not");
  if (n.clicked_lists == n.lists && n.clicks < n.labelled) {
    warnings.push_back("constant label: every list has a click, so P_ctr has nothing to learn with list.label = any");
  }
  if (n.conversions > 0 && n.converted_lists == n.lists) {
    warnings.push_back("constant label: every list has a conversion, so P_cvr has nothing to learn with list.label = any");
  }
}

}  // namespace

void inspect_data(const std::string& path, Json& out, std::vector<std::string>& warnings) {
  const data::Dataset d(path);
  const data::FeatureSpace& f = d.features();
  std::map<std::string_view, std::int64_t> users;  // requests of each
  std::vector<std::int64_t> lengths, histories;
  std::int64_t parts[3] = {}, with_history = 0, targets = 0, first = INT64_MAX, last = INT64_MIN;
  for (std::int64_t r = 0; r < d.size(); ++r) {
    ++parts[static_cast<int>(d.split(r))];
    if (!d.user(r).empty()) ++users[d.user(r)];
    lengths.push_back(d.candidate_end(r) - d.candidate_begin(r));
    histories.push_back(d.history_size(r));
    with_history += histories.back() > 0 ? 1 : 0;
    targets += d.target(r) >= 0 ? 1 : 0;
    if (d.time(r) != INT64_MIN) first = std::min(first, d.time(r)), last = std::max(last, d.time(r));
  }
  const auto total = static_cast<double>(d.size());
  const Labels n = count_labels(d);
  const Cold cold = count_cold(d);

  out["size"] = {{"requests", d.size()}, {"users", users.size()}, {"items", d.raw_items()}, {"candidates", d.clicks().size()},
                 {"requests_with_target", targets}};
  if (first <= last) out["size"]["from_time"] = first, out["size"]["to_time"] = last;
  out["split"] = {{"log", d.metadata("format")}, {"kind", d.metadata("split")}, {"train", parts[0]}, {"valid", parts[1]}, {"test", parts[2]}};
  for (const char* key : {"folds", "fold", "valid_from", "test_from"}) {
    if (!d.metadata(key).empty()) out["split"][key] = d.metadata(key);
  }
  std::vector<std::int64_t> of_user;
  for (const auto& [user, requests] : users) of_user.push_back(requests);
  if (!users.empty()) out["requests_per_user"] = spread(of_user);
  out["list_length"] = spread(lengths);
  out["history_length"] = spread(histories);
  out["history_length"]["share_with_history"] = share(static_cast<double>(with_history), total);
  out["rates"] = {{"labelled_candidates", share(n.labelled, static_cast<double>(d.clicks().size()))},
                  {"click", share(n.clicks, n.labelled)},
                  {"conversion_given_click", share(n.conversions, n.clicks)},
                  {"lists_with_a_click", share(n.clicked_lists, n.lists)},
                  {"lists_without_a_click", share(n.lists - n.clicked_lists, n.lists)},
                  {"lists_with_a_conversion", share(n.converted_lists, n.lists)}};
  describe_kinds(d, out, warnings);
  if (cold.candidates.all > 0) {
    out["unseen_in_test"] = {{"users", share(cold.users.unseen, cold.users.all)}, {"queries", share(cold.queries.unseen, cold.queries.all)},
                             {"candidates", share(cold.candidates.unseen, cold.candidates.all)}};
    out["without_embedding_in_test"] = {{"users", share(cold.users.without, cold.users.all)}, {"queries", share(cold.queries.without, cold.queries.all)},
                                        {"candidates", share(cold.candidates.without, cold.candidates.all)}};
  }
  if (f.schema.ngrams.on()) out["ngrams"] = ngrams_json(f.schema.ngrams);
  if (f.schema.item_vector > 0) out["item_vectors"] = vectors_of(d);
  out["vocabularies"] = {{"user", f.user.rows()}, {"query", f.query.rows()}, {"term", f.term.rows()}, {"item", f.item.rows()},
                         {"action", f.action.rows()}, {"min_count", d.metadata("min_count")}};

  warn_labels(n, warnings);
  inspect_suspicions(d, out, warnings);
  if (with_history == 0) warnings.push_back("no history: no request has a past, QDIR has nothing to attend to");
  if (users.empty()) warnings.push_back("no users: intervals treat every request as a user of its own");
  if (users.size() > 1 && *std::max_element(of_user.begin(), of_user.end()) == 1)
    warnings.push_back("one list a user: no user is known from an earlier list, and a history is only what the log gives with the list");
  if (parts[0] == 0) warnings.push_back("no training part: fit for piano evaluate, not for piano train");
  if (parts[0] > 0) {
    const auto warn = [&](const char* what, const Cold::Of& of) {
      if (of.without > 0.5 * of.all) warnings.push_back("cold: " + percent_text(1, of.without / of.all) + " of the test part's " + what + " have no embedding: unseen in training, or too rare there");
    };
    if (d.metadata("split") != "user") warn("users", cold.users);
    warn("queries", cold.queries);
    warn("candidates", cold.candidates);
  }
}

}  // namespace piano::tools
