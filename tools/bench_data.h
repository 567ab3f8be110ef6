// The benchmark's log: seeded requests of a music search whose ids follow Zipf's law, over vocabularies of a realistic size. It takes the way
// of any log: JSON lines, RequestParser, DatasetWriter.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace piano::tools {

struct BenchLog {
  std::int64_t lists = 0, candidates = 0;
  double full = 1;                         // a list has full * candidates .. candidates rows
  std::int64_t history = 50;               // past events of every list
  std::int64_t items = 100'000, artists = 5'000, queries = 20'000, terms = 20'000, users = 20'000;
};

// List `index` as a JSON line; every list of another index has another user, query, history and candidates.
std::string bench_request(const BenchLog& log, std::int64_t index);

// A packed data set: first `users` short requests in which every item, query and user comes at least once, so that the vocabularies are
// complete; then the lists. All are for training.
void write_bench_data(const BenchLog& log, const std::string& path);

// The lists among the data set's requests, in order.
std::vector<std::int64_t> bench_lists(const data::Dataset& dataset);

}  // namespace piano::tools
