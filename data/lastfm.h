// Last.fm (HetRec 2011) as three tables, and what may be counted in them without telling a label.
//
// Plays have no time, so an artist that a user played can be an answer or something known beforehand, never both. A hash keyed by the seed
// decides, for each (user, artist): half of what was played is *visible*; everything else, played or not, is hidden and belongs to one of
// three label folds. No hidden play and no tag on a hidden artist is counted anywhere, for anybody: a count that lacks what the user himself
// contributed would differ by one just where he played the artist, and tell the label.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/interner.h"

namespace piano::data {

// The rows of the published files; users, artists and tags are numbered by first appearance.
struct LastfmLog {
  struct Play {
    std::int32_t user, artist;
    std::int64_t count;
  };
  struct Tagging {
    std::int32_t user, month, tag, artist;  // months since year 0
  };
  Interner users, artists, tags;            // by the files' ids
  std::vector<std::string> tag_names;       // by number; UTF-8
  std::vector<Play> plays;
  std::vector<Tagging> taggings;
};

enum class LastfmFold { train, valid, test };

// The draws: pure functions of the seed and the files' ids, whoever else is in the log and whether or not the artist was played.
class LastfmDraws {
 public:
  LastfmDraws(const LastfmLog& log, std::uint64_t seed) : log_(log), seed_(seed) {}
  bool unseen_user(std::int32_t user) const;                                           // a tenth: no list of theirs is for training
  bool valid_request(std::int32_t user, std::int32_t month, std::int32_t tag) const;   // a tenth of the others' requests
  bool visible_if_played(std::int32_t user, std::int32_t artist) const;                // half
  LastfmFold fold(std::int32_t user, std::int32_t artist) const;                       // 40 % train, 10 % valid, 50 % test

 private:
  double uniform(std::string_view kind, std::string_view a, std::string_view b, std::string_view c = {}) const;
  const LastfmLog& log_;
  std::uint64_t seed_;
};

// What is counted, from visible plays and tags on visible artists alone. Memory: 8 bytes a play and 12 a tagging.
class LastfmCounts {
 public:
  LastfmCounts(const LastfmLog& log, const LastfmDraws& draws);

  struct Tagged {
    std::int32_t artist, users;             // by how many users
  };
  std::span<const std::int32_t> plays_of(std::int32_t user) const { return plays_of_[at(user)]; }           // visible, most played last
  std::span<const std::int32_t> players_of(std::int32_t artist) const { return players_of_[at(artist)]; }
  std::span<const Tagged> artists_of(std::int32_t tag) const { return artists_of_[at(tag)]; }               // the top one first
  std::span<const std::int32_t> tags_of(std::int32_t artist) const { return tags_of_[at(artist)]; }         // its 5 most frequent

  // For every artist that the user does not see: sum over the visible artists b of cos(a, b) = |users of both| / sqrt(|users of a| |users of b|),
  // where the user is not among the users of b.
  void cosine(std::int32_t user, std::vector<double>& of_artist) const;  // (artists)

 private:
  static std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }
  std::vector<std::vector<std::int32_t>> plays_of_, players_of_, tags_of_;
  std::vector<std::vector<Tagged>> artists_of_;
};

}  // namespace piano::data
