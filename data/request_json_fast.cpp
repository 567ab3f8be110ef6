#include "data/request_json_fast.h"

#include <cmath>
#include <limits>

#include "data/csv.h"
#include "data/labels.h"

namespace piano::data {
namespace {

// More are for the strict reader: all are compared with all.
constexpr std::size_t kMaxFields = 32;

}  // namespace

bool FastRequestReader::read(std::string_view line, RequestArrays& out) {
  to_ = &out;
  out.clear();
  out.reserve(line.size() / 3, line.size() / 2, line.size() / 5);  // the least that one takes: `"",` `0,` `"":[]`
  json_.start(line);
  if (!request() || !json_.at_end() || (json_.any_high_bytes() && find_broken_utf8(line) != std::string_view::npos)) return false;
  out.request.history = out.events;
  out.request.candidates = out.candidates;
  return true;
}

// Calls member(which of the keys) for each member.
template <std::size_t N, class Member>
bool FastRequestReader::members(KeyOrder<N>& order, Member member) {
  if (!json_.take('{')) return false;
  if (json_.take('}')) return true;
  unsigned seen = 0;
  std::size_t last = 0;
  do {
    std::uint8_t& which = order.next[last];
    if (!json_.take_key(order.keys[which]) && !find_key(order.keys, which)) return false;
    const std::size_t key = which;
    if ((seen >> key & 1) != 0 || !json_.take(':') || !member(key)) return false;
    seen |= 1u << key;
    last = key + 1;
  } while (json_.take(','));
  return json_.take('}');
}

template <std::size_t N>
bool FastRequestReader::find_key(const std::string_view (&keys)[N], std::uint8_t& which) {
  std::string_view key;
  if (!json_.string(key)) return false;
  for (std::size_t i = 0; i < N; ++i) {
    if (keys[i] != key) continue;
    which = static_cast<std::uint8_t>(i);
    return true;
  }
  return false;
}

template <class Element>
bool FastRequestReader::list(Element element) {
  if (!json_.take('[')) return false;
  if (json_.take(']')) return true;
  do {
    if (!element()) return false;
  } while (json_.take(','));
  return json_.take(']');
}

bool FastRequestReader::request() {
  bool has_candidates = false;
  Request& r = to_->request;
  return members(request_order_, [&](std::size_t key) {
    switch (key) {
      case 0: return json_.string(r.id);
      case 1: return seconds(r.time);
      case 2: return user();
      case 3: return query(r.query);
      case 4: return fields(r.context);
      case 5: r.has_history = true; return list([&] { return event(); });
      case 6: has_candidates = true; return list([&] { return candidate(); });
      default: return json_.string(r.target);
    }
  }) && has_candidates;
}

bool FastRequestReader::user() {
  Request& r = to_->request;
  if (json_.peek() == '"') return json_.string(r.user);
  return members(user_order_, [&](std::size_t key) {
    switch (key) {
      case 0: return json_.string(r.user);
      case 1: return fields(r.user_fields);
      default: return numbers(r.user_dense);
    }
  });
}

bool FastRequestReader::event() {
  Event& e = to_->events.emplace_back();
  return members(event_order_, [&](std::size_t key) {
    switch (key) {
      case 0: return seconds(e.time);
      case 1: return query(e.query);
      case 2: return json_.string(e.item);
      case 3: return fields(e.fields);
      default: return json_.string(e.action);
    }
  });
}

bool FastRequestReader::candidate() {
  Candidate& c = to_->candidates.emplace_back();
  return members(candidate_order_, [&](std::size_t key) {
    switch (key) {
      case 0: return non_empty(c.id);
      case 1: return number(c.score);
      case 2: return position(c.position);
      case 3: return fields(c.fields);
      case 4: return numbers(c.dense);
      case 5: return numbers(c.vector);
      case 6: return value(c);
      case 7: return label(c.click.emplace());
      default: return conversion(c);
    }
  }) && !c.id.empty();
}

bool FastRequestReader::query(Query& out) {
  if (json_.peek() == '"') return json_.string(out.text);
  std::vector<std::string_view>& strings = to_->strings;
  const std::size_t begin = strings.size();
  const bool good = list([&] {
    std::string_view term;
    const bool taken = json_.peek() == '"' ? non_empty(term) : json_.integer_text(term);
    if (taken) strings.push_back(term);
    return taken;
  });
  out.terms = std::span<const std::string_view>(strings).subspan(begin);
  return good;
}

bool FastRequestReader::fields(std::span<const Field>& out) {
  std::vector<Field>& all = to_->fields;
  std::vector<std::string_view>& strings = to_->strings;
  const std::size_t begin = all.size();
  if (!json_.take('{')) return false;
  if (json_.take('}')) return true;
  const auto value = [&] { return non_empty(strings.emplace_back()); };
  do {
    std::string_view name;
    if (!non_empty(name) || !json_.take(':') || all.size() - begin == kMaxFields) return false;
    for (std::size_t i = begin; i < all.size(); ++i)
      if (all[i].name == name) return false;
    const std::size_t first = strings.size();
    if (!(json_.peek() == '"' ? value() : list(value))) return false;
    all.push_back({name, std::span<const std::string_view>(strings).subspan(first)});
  } while (json_.take(','));
  out = std::span<const Field>(all).subspan(begin);
  return json_.take('}');
}

bool FastRequestReader::numbers(std::span<const float>& out) {
  std::vector<float>& all = to_->numbers;
  const std::size_t begin = all.size();
  const bool good = list([&] { return number(all.emplace_back()); });
  out = std::span<const float>(all).subspan(begin);
  return good;
}

bool FastRequestReader::non_empty(std::string_view& out) { return json_.string(out) && !out.empty(); }

bool FastRequestReader::number(float& out) {
  JsonScanner::Number n;
  if (!json_.number(n) || !(std::abs(n.value) < kFloatLimit)) return false;
  out = static_cast<float>(n.value);
  return true;
}

bool FastRequestReader::number(std::optional<float>& out) { return number(out.emplace()); }

bool FastRequestReader::seconds(std::optional<std::int64_t>& out) {
  JsonScanner::Number n;
  if (!json_.number(n) || !n.whole) return false;
  out = n.integer;
  return true;
}

// {"save": .., "purchase": ..}: a name and what read() takes, each once.
template <class Named, class Read>
bool FastRequestReader::by_kind(std::vector<Named>& all, std::span<const Named>& out, Read read) {
  const std::size_t begin = all.size();
  if (!json_.take('{')) return false;
  do {
    std::string_view kind;
    if (!non_empty(kind) || !json_.take(':') || all.size() - begin == kMostKinds) return false;
    for (std::size_t i = begin; i < all.size(); ++i)
      if (all[i].kind == kind) return false;
    all.push_back({kind, {}});
    if (!read(all.back())) return false;
  } while (json_.take(','));
  out = std::span<const Named>(all).subspan(begin);
  return json_.take('}');
}

bool FastRequestReader::conversion(Candidate& out) {
  if (json_.peek() != '{') return label(out.conversion.emplace());
  return by_kind(to_->labels, out.conversions, [&](KindLabel& of) { return label(of.happened); });
}

bool FastRequestReader::value(Candidate& out) {
  if (json_.peek() != '{') return number(out.value);
  return by_kind(to_->values, out.values, [&](KindValue& of) { return number(of.value); });
}

bool FastRequestReader::label(bool& out) {
  JsonScanner::Number n;
  if (!json_.number(n) || !n.whole || n.integer < 0 || n.integer > 1) return false;
  out = n.integer == 1;
  return true;
}

bool FastRequestReader::position(std::optional<std::int32_t>& out) {
  if (json_.peek() == 'n') {
    out = 0;
    return json_.take_null();
  }
  JsonScanner::Number n;
  if (!json_.number(n) || !n.whole || n.integer < 1 || n.integer > std::numeric_limits<std::int32_t>::max()) return false;
  out = static_cast<std::int32_t>(n.integer);
  return true;
}

}  // namespace piano::data
