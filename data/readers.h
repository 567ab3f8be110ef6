// Logs in, a packed data set out. Each reader knows one public format; all end in DatasetWriter.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/dataset_writer.h"

namespace piano::data {

enum class OnError { stop, skip };

struct ReadOptions {
  OnError on_error = OnError::stop;
  std::string rejects;              // with skip: rejected rows go here as "file:line:column<TAB>reason<TAB>row"; empty: they are only counted
  std::uint64_t seed = 1;           // lastfm: of the draws
  std::function<void(std::int64_t bytes_done, std::int64_t bytes_total, std::int64_t requests)> progress;  // compressed bytes of all inputs
};

struct ReadReport {
  std::int64_t rows = 0, requests = 0, rejected = 0;
  std::string first_rejection;      // "file:line:column: reason"
};

// Each takes plain or .gz files; "-" is stdin. Throws Error{data}: "file:line:column: reason" with on_error = stop.
ReadReport read_jsonl(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);

// ACM RecSys Challenge 2019 (trivago), the original CSV with its header. One request per "clickout item" row, at step s, whose reference is
// among its impressions:
//   id          user_id/session_id/step          target      the reference
//   candidates  the impressions in shown order; dense = log1p(price), that minus the list's mean, share of the list's other prices below
//   query       city:<city>, ref:<last search or sort reference of the session>, filter:<each current filter>
//   click       the item is acted on at a step >= s of this session; conversion: clicked out at a step >= s of this session
//   context     platform, city, device
// Every row is an event of its user at (timestamp, step) with the query in force; the action is the file's action_type. A request's history is
// what lies strictly before it, from any session of the user's. Prices that do not match the impressions in number are missing.
// The rows of a session are expected together. Where a session goes on after rows of another, each stretch has its own labels and its own last
// reference; events and histories are unaffected.
ReadReport read_trivago(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);

// Last.fm of HetRec 2011: tags.dat, user_artists.dat and user_taggedartists.dat, in any order. Nobody was ever shown a list: lists are rebuilt,
// so that no answer is known beforehand (data/lastfm.h; data/README.md says why it is sound). The writer's split must be `given`.
//   requests    one per (user, month, tag) and label fold; id user/year-month/tag id/fold; the query is the tag
//   candidates  the first 50 artists by how many users gave them the tag, without the user's visible ones, of one label fold;
//               score = log1p of these users; dense = log1p of the users who play the artist, summed cosine with the user's visible artists
//   click       the user played it; conversion: plays >= the user's median
//   history     visible artists played, without a time, the most played last; then earlier months: visible artists tagged, with the tag as
//               query, or the query alone. Field of an artist: its 5 most frequent tags
//   parts       lists of the train, valid and test fold; users kept apart (a tenth) have lists of the test fold alone
// Lists of less than 2 candidates, and users without plays, are left out. Names that are no UTF-8 are taken as Latin-1.
// In memory: all rows of the three files, 16 bytes each, what is counted in them (12 bytes a row) and a few words per artist.
ReadReport read_lastfm(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);

}  // namespace piano::data
