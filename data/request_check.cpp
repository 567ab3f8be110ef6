#include "data/request_check.h"

#include <cmath>
#include <string>

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
};

[[noreturn]] void fail(const std::string& path, const std::string& what) { throw Error(ErrorCode::data, path + ": " + what); }

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

void check_fields(const Path& path, std::span<const Field> fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (fields[i].name.empty()) fail(path.text(), "a field without a name");
    for (std::size_t j = 0; j < i; ++j)
      if (fields[j].name == fields[i].name) fail(path.text() + "." + std::string(fields[i].name), "given twice");
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
  if (!request.target.empty() && seen_.find(request.target) < 0) fail("target", quoted(request.target) + " is not among the candidates");
  if (request.time)
    for (std::size_t t = 0; t < request.history.size(); ++t)
      if (request.history[t].time && *request.history[t].time > *request.time)
        fail(Path{"history", t, "time"}.text(), std::to_string(*request.history[t].time) + " is after the request's time " +
                                                    std::to_string(*request.time) + "; a history holds the past only");
  widths = learnt;
}

void RequestChecker::check_live(const Request& request, DenseWidths widths) { check(request, widths, false); }

void RequestChecker::check(const Request& request, DenseWidths& widths, bool learn) {
  check_fields({nullptr, 0, "user.fields"}, request.user_fields);
  check_dense({nullptr, 0, "user.dense"}, request.user_dense, widths.user, learn);
  check_fields({nullptr, 0, "context"}, request.context);
  for (std::size_t t = 0; t < request.history.size(); ++t) check_fields({"history", t, "fields"}, request.history[t].fields);

  if (request.candidates.empty()) fail("candidates", "expected at least one");
  seen_.clear();
  for (std::size_t i = 0; i < request.candidates.size(); ++i) {
    const Candidate& c = request.candidates[i];
    const auto path = [&](const char* member) { return Path{"candidates", i, member}; };
    if (c.id.empty()) fail(path("id").text(), "expected a non-empty string");
    if (const auto first = static_cast<std::size_t>(seen_.intern(c.id)); first != i)
      fail(path("id").text(), quoted(c.id) + " is already candidates[" + std::to_string(first) + "]");
    if (c.score && !std::isfinite(*c.score)) fail(path("score").text(), "expected a finite number");
    if (c.value && !std::isfinite(*c.value)) fail(path("value").text(), "expected a finite number");
    check_fields(path("fields"), c.fields);
    check_dense(path("dense"), c.dense, widths.item, learn);
    check_dense(path("vector"), c.vector, widths.vector, learn);
    if (c.conversion.value_or(false) && !c.click.value_or(true)) fail(path("conversion").text(), "expected at most click = 0, got 1");
    if (c.position && *c.position < 0) fail(path("position").text(), "expected 1 or more, got " + std::to_string(*c.position));
  }
}

}  // namespace piano::data
