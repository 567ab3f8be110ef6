// What the labels of a candidate say; one rule for logs and for live requests.
#pragma once

#include <cstdint>

#include "data/request.h"

namespace piano::data {

struct Labels {
  std::uint8_t click, conversion, labelled;
};

// A click without a word on conversion is no conversion; a conversion without a word on the click is a click. Neither, or "conversion: 0"
// alone, is unlabelled, and so is what was not shown (position 0), whatever it says.
inline Labels labels_of(const Candidate& c) {
  const bool shown = c.position.value_or(1) != 0, conversion = c.conversion.value_or(false), click = c.click.value_or(conversion);
  if (!shown || !(c.click || conversion)) return {0, 0, 0};
  return {static_cast<std::uint8_t>(click), static_cast<std::uint8_t>(conversion), 1};
}

}  // namespace piano::data
