#include "tools/demo_request.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "data/simulator_world.h"
#include "piano/evaluation_set.h"
#include "piano/metrics.h"
#include "piano/model_file.h"
#include "piano/predictor.h"
#include "tools/oracle.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

using Table = std::vector<std::vector<std::string>>;

// The mood that a query's first word says, or kNoMood.
std::size_t mood_of(std::string_view query) {
  const std::string_view word = query.substr(0, query.find(' '));
  for (std::size_t m = 0; m < data::kMoods; ++m) {
    const auto& words = data::kMoodWords[m];
    if (std::find(words.begin(), words.end(), word) != words.end()) return m;
  }
  return data::kNoMood;
}


// Everything that can be said of the demo's test part.
class Demo {
 public:
  Demo(const data::SimulatorOptions& options, const std::string& data, const std::string& model, const std::string& oracle)
      : world_(options), dataset_(data), model_(Model::load(model)), builder_(m().features, m().limits()) {
    builder_.attach(dataset_);
    requests_ = dataset_.requests(data::Split::test);
    const EvaluationSet set = evaluation_set(dataset_, requests_, m().features, builder_);
    truth_ = true_conversion(oracle, set.lists);
    ThreadPool pool(1);
    logits_ = Predictor(m().config, *m().network, m().parameters, m().features, builder_, pool).predict(dataset_, requests_);
    for (const data::Track& t : world_.tracks) tracks_.emplace(t.id, &t);
    for (const data::User& u : world_.users) users_.emplace(u.id, &u);
  }

  std::size_t choose() const;
  std::string show(std::size_t list);
  std::string attention_by_intent();

 private:
  const Model::Impl& m() const { return model_->impl(); }
  std::size_t first(std::size_t list) const { return static_cast<std::size_t>(logits_.offsets[list]); }
  std::size_t size(std::size_t list) const { return static_cast<std::size_t>(logits_.offsets[list + 1]) - first(list); }
  std::size_t candidate(std::size_t list, std::size_t place) const {
    return static_cast<std::size_t>(dataset_.candidate_begin(requests_[list])) + place;
  }
  std::vector<std::size_t> order(std::size_t list) const;
  double gain(std::size_t list) const;
  std::string taste(std::size_t list) const;
  std::string ranking(std::size_t list, const std::vector<std::size_t>& order) const;
  std::vector<double> weights(std::size_t list, data::Batch& batch);
  std::string attention(std::size_t list);
  std::string past_query(const data::Batch& batch, std::size_t row) const;
  std::string past_action(const data::Batch& batch, std::size_t row) const;

  data::World world_;
  data::Dataset dataset_;
  std::shared_ptr<const Model> model_;
  data::BatchBuilder builder_;
  std::vector<std::int64_t> requests_;
  std::vector<double> truth_;  // (rows): P(click and convert)
  PredictedLogits logits_;
  std::map<std::string_view, const data::Track*> tracks_;
  std::map<std::string_view, const data::User*> users_;
};

// Initial places in PIANO's order.
std::vector<std::size_t> Demo::order(std::size_t list) const {
  std::vector<std::size_t> places(size(list));
  std::iota(places.begin(), places.end(), std::size_t{0});
  const auto score = [&](std::size_t i) { return ranking_score(m().config, logits_, first(list) + i); };
  std::stable_sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) { return score(a) > score(b); });
  return places;
}

// In NDCG@10 of the true probabilities.
double Demo::gain(std::size_t list) const {
  std::vector<double> before, after;
  for (const std::size_t i : order(list)) after.push_back(truth_[first(list) + i]);
  for (std::size_t i = 0; i < size(list); ++i) before.push_back(truth_[first(list) + i]);
  return ndcg(after, 10).value_or(0) - ndcg(before, 10).value_or(0);
}

// The request with the largest gain among those that say an intent, have a past to look at, and ended in a conversion.
std::size_t Demo::choose() const {
  std::size_t best = 0;
  double best_gain = -2;
  for (std::size_t l = 0; l < requests_.size(); ++l) {
    double converted = 0;
    for (std::size_t i = 0; i < size(l); ++i) converted += dataset_.conversions()[candidate(l, i)];
    const bool telling = mood_of(dataset_.query(requests_[l])) != data::kNoMood && dataset_.history_size(requests_[l]) >= 8 && converted > 0;
    const double value = gain(l) + (telling ? 0 : -1);
    if (value > best_gain) best = l, best_gain = value;
  }
  return best;
}

std::string Demo::taste(std::size_t list) const {
  const data::User& user = *users_.at(dataset_.user(requests_[list]));
  const std::size_t mood = mood_of(dataset_.query(requests_[list]));
  std::string loves, dislikes;
  for (std::size_t g = 0; g < data::kGenres; ++g) {
    const int t = user.taste[mood][g];
    std::string& to = t > 0 ? loves : dislikes;
    if (t != 0) to += (to.empty() ? "" : ", ") + std::string(data::kGenreNames[g]);
  }
  return "  The truth, which the model never sees: with such a query this user likes " + (loves.empty() ? "nothing in particular" : loves) +
         ";\n  dislikes " + (dislikes.empty() ? "nothing in particular" : dislikes) + ".\n";
}

std::string Demo::ranking(std::size_t list, const std::vector<std::size_t>& order) const {
  Table rows{{"#", "was", "title", "artist", "genre", "logged", "true chance"}};
  for (std::size_t rank = 0; rank < std::min<std::size_t>(6, order.size()); ++rank) {
    const std::size_t place = order[rank], c = candidate(list, place);
    const data::Track& track = *tracks_.at(dataset_.item(static_cast<std::int64_t>(c)));
    const char* logged = dataset_.conversions()[c] != 0 ? "converted" : dataset_.clicks()[c] != 0 ? "clicked" : "";
    rows.push_back({std::to_string(rank + 1), std::to_string(place + 1), track.title, world_.artists[static_cast<std::size_t>(track.artist)].name,
                    std::string(data::kGenreNames[static_cast<std::size_t>(track.genre)]), logged, percent_text(0, truth_[first(list) + place])});
  }
  return aligned(rows, "rrllllr", "  ");
}

std::string Demo::past_query(const data::Batch& batch, std::size_t row) const {
  const std::int32_t id = batch.history_query.id[row];
  if (id >= data::kFirstId) return std::string(m().features.query.text(id));
  std::string words;
  const auto& terms = batch.history_query.terms;
  for (auto t = static_cast<std::size_t>(terms.offsets[row]); t < static_cast<std::size_t>(terms.offsets[row + 1]); ++t) {
    if (terms.ids[t] >= data::kFirstId && terms.ids[t] < m().features.term.rows()) words += (words.empty() ? "" : " ") + std::string(m().features.term.text(terms.ids[t]));
  }
  return words.empty() ? "(a rare query)" : words;
}

std::string Demo::past_action(const data::Batch& batch, std::size_t row) const {
  const std::int32_t action = batch.history_action[row], item = batch.history_item.id[row];
  std::string text = action >= data::kFirstId ? std::string(m().features.action.text(action)) : "event";
  if (text == "search") return "nothing clicked";
  if (item < data::kFirstId) return text;
  const data::Track& track = *tracks_.at(m().features.item.text(item));
  return text + ": " + track.title + " (" + std::string(data::kGenreNames[static_cast<std::size_t>(track.genre)]) + ")";
}

// QDIR's weight of each past event.
std::vector<double> Demo::weights(std::size_t list, data::Batch& batch) {
  builder_.build({&requests_[list], 1}, batch);
  Arena arena;
  Context ctx;
  ctx.device = &cpu_device();
  ctx.arena = &arena;
  ctx.parameters = &m().parameters;
  std::vector<double> weight(static_cast<std::size_t>(batch.history_rows()));
  m().network->attention_weights(ctx, batch, weight);
  return weight;
}

std::string Demo::attention(std::size_t list) {
  data::Batch batch;
  const std::vector<double> weight = weights(list, batch);
  if (weight.empty()) return "  This user has no past.\n";
  std::vector<std::size_t> by_weight(weight.size());
  std::iota(by_weight.begin(), by_weight.end(), std::size_t{0});
  std::stable_sort(by_weight.begin(), by_weight.end(), [&](std::size_t a, std::size_t b) { return weight[a] > weight[b]; });
  Table rows{{"weight", "past query", "what came of it"}};
  for (std::size_t i = 0; i < std::min<std::size_t>(6, weight.size()); ++i) {
    rows.push_back({percent_text(0, weight[by_weight[i]]), past_query(batch, by_weight[i]), past_action(batch, by_weight[i])});
  }
  const double nothing = 1 - std::accumulate(weight.begin(), weight.end(), 0.0);
  return "  What QDIR attended to among " + std::to_string(weight.size()) + " past events (" + percent_text(0, nothing) +
         " went to 'nothing matches'):\n" + aligned(rows, "rll", "  ");
}

// Over all test requests that say an intent: how much of the past is of the same intent, and how much of the attention it got.
std::string Demo::attention_by_intent() {
  data::Batch batch;
  double lists = 0, events_share = 0, weight_share = 0;
  for (std::size_t l = 0; l < requests_.size(); ++l) {
    const std::size_t mood = mood_of(dataset_.query(requests_[l]));
    if (mood == data::kNoMood || dataset_.history_size(requests_[l]) == 0) continue;
    const std::vector<double> weight = weights(l, batch);
    double same = 0, same_weight = 0;
    for (std::size_t e = 0; e < weight.size(); ++e) {
      if (mood_of(past_query(batch, e)) == mood) same += 1, same_weight += weight[e];
    }
    lists += 1, events_share += same / static_cast<double>(weight.size());
    weight_share += same_weight / std::accumulate(weight.begin(), weight.end(), 1e-12);
  }
  if (lists == 0) return "";
  return "  Over all test requests: past queries of the same intent are " + percent_text(0, events_share / lists) + " of the past and get " +
         percent_text(0, weight_share / lists) + " of the attention.\n";
}

std::string Demo::show(std::size_t list) {
  const std::int64_t request = requests_[list];
  std::vector<std::size_t> shown(size(list));
  std::iota(shown.begin(), shown.end(), std::size_t{0});
  return "  User " + std::string(dataset_.user(request)) + " searches for \"" + std::string(dataset_.query(request)) + "\".\n" + taste(list) +
         "\n  Before: as the first ranker showed it\n" + ranking(list, shown) + "\n  After: as PIANO orders it\n" + ranking(list, order(list)) +
         "\n" + attention(list);
}

}  // namespace

std::string show_request(const data::SimulatorOptions& options, const std::string& data, const std::string& model, const std::string& oracle) {
  Demo demo(options, data, model, oracle);
  return demo.show(demo.choose()) + demo.attention_by_intent();
}

}  // namespace piano::tools
