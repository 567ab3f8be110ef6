#include "data/request_check.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <string>

#include "data/hash.h"
#include "data/labels.h"
#include "engine/base/error.h"

namespace piano::data {

namespace {

// A JSON path, made into text only when there is something to say.
struct Path {
  const char* list = nullptr;  // "candidates", "history" or null
  std::size_t index = 0;
  const char* member = "";

  std::string text() const {
    return list == nullptr ? std::string(member) : std::string(list) + "[" + std::to_string(index) + "]" + (*member ? "." : "") + member;
  }
  std::string of(std::string_view name) const { return text() + "." + std::string(name); }
};

[[noreturn]] void fail(const std::string& path, const std::string& what) { throw Error(ErrorCode::data, path + ": " + what); }

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

void check_fields(const Path& path, std::span<const Field> fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name.empty()) fail(path.text(), "a field without a name");
    for (std::size_t j = 0; j < i; ++j)
      if (fields[j].name == fields[i].name) fail(path.of(fields[i].name), "given twice");
  }
}

// Kinds of conversion.
template <class Named>
void check_kinds(const Path& path, std::span<const Named> named) {
  if (named.size() > kMostKinds)
    fail(path.text(), "expected at most " + std::to_string(kMostKinds) + " kinds of conversion, got " + std::to_string(named.size()));
  for (std::size_t i = 0; i < named.size(); ++i) {
    if (named[i].kind.empty()) fail(path.text(), "a kind without a name");
    if (named[i].kind == "present" || named[i].kind.ends_with(".present"))  // a tensor of the packed file: DenseColumn's mask
      fail(path.of(named[i].kind), "expected another name: a kind may not be called \"present\", nor end in \".present\"");
    for (std::size_t j = 0; j < i; ++j)
      if (named[j].kind == named[i].kind) fail(path.of(named[i].kind), "given twice");
  }
}

void check_dense(const Path& path, std::span<const float> values, std::int32_t& width, bool learn) {
  if (values.empty() || (width == 0 && !learn)) return;
  if (width == 0) width = static_cast<std::int32_t>(values.size());
  if (values.size() != static_cast<std::size_t>(width))
    fail(path.text(), "expected " + std::to_string(width) + " numbers, got " + std::to_string(values.size()));
  for (std::size_t k = 0; k < values.size(); ++k)
    if (!std::isfinite(values[k])) fail(path.text() + "[" + std::to_string(k) + "]", "expected a finite number");
}

}  // namespace

void RequestChecker::check_logged(const Request& request, DenseWidths& widths) {
  DenseWidths learnt = widths;
  check(request, learnt, true);
  widths = learnt;
}

void RequestChecker::check_live(const Request& request, DenseWidths widths) { check(request, widths, false); }

void RequestChecker::check(const Request& request, DenseWidths& widths, bool learn) {
  check_fields({nullptr, 0, "user.fields"}, request.user_fields);
  check_dense({nullptr, 0, "user.dense"}, request.user_dense, widths.user, learn);
  check_fields({nullptr, 0, "context"}, request.context);
  check_history(request);

  if (request.candidates.empty()) fail("candidates", "expected at least one");
  seen_.assign(std::bit_ceil(2 * request.candidates.size()), {0, -1});
  for (std::size_t i = 0; i < request.candidates.size(); ++i) {
    const Candidate& c = request.candidates[i];
    const auto path = [&](const char* member) { return Path{"candidates", i, member}; };
    if (c.id.empty()) fail(path("id").text(), "expected a non-empty string");
    if (const std::size_t first = first_with_id_of(request.candidates, i); first != i)
      fail(path("id").text(), quoted(c.id) + " is already candidates[" + std::to_string(first) + "]");
    if (c.score && !std::isfinite(*c.score)) fail(path("score").text(), "expected a finite number");
    if (c.value && !std::isfinite(*c.value)) fail(path("value").text(), "expected a finite number");
    check_kinds(path("value"), c.values);
    for (const KindValue& of : c.values)
      if (!std::isfinite(of.value)) fail(path("value").of(of.kind), "expected a finite number");
    check_fields(path("fields"), c.fields);
    check_dense(path("dense"), c.dense, widths.item, learn);
    check_dense(path("vector"), c.vector, widths.vector, learn);
    check_kinds(path("conversion"), c.conversions);
    if (c.conversion && !c.conversions.empty()) fail(path("conversion").text(), "expected one number or the kinds by name, got both");
    if (c.conversion.value_or(false) && !c.click.value_or(true)) fail(path("conversion").text(), "expected at most click = 0, got 1");
    for (const KindLabel& of : c.conversions)
      if (of.happened && !c.click.value_or(true)) fail(path("conversion").of(of.kind), "expected at most click = 0, got 1");
    if (c.position && *c.position < 0) fail(path("position").text(), "expected 1 or more, got " + std::to_string(*c.position));
  }
  check_positions(request.candidates);
  const auto is_target = [&](const Candidate& c) { return c.id == request.target; };
  if (!request.target.empty() && std::none_of(request.candidates.begin(), request.candidates.end(), is_target))
    fail("target", quoted(request.target) + " is not among the candidates");
}

// Of candidates 0 .. i; called for one after another.
std::size_t RequestChecker::first_with_id_of(std::span<const Candidate> candidates, std::size_t i) {
  const auto hash = static_cast<std::uint32_t>(hash_in_memory(candidates[i].id));
  const std::size_t mask = seen_.size() - 1;
  std::size_t slot = hash & mask;
  for (; seen_[slot].candidate >= 0; slot = (slot + 1) & mask) {
    const auto before = static_cast<std::size_t>(seen_[slot].candidate);
    if (seen_[slot].hash == hash && candidates[before].id == candidates[i].id) return before;
  }
  seen_[slot] = {hash, static_cast<std::int32_t>(i)};
  return i;
}

// Events without a time may stand anywhere; the others ascend and end at the request's own time.
void RequestChecker::check_history(const Request& request) const {
  std::size_t last = request.history.size();  // the event before that has a time; none yet
  for (std::size_t t = 0; t < request.history.size(); ++t) {
    const Event& event = request.history[t];
    check_fields({"history", t, "fields"}, event.fields);
    if (!event.time) continue;
    const auto refuse = [&](const std::string& what) { fail(Path{"history", t, "time"}.text(), std::to_string(*event.time) + what); };
    if (request.time && *event.time > *request.time)
      refuse(" is after the request's time " + std::to_string(*request.time) + "; a history holds the past only");
    if (last < t && *event.time < *request.history[last].time)
      refuse(" is before history[" + std::to_string(last) + "].time " + std::to_string(*request.history[last].time) +
             "; give the oldest event first");
    last = t;
  }
}

// Two candidates cannot have been shown at one place; one without a position was shown in the order given.
void RequestChecker::check_positions(std::span<const Candidate> candidates) {
  if (std::none_of(candidates.begin(), candidates.end(), [](const Candidate& c) { return c.position.has_value(); })) return;
  shown_.clear();
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto place = static_cast<std::int64_t>(i) + 1;
    if (const std::int64_t position = candidates[i].position.value_or(place); position > 0) shown_.emplace_back(position, i);
  }
  std::sort(shown_.begin(), shown_.end());
  const auto same = std::adjacent_find(shown_.begin(), shown_.end(), [](const Shown& a, const Shown& b) { return a.first == b.first; });
  if (same == shown_.end()) return;
  const std::size_t first = same->second, second = std::next(same)->second;
  const auto how = [&](std::size_t i) { return candidates[i].position ? "" : " (the order given)"; };
  fail(Path{"candidates", second, "position"}.text(),
       std::to_string(same->first) + how(second) + " is already the position of candidates[" + std::to_string(first) + "]" + how(first));
}

}  // namespace piano::data
