// A synthetic world of music search, with known truth. docs/simulator.md gives it formula by formula; everything it writes is labelled
// synthetic. It shares no functional form with the model: tastes are tables, choices are probit thresholds, examination is a depth.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace piano::data {

struct SimulatorOptions {
  std::int64_t requests = 50000;
  std::uint64_t seed = 1;
  std::int32_t users = 0;       // 0: one for every 25 requests, at least 20
  double kappa = 0.8;           // 0..1: chance that a user's taste for a genre under a mood is its own, not the user's general one
  double eta = 0.5;             // >= 0: how strongly similar neighbours take each other's clicks; 0 = not at all
  double position_bias = 0.3;   // >= 0: P(position r is examined) = r^-position_bias; 0 = everything is examined
  double swap = 0;              // 0..1: chance that two places of a list, any two, change their items when it is shown
  std::int32_t kinds = 1;       // 1: conversions have no name; 2: "save", which they are otherwise, and "follow", of the artist
};

// The truth, candidate by candidate in the order of the log.
struct SimulatorOracle {
  std::vector<std::int64_t> offsets{0};     // (requests + 1): candidates of request r are rows offsets[r] .. offsets[r+1]-1
  std::vector<float> click, conversion;     // (rows): P(click) and P(click and convert) in isolation: examined, without neighbours;
                                            // of two kinds, it is the saves
  std::vector<float> click_shown, conversion_shown;  // (rows): the same as shown: times examination and competition
  std::vector<std::int32_t> artist, genre;  // (rows): which items are alike; with `click`, all that respond() asks
  std::vector<std::uint8_t> ids;            // request ids, back to back
  std::vector<std::int64_t> id_offsets{0};  // (requests + 1)
};

// Calls `write_line` with each request as one JSON line (with its line break), times strictly increasing; fills `oracle` when not null.
// The bytes are a function of the options alone. Throws ErrorCode::usage for options out of range.
void simulate(const SimulatorOptions& options, const std::function<void(std::string_view)>& write_line, SimulatorOracle* oracle);

// A safetensors file of format "piano-oracle": offsets, p_click, p_conversion, p_click_shown, p_conversion_shown, artist,
// genre, id_bytes, id_offsets. Version 1 had no artist and genre.
void write_oracle(const SimulatorOptions& options, const SimulatorOracle& oracle, const std::string& path);

}  // namespace piano::data
