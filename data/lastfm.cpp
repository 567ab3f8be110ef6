#include "data/lastfm.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "data/hash.h"

namespace piano::data {

double LastfmDraws::uniform(std::string_view kind, std::string_view a, std::string_view b, std::string_view c) const {
  return static_cast<double>(hash64(c, hash64(b, hash64(a, hash64(kind, seed_)))) >> 11) * 0x1p-53;  // [0, 1)
}

bool LastfmDraws::unseen_user(std::int32_t user) const { return uniform("unseen user", log_.users.text(user), {}) < 0.1; }

bool LastfmDraws::valid_request(std::int32_t user, std::int32_t month, std::int32_t tag) const {
  return uniform("valid request", log_.users.text(user), log_.tags.text(tag), std::to_string(month)) < 0.1;
}

bool LastfmDraws::visible_if_played(std::int32_t user, std::int32_t artist) const {
  return uniform("visible", log_.users.text(user), log_.artists.text(artist)) < 0.5;
}

LastfmFold LastfmDraws::fold(std::int32_t user, std::int32_t artist) const {
  const double u = uniform("fold", log_.users.text(user), log_.artists.text(artist));
  return u < 0.4 ? LastfmFold::train : u < 0.5 ? LastfmFold::valid : LastfmFold::test;
}

LastfmCounts::LastfmCounts(const LastfmLog& log, const LastfmDraws& draws)
    : plays_of_(at(log.users.size())), players_of_(at(log.artists.size())), tags_of_(at(log.artists.size())), artists_of_(at(log.tags.size())) {
  std::vector<LastfmLog::Play> plays = log.plays;
  std::erase_if(plays, [&](const LastfmLog::Play& p) { return !draws.visible_if_played(p.user, p.artist); });
  std::stable_sort(plays.begin(), plays.end(), [](const auto& a, const auto& b) { return a.count < b.count; });
  for (const LastfmLog::Play& p : plays) {
    plays_of_[at(p.user)].push_back(p.artist);
    players_of_[at(p.artist)].push_back(p.user);
  }
  for (auto& players : players_of_) std::sort(players.begin(), players.end());

  // Users per (tag, artist): each user once, whatever the number of months.
  std::vector<std::tuple<std::int32_t, std::int32_t, std::int32_t>> tagged;
  for (const LastfmLog::Tagging& t : log.taggings) {
    const auto players = players_of(t.artist);
    if (std::binary_search(players.begin(), players.end(), t.user)) tagged.emplace_back(t.tag, t.artist, t.user);
  }
  std::sort(tagged.begin(), tagged.end());
  tagged.erase(std::unique(tagged.begin(), tagged.end()), tagged.end());
  for (const auto& [tag, artist, user] : tagged) {
    auto& artists = artists_of_[at(tag)];
    if (artists.empty() || artists.back().artist != artist) artists.push_back({artist, 0});
    ++artists.back().users;
  }
  std::vector<std::vector<Tagged>> tag_counts(tags_of_.size());  // Tagged::artist holds the tag
  for (std::size_t tag = 0; tag < artists_of_.size(); ++tag)
    for (const Tagged& t : artists_of_[tag]) tag_counts[at(t.artist)].push_back({static_cast<std::int32_t>(tag), t.users});

  // Ties: the artist with more players, then by id; not by number, which a hidden play may have given.
  for (auto& artists : artists_of_)
    std::sort(artists.begin(), artists.end(), [&](const Tagged& a, const Tagged& b) {
      return std::tuple(a.users, players_of(a.artist).size(), log.artists.text(a.artist)) >
             std::tuple(b.users, players_of(b.artist).size(), log.artists.text(b.artist));
    });
  for (std::size_t artist = 0; artist < tag_counts.size(); ++artist) {
    std::stable_sort(tag_counts[artist].begin(), tag_counts[artist].end(), [](const Tagged& a, const Tagged& b) { return a.users > b.users; });
    for (const Tagged& t : std::span(tag_counts[artist]).first(std::min<std::size_t>(5, tag_counts[artist].size())))
      tags_of_[artist].push_back(t.artist);
  }
}

void LastfmCounts::cosine(std::int32_t user, std::vector<double>& of_artist) const {
  of_artist.assign(players_of_.size(), 0.0);
  for (const std::int32_t b : plays_of(user)) {
    const auto others = static_cast<double>(players_of(b).size()) - 1;  // without the user
    for (const std::int32_t v : players_of(b)) {
      if (v == user) continue;
      for (const std::int32_t a : plays_of(v)) of_artist[at(a)] += 1 / std::sqrt(others);
    }
  }
  for (std::size_t a = 0; a < of_artist.size(); ++a)
    if (of_artist[a] > 0) of_artist[a] /= std::sqrt(static_cast<double>(players_of_[a].size()));
}

}  // namespace piano::data
