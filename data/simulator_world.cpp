#include "data/simulator_world.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

namespace piano::data {

const std::array<std::string_view, kGenres> kGenreNames = {"pop",  "rock",    "hiphop", "electronic", "jazz",  "classical",
                                                           "folk", "country", "metal",  "soul",       "latin", "ambient"};
const std::array<std::array<std::string_view, 5>, kMoods> kMoodWords = {{
    {"workout", "gym", "running", "cardio", "training"},
    {"sleep", "bedtime", "lullaby", "insomnia", "dreaming"},
    {"focus", "study", "reading", "concentration", "homework"},
    {"party", "dancing", "birthday", "club", "celebration"},
    {"driving", "roadtrip", "commute", "highway", "travel"},
    {"rainy", "heartbreak", "lonely", "crying", "breakup"},
    {"dinner", "cooking", "kitchen", "wine", "guests"},
    {"morning", "wakeup", "coffee", "sunrise", "breakfast"},
}};
const std::array<std::string_view, kMoods> kSharedWords = {"quiet room", "calm", "beats", "friday", "night", "slow", "home", "energy"};
const std::array<std::string_view, 4> kGenericWords = {"music", "songs", "playlist", "hits"};

namespace {

constexpr double kTrackZipf = 0.7, kArtistZipf = 0.7, kGenreZipf = 0.5, kUserZipf = 0.3;
constexpr double kOwnGenre = 0.85;  // tracks in their artist's genre
constexpr double kLoves = 0.25, kDislikes = 0.35;
constexpr double kEaseDeviation = 0.25;

double zipf(std::size_t rank, double exponent) { return std::pow(static_cast<double>(rank + 1), -exponent); }

// Pseudo-words: pronounceable, and no word of a mood.
std::string make_word(RandomStream& random) {
  static constexpr std::string_view kOnsets[] = {"b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"};
  static constexpr std::string_view kVowels[] = {"a", "e", "i", "o", "u"};
  std::string word;
  for (int syllable = 0; syllable < 3; ++syllable) {
    word += kOnsets[random.below(std::size(kOnsets))];
    word += kVowels[random.below(std::size(kVowels))];
  }
  return word;
}

std::string make_name(RandomStream& random, std::set<std::string>& taken) {
  for (;;) {
    std::string first = make_word(random);
    std::string name = first + " " + make_word(random);
    if (taken.insert(name).second) return name;
  }
}

std::int8_t make_taste(RandomStream& random) {
  const double u = random.uniform();
  return u < kLoves ? std::int8_t{1} : u < kLoves + kDislikes ? std::int8_t{-1} : std::int8_t{0};
}

}  // namespace

std::int32_t Lottery::draw(RandomStream& random) const {
  const double at = random.uniform() * cumulative_.back();
  const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end() - 1, at);
  return things_[static_cast<std::size_t>(found - cumulative_.begin())];
}

World::World(const SimulatorOptions& options) {
  make_catalogue(RandomStream(options.seed, "simulator.catalogue"));
  const std::int64_t automatic = std::max<std::int64_t>(20, options.requests / 25);
  make_users(options, options.users > 0 ? options.users : static_cast<std::int32_t>(automatic));
}

void World::make_catalogue(RandomStream random) {
  Lottery genres;
  for (std::int32_t g = 0; g < kGenres; ++g) genres.add(g, zipf(static_cast<std::size_t>(g), kGenreZipf));
  std::set<std::string> names;

  artists.resize(kArtists);
  for (std::size_t a = 0; a < artists.size(); ++a) {
    artists[a].id = "a-" + std::to_string(a);
    artists[a].name = make_name(random, names);
    artists[a].genre = genres.draw(random);
    any_artist.add(static_cast<std::int32_t>(a), zipf(a, kArtistZipf));
  }

  tracks.resize(kTracks);
  std::vector<double> fame(tracks.size());
  for (std::size_t t = 0; t < tracks.size(); ++t) {
    Track& track = tracks[t];
    track.id = "t-" + std::to_string(t);
    track.title = make_name(random, names);
    track.artist = any_artist.draw(random);
    const std::int32_t own = artists[static_cast<std::size_t>(track.artist)].genre, other = genres.draw(random);
    track.genre = random.uniform() < kOwnGenre ? own : other;
    track.mood = static_cast<std::int32_t>(random.below(kMoods));
    track.quality = random.normal();
    fame[t] = track.quality + random.normal();
  }

  std::vector<std::size_t> by_fame(tracks.size());
  std::iota(by_fame.begin(), by_fame.end(), std::size_t{0});
  std::stable_sort(by_fame.begin(), by_fame.end(), [&](std::size_t a, std::size_t b) { return fame[a] > fame[b]; });
  for (std::size_t rank = 0; rank < by_fame.size(); ++rank) {
    Track& track = tracks[by_fame[rank]];
    const auto index = static_cast<std::int32_t>(by_fame[rank]);
    const double weight = zipf(rank, kTrackZipf);
    track.log_popularity = std::log(weight);
    any_track.add(index, weight);
    artists[static_cast<std::size_t>(track.artist)].tracks.add(index, weight);
    genre_tracks[static_cast<std::size_t>(track.genre)].add(index, weight);
    mood_tracks[static_cast<std::size_t>(track.mood)].add(index, weight);
  }
}

void World::make_users(const SimulatorOptions& options, std::int32_t count) {
  // Each kind of fact has its own stream, and kappa only chooses between two drawn tables: turning the dial changes nothing else.
  RandomStream facts(options.seed, "simulator.users"), general(options.seed, "simulator.taste.general");
  RandomStream own(options.seed, "simulator.taste.own"), choice(options.seed, "simulator.taste.choice");
  users.resize(static_cast<std::size_t>(count));
  for (std::size_t u = 0; u < users.size(); ++u) {
    User& user = users[u];
    user.id = "u-" + std::to_string(u);
    any_user.add(static_cast<std::int32_t>(u), zipf(u, kUserZipf));
    user.ease = kEaseDeviation * facts.normal();

    std::vector<std::int32_t> moods(kMoods);
    std::iota(moods.begin(), moods.end(), 0);
    facts.shuffle(moods);
    std::copy_n(moods.begin(), kMoodsPerUser, user.moods.begin());
    for (std::int32_t& artist : user.loved) artist = any_artist.draw(facts);

    for (auto& cell : user.taste[kNoMood]) cell = make_taste(general);
    for (std::size_t m = 0; m < kMoods; ++m) {
      for (std::size_t g = 0; g < kGenres; ++g) {
        const std::int8_t under_mood = make_taste(own);
        user.taste[m][g] = choice.uniform() < options.kappa ? under_mood : user.taste[kNoMood][g];
      }
    }
  }
}

}  // namespace piano::data
