// What the labels of a candidate say; one rule for logs and for live requests.
#pragma once

#include <cstdint>
#include <optional>

#include "data/request.h"

namespace piano::data {

inline constexpr std::string_view kPlainKind = "conversion";  // what a conversion without a name is
inline constexpr std::uint8_t kUnknownLabel = 2;       // of a kind, in place of 0 and 1

// Calls visit(kind, happened) for all that the candidate says of conversions.
template <class Visit>
void each_conversion(const Candidate& c, Visit visit) {
  if (c.conversion) visit(kPlainKind, *c.conversion);
  for (const KindLabel& label : c.conversions) visit(label.kind, label.happened);
}

struct Labels {
  std::uint8_t click, conversion, labelled;  // conversion: of any kind
};

// A click without a word on conversion is no conversion of any kind; a conversion without a word on the click is a click. Neither, or
// "conversion: 0" alone, is unlabelled, and so is what was not shown (position 0), whatever it says.
inline Labels labels_of(const Candidate& c) {
  bool conversion = false;
  each_conversion(c, [&](std::string_view, bool happened) { conversion = conversion || happened; });
  const bool shown = c.position.value_or(1) != 0, click = c.click.value_or(conversion);
  if (!shown || !(c.click || conversion)) return {0, 0, 0};
  return {static_cast<std::uint8_t>(click), static_cast<std::uint8_t>(conversion), 1};
}

// Of one kind: 0, 1, or kUnknownLabel where other kinds alone are named.
inline std::uint8_t conversion_of(const Candidate& c, std::string_view kind) {
  if (labels_of(c).labelled == 0) return 0;
  std::optional<bool> found;
  bool said = false;
  each_conversion(c, [&](std::string_view name, bool happened) {
    said = true;
    if (name == kind) found = happened;
  });
  return found ? *found : said ? kUnknownLabel : 0;
}

}  // namespace piano::data
