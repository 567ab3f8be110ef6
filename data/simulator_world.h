// What exists in the simulator before the first request: the catalogue and the users. docs/simulator.md explains each number.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/simulator.h"
#include "engine/base/random.h"

namespace piano::data {

inline constexpr std::int32_t kGenres = 12, kMoods = 8, kArtists = 400, kTracks = 4000;
inline constexpr std::int32_t kMoodsPerUser = 3, kLovedArtists = 8;
inline constexpr std::int32_t kNoMood = kMoods;  // the row of a taste table that holds when the user looks up an artist or a title

extern const std::array<std::string_view, kGenres> kGenreNames;
extern const std::array<std::array<std::string_view, 5>, kMoods> kMoodWords;
extern const std::array<std::string_view, kMoods> kSharedWords;  // word m is said by people in mood m and in mood m + 1
extern const std::array<std::string_view, 4> kGenericWords;      // say nothing of the mood

// Draws one of some things with given weights.
class Lottery {
 public:
  void add(std::int32_t thing, double weight) {
    things_.push_back(thing);
    cumulative_.push_back((cumulative_.empty() ? 0.0 : cumulative_.back()) + weight);
  }
  bool empty() const { return things_.empty(); }
  std::size_t size() const { return things_.size(); }
  std::int32_t draw(RandomStream& random) const;  // requires: not empty

 private:
  std::vector<std::int32_t> things_;
  std::vector<double> cumulative_;
};

struct Artist {
  std::string id, name;
  std::int32_t genre = 0;
  Lottery tracks;
};

struct Track {
  std::string id, title;
  std::int32_t artist = 0, genre = 0, mood = 0;
  double quality = 0;         // mean 0, variance 1
  double log_popularity = 0;  // log of its Zipf weight
};

struct User {
  std::string id;
  double ease = 0;                                           // how easily pleased
  std::array<std::int32_t, kMoodsPerUser> moods{};           // the most frequent first
  std::array<std::array<std::int8_t, kGenres>, kMoods + 1> taste{};  // (mood, genre): -1 dislikes, 0, +1 loves
  std::array<std::int32_t, kLovedArtists> loved{};
};

struct World {
  explicit World(const SimulatorOptions& options);

  std::vector<Artist> artists;
  std::vector<Track> tracks;
  std::vector<User> users;
  Lottery any_track, any_artist, any_user;
  std::array<Lottery, kGenres> genre_tracks;
  std::array<Lottery, kMoods> mood_tracks;

 private:
  void make_catalogue(RandomStream random);
  void make_users(const SimulatorOptions& options, std::int32_t count);
};

}  // namespace piano::data
