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
  std::vector<Split> parts;         // jsonl, letor: of the requests of each file; empty: not given. The writer's split must then be `given`
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

// JDsearch: the searches (release_data.txt) and, if given, the products (product_data.txt). One request a line, and each line has a user of
// its own: there are no ids of users, and histories are given with the search.
//   query       its term ids; candidates: in an order drawn by hash, since the file has the positives first
//   click       label 1 (click), 2 (cart) or 3 (purchase); conversion: 3
//   history     query, item and action (CLICK, CART, ORD, ..) of each past event; times count from the first, by the gaps in the file
//   fields      brand, category_1 to category_4, shop, by the ids in the product file; -1 is missing. Names are not read
// In memory: the ids of the products, about 40 bytes each (12.9 million are published).
ReadReport read_jdsearch(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);

// Learning to rank in SVMLight's lines, "grade qid:7 1:0.5 3:2 # comment" (MSLR, Yahoo, Istella, LETOR); or without qid and with LightGBM's
// FILE.query beside FILE, the sizes of the lists. Rows of a query stand together. No user, no text, no history.
//   candidates  in an order drawn by hash; the n-th document of query 7 is called 7.n; dense: the features, as many as the largest index in
//               any of the files, absent ones 0, and so are those that do not fit a float (Istella's mark of a missing value)
//   click       grade >= 1; conversion: grade >= 2
// The files are read twice. In memory: the documents of one query (a million at most).
ReadReport read_letor(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);

// KuaiSAR (Zenodo 8181109): src_inter.csv and rec_inter.csv, and, if given, item_features.csv and user_features.csv; columns by name.
//   requests    one per search session, id user/session, with or without clicks; query: keyword; context: search_source
//   candidates  the items shown, in an order drawn by hash (the log has no positions); one shown twice counts once
//   click       click_cnt > 0; conversion: clicked, and liked, followed or forwarded by the user in rec_inter at the session's time or later
//   history     earlier searches with their clicks, and what was played, liked, followed or forwarded where it was recommended
//   fields      author, category_1 to category_4 (0 is missing), type (src_inter's for an item that item_features lacks); of a user: the four
//               features. Captions and the social network are not read
// In memory: the ids of items, sessions, users and queries, about 40 bytes each, 24 a session, and 32 for each (user, item) that was liked,
// followed or forwarded.
ReadReport read_kuaisar(const std::vector<std::string>& paths, const ReadOptions& options, DatasetWriter& writer);

}  // namespace piano::data
