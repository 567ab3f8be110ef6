#include "data/simulator.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "data/request_json.h"
#include "data/simulator_response.h"
#include "data/simulator_world.h"
#include "engine/base/error.h"
#include "engine/base/safetensors.h"

namespace piano::data {
namespace {

constexpr double kMoodQueries = 0.60, kAmbiguousQueries = 0.10, kArtistQueries = 0.20;  // the rest look up a title
constexpr std::array<double, kMoodsPerUser> kMoodShare = {0.5, 0.3, 0.2};
constexpr std::int64_t kFirstTime = 1'600'000'000, kLongestGap = 60;
constexpr std::uint64_t kShortestList = 10, kLongestList = 30;

// Thresholds and weights of the two choices, in standard deviations of a user's whim.
constexpr double kClickThreshold = 1.05, kClickTaste = 0.70, kClickLoved = 0.5, kClickRelevance = 0.35, kClickQuality = 0.20;
constexpr double kConvertThreshold = 0.95, kConvertTaste = 0.75, kConvertLoved = 0.9, kConvertQuality = 0.15;
// Who follows an artist: love counts, the mood's taste hardly. A save is worth 1.
constexpr double kFollowThreshold = 1.6, kFollowTaste = 0.2, kFollowLoved = 1.4;
constexpr float kFollowValue = 3;
// The first ranker sees quality and the words of the query, through noise.
constexpr double kRankQuality = 0.7, kRankRelevance = 0.8, kRankNoise = 0.6;

double probit(double utility) { return 0.5 * std::erfc(-utility / std::sqrt(2.0)); }

enum class Kind { mood, ambiguous, artist, title };

// What the user wants and what the user says.
struct Wish {
  Kind kind = Kind::mood;
  std::int32_t mood = kNoMood;             // the row of the taste table; kNoMood for artist and title
  std::int32_t artist = -1, track = -1;
  std::string words;
};

struct Listed {
  std::int32_t track = 0;
  float score = 0;
  std::size_t place = 0;  // where it is shown, from 0
  double seen = 1;        // factor on P(click): examination and competition
  double follow = 0;      // P(follow | click)
};

class Simulator {
 public:
  explicit Simulator(const SimulatorOptions& options)
      : options_(options), world_(options), wishes_(options.seed, "simulator.wishes"), retrieval_(options.seed, "simulator.retrieval"),
        ranker_(options.seed, "simulator.ranker"), swaps_(options.seed, "simulator.swaps"), choices_(options.seed, "simulator.choices"),
        follows_(options.seed, "simulator.follows") {}

  std::string line(std::int64_t index, SimulatorOracle* oracle);

 private:
  const Track& track(std::int32_t index) const { return world_.tracks[static_cast<std::size_t>(index)]; }
  Wish make_wish(const User& user);
  void retrieve(const Wish& wish);
  void rank(const Wish& wish);
  void place();
  void judge(const User& user, const Wish& wish);
  double relevance(const Wish& wish, const Track& track, std::int32_t index) const;
  double words_match(const Wish& wish, const Track& track, std::int32_t index) const;

  SimulatorOptions options_;
  World world_;
  RandomStream wishes_, retrieval_, ranker_, swaps_, choices_, follows_;
  std::int64_t time_ = kFirstTime;
  std::vector<Listed> list_;      // in the first ranker's order
  std::vector<TrueItem> shown_;   // in the order shown
  bool swapped_ = false;
  Response response_;             // to shown_
};

Wish Simulator::make_wish(const User& user) {
  Wish wish;
  const double kind = wishes_.uniform(), which = wishes_.uniform();
  const std::size_t slot = which < kMoodShare[0] ? 0 : which < kMoodShare[0] + kMoodShare[1] ? 1 : 2;
  const auto mood = static_cast<std::size_t>(user.moods[slot]);
  if (kind < kMoodQueries) {
    wish.mood = user.moods[slot];
    const auto& words = kMoodWords[mood];
    const std::size_t first = wishes_.below(words.size()), second = wishes_.below(words.size());
    wish.words = words[first];
    if (second != first && wishes_.uniform() < 0.5) wish.words += " " + std::string(words[second]);
    else if (wishes_.uniform() < 0.5) wish.words += " " + std::string(kGenericWords[wishes_.below(kGenericWords.size())]);
  } else if (kind < kMoodQueries + kAmbiguousQueries) {
    wish.kind = Kind::ambiguous;
    wish.mood = user.moods[slot];
    const bool shared = wishes_.uniform() < 0.5, previous = wishes_.uniform() < 0.5;
    const std::size_t generic = wishes_.below(kGenericWords.size());
    wish.words = shared ? kSharedWords[previous ? (mood + kMoods - 1) % kMoods : mood] : kGenericWords[generic];
  } else if (kind < kMoodQueries + kAmbiguousQueries + kArtistQueries) {
    wish.kind = Kind::artist;
    const bool loved = wishes_.uniform() < 0.5;
    const std::int32_t other = world_.any_artist.draw(wishes_);
    wish.artist = loved ? user.loved[wishes_.below(user.loved.size())] : other;
    wish.words = world_.artists[static_cast<std::size_t>(wish.artist)].name;
  } else {
    wish.kind = Kind::title;
    wish.track = world_.any_track.draw(wishes_);
    wish.artist = track(wish.track).artist;
    wish.words = track(wish.track).title;
  }
  return wish;
}

// Fills list_ with different tracks.
void Simulator::retrieve(const Wish& wish) {
  list_.clear();
  const std::size_t size = kShortestList + retrieval_.below(kLongestList - kShortestList + 1);
  const auto take = [&](std::int32_t index) {
    const bool taken = std::any_of(list_.begin(), list_.end(), [&](const Listed& s) { return s.track == index; });
    if (taken || list_.size() == size) return;
    list_.push_back({.track = index});
  };
  // A tenth of the list's length in draws, `tenths` times over; what was drawn before is drawn in vain.
  const auto draw = [&](const Lottery& lottery, std::size_t tenths) {
    if (lottery.empty()) return;
    for (std::size_t i = 0; i < (size * tenths + 9) / 10; ++i) take(lottery.draw(retrieval_));
  };
  if (wish.kind == Kind::mood) draw(world_.mood_tracks[static_cast<std::size_t>(wish.mood)], 5);
  if (wish.kind == Kind::title) take(wish.track);
  if (wish.artist >= 0) {
    const Artist& artist = world_.artists[static_cast<std::size_t>(wish.artist)];
    draw(artist.tracks, wish.kind == Kind::artist ? 5 : 2);
    draw(world_.genre_tracks[static_cast<std::size_t>(artist.genre)], 3);
  }
  while (list_.size() < size) take(world_.any_track.draw(retrieval_));
}

// What the words of the query say of a track: all that the first ranker can see.
double Simulator::words_match(const Wish& wish, const Track& t, std::int32_t index) const {
  switch (wish.kind) {
    case Kind::mood: return t.mood == wish.mood ? 1.0 : 0.0;
    case Kind::ambiguous: return 0.0;
    case Kind::artist: return t.artist == wish.artist ? 1.0 : 0.0;
    case Kind::title: return index == wish.track ? 3.0 : t.artist == wish.artist ? 1.0 : 0.0;
  }
  return 0.0;
}

// What the user meant: as the words, and in ambiguous queries the mood that they do not say.
double Simulator::relevance(const Wish& wish, const Track& t, std::int32_t index) const {
  if (wish.kind == Kind::ambiguous) return t.mood == wish.mood ? 1.0 : 0.0;
  return words_match(wish, t, index);
}

void Simulator::rank(const Wish& wish) {
  for (Listed& listed : list_) {
    const Track& t = track(listed.track);
    const double score =
        kRankQuality * t.quality + kRankRelevance * words_match(wish, t, listed.track) + kRankNoise * ranker_.normal();
    listed.score = static_cast<float>(std::round(score * 1000.0) / 1000.0);
  }
  std::stable_sort(list_.begin(), list_.end(), [](const Listed& a, const Listed& b) { return a.score > b.score; });
}

// Where each is shown: in the ranker's order, except that now and then two change places (the swap experiment of Joachims et al. 2017).
void Simulator::place() {
  for (std::size_t i = 0; i < list_.size(); ++i) list_[i].place = i;
  swapped_ = swaps_.uniform() < options_.swap;
  const std::size_t first = swaps_.below(list_.size()), other = swaps_.below(list_.size() - 1);
  if (swapped_) std::swap(list_[first].place, list_[other + (other >= first ? 1 : 0)].place);
}

// The true probabilities of the list as it is shown.
void Simulator::judge(const User& user, const Wish& wish) {
  const auto& taste = user.taste[static_cast<std::size_t>(wish.mood)];
  shown_.resize(list_.size());
  for (Listed& listed : list_) {
    const Track& t = track(listed.track);
    const double likes = taste[static_cast<std::size_t>(t.genre)];
    const double loved = std::count(user.loved.begin(), user.loved.end(), t.artist) > 0 ? 1.0 : 0.0;
    TrueItem& item = shown_[listed.place];
    item.click = probit(kClickTaste * likes + kClickLoved * loved + kClickRelevance * relevance(wish, t, listed.track) +
                        kClickQuality * t.quality + user.ease - kClickThreshold);
    item.convert = probit(kConvertTaste * likes + kConvertLoved * loved + kConvertQuality * t.quality - kConvertThreshold);
    item.artist = t.artist, item.genre = t.genre;
    listed.follow = probit(kFollowTaste * likes + kFollowLoved * loved - kFollowThreshold);
  }
  for (Listed& listed : list_) {
    listed.seen = competition(shown_, listed.place, options_.eta) * examination(listed.place + 1, options_.position_bias);
  }
}

void record(const std::vector<Listed>& list, const std::vector<TrueItem>& shown, std::string_view id, SimulatorOracle& oracle) {
  for (const Listed& listed : list) {
    const TrueItem& item = shown[listed.place];
    oracle.click.push_back(static_cast<float>(item.click));
    oracle.conversion.push_back(static_cast<float>(item.click * item.convert));
    oracle.click_shown.push_back(static_cast<float>(listed.seen * item.click));
    oracle.conversion_shown.push_back(static_cast<float>(listed.seen * item.click * item.convert));
    oracle.artist.push_back(item.artist);
    oracle.genre.push_back(item.genre);
  }
  oracle.offsets.push_back(static_cast<std::int64_t>(oracle.click.size()));
  oracle.ids.insert(oracle.ids.end(), id.begin(), id.end());
  oracle.id_offsets.push_back(static_cast<std::int64_t>(oracle.ids.size()));
}

std::string Simulator::line(std::int64_t index, SimulatorOracle* oracle) {
  time_ += 1 + static_cast<std::int64_t>(wishes_.below(kLongestGap));
  const User& user = world_.users[static_cast<std::size_t>(world_.any_user.draw(wishes_))];
  const Wish wish = make_wish(user);
  retrieve(wish);
  rank(wish);
  place();
  judge(user, wish);
  respond(shown_, {options_.eta, options_.position_bias}, choices_, response_);

  const std::string id = "synthetic-" + std::to_string(options_.seed) + "-" + std::to_string(index);
  // Views into the world, and room that does not move while the request is written.
  std::vector<std::array<std::string_view, 2>> values(list_.size());
  std::vector<std::array<Field, 2>> fields(list_.size());
  std::vector<std::array<float, 2>> dense(list_.size());
  std::vector<Candidate> candidates(list_.size());
  std::vector<std::array<KindLabel, 2>> labels(list_.size());
  constexpr std::array<KindValue, 2> worth{{{"follow", kFollowValue}, {"save", 1}}};
  for (std::size_t i = 0; i < list_.size(); ++i) {
    const Listed& listed = list_[i];
    const Track& t = track(listed.track);
    values[i] = {world_.artists[static_cast<std::size_t>(t.artist)].id, kGenreNames[static_cast<std::size_t>(t.genre)]};
    fields[i][0] = {"artist", {&values[i][0], 1}};
    fields[i][1] = {"genre", {&values[i][1], 1}};
    dense[i] = {static_cast<float>(std::round(t.log_popularity * 1000.0) / 1000.0), static_cast<float>(words_match(wish, t, listed.track))};
    Candidate& candidate = candidates[i];
    candidate.id = t.id;
    candidate.score = listed.score;
    candidate.fields = fields[i];
    candidate.dense = dense[i];
    candidate.click = response_.click[listed.place] != 0;
    const bool converts = response_.conversion[listed.place] != 0;
    if (options_.kinds == 1) {
      candidate.conversion = converts;
    } else {
      labels[i] = {{{"follow", follows_.uniform() < listed.follow && *candidate.click}, {"save", converts}}};
      candidate.conversions = labels[i];
      candidate.values = worth;
    }
    if (swapped_) candidate.position = static_cast<std::int32_t>(listed.place + 1);
  }
  if (oracle) record(list_, shown_, id, *oracle);

  Request request;
  request.id = id;
  request.time = time_;
  request.user = user.id;
  request.query.text = wish.words;
  request.candidates = candidates;
  return to_json(request) + "\n";
}

void check(const SimulatorOptions& options) {
  const auto refuse = [](const std::string& message) { throw Error(ErrorCode::usage, "simulate: " + message); };
  if (options.requests < 1) refuse("expected at least 1 request, got " + std::to_string(options.requests));
  if (options.users < 0) refuse("expected a number of users >= 0, got " + std::to_string(options.users));
  if (!(options.kappa >= 0 && options.kappa <= 1)) refuse("expected kappa between 0 and 1, got " + std::to_string(options.kappa));
  if (options.kinds < 1 || options.kinds > 2) refuse("expected 1 or 2 kinds of conversion, got " + std::to_string(options.kinds));
  if (!(options.eta >= 0 && options.eta <= 100)) refuse("expected eta between 0 and 100, got " + std::to_string(options.eta));
  if (!(options.swap >= 0 && options.swap <= 1)) refuse("expected swap between 0 and 1, got " + std::to_string(options.swap));
  if (!(options.position_bias >= 0 && options.position_bias <= 100))
    refuse("expected position_bias between 0 and 100, got " + std::to_string(options.position_bias));
}

}  // namespace

void simulate(const SimulatorOptions& options, const std::function<void(std::string_view)>& write_line, SimulatorOracle* oracle) {
  check(options);
  Simulator simulator(options);
  for (std::int64_t index = 0; index < options.requests; ++index) write_line(simulator.line(index, oracle));
}

void write_oracle(const SimulatorOptions& options, const SimulatorOracle& oracle, const std::string& path) {
  SafetensorsWriter writer(path);
  write_format(writer, "piano-oracle", 2, 1);
  writer.metadata("synthetic", "true");
  writer.metadata("seed", std::to_string(options.seed));
  writer.metadata("kappa", std::to_string(options.kappa));
  writer.metadata("eta", std::to_string(options.eta));
  writer.metadata("position_bias", std::to_string(options.position_bias));
  writer.metadata("swap", std::to_string(options.swap));
  writer.add("offsets", std::span<const std::int64_t>(oracle.offsets));
  writer.add("p_click", std::span<const float>(oracle.click));
  writer.add("p_conversion", std::span<const float>(oracle.conversion));
  writer.add("p_click_shown", std::span<const float>(oracle.click_shown));
  writer.add("p_conversion_shown", std::span<const float>(oracle.conversion_shown));
  writer.add("artist", std::span<const std::int32_t>(oracle.artist));
  writer.add("genre", std::span<const std::int32_t>(oracle.genre));
  writer.add("id_offsets", std::span<const std::int64_t>(oracle.id_offsets));
  writer.add("id_bytes", std::span<const std::uint8_t>(oracle.ids));
  writer.commit();
}

}  // namespace piano::data
