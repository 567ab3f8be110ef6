#include "data/simulator_response.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace piano::data {
namespace {

constexpr std::array<double, 3> kNeighbour = {0.0, 1.0, 0.5};  // how much of a neighbour one place and two places away counts
constexpr double kSameArtist = 1.0, kSameGenre = 0.6;

}  // namespace

double examination(std::size_t place, double position_bias) { return std::pow(static_cast<double>(place), -position_bias); }

double competition(std::span<const TrueItem> shown, std::size_t i, double eta) {
  double crowd = 0;
  for (std::size_t j = i >= 2 ? i - 2 : 0; j < std::min(shown.size(), i + 3); ++j) {
    const double similar = shown[j].artist == shown[i].artist ? kSameArtist : shown[j].genre == shown[i].genre ? kSameGenre : 0.0;
    crowd += kNeighbour[i > j ? i - j : j - i] * similar;
  }
  return 1.0 / (1.0 + eta * crowd);
}

void respond(std::span<const TrueItem> shown, const ResponseDials& dials, RandomStream& random, Response& response) {
  response.click.resize(shown.size()), response.conversion.resize(shown.size());
  const double depth = random.uniform();  // position r is looked at when P(examined) exceeds it: the top always is
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const bool likes = random.uniform() < shown[i].click * competition(shown, i, dials.eta);
    const bool click = likes && depth < examination(i + 1, dials.position_bias);
    const bool conversion = random.uniform() < shown[i].convert && click;
    response.click[i] = click, response.conversion[i] = conversion;
  }
}

}  // namespace piano::data
