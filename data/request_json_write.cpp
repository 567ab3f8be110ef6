#include <charconv>
#include <nlohmann/json.hpp>
#include <system_error>

#include "data/request_json.h"
#include "engine/base/check.h"
#include "engine/base/json_text.h"

namespace piano::data {
namespace {

// Appends comma-separated members; `open` and `close` bracket them.
class Writer {
 public:
  std::string text;

  void open(char bracket) {
    text += bracket;
    first_ = true;
  }
  void close(char bracket) {
    text += bracket;
    first_ = false;
  }
  void separate() {
    if (!first_) text += ',';
    first_ = false;
  }
  void key(std::string_view name) {
    separate();
    quote(name);
    text += ':';
    first_ = true;
  }

  void quote(std::string_view value) {
    const bool plain = [&] {
      for (const char c : value)
        if (static_cast<unsigned char>(c) - 0x20u > 0x5eu || c == '"' || c == '\\') return false;  // escapes, controls, UTF-8: the long way
      return true;
    }();
    if (plain) {
      text += '"';
      text += value;
      text += '"';
    } else {
      text += json_text(nlohmann::json(std::string(value)));
    }
  }
  void string(std::string_view value) {
    separate();
    quote(value);
  }

  // The shortest decimal that reads back as the same number.
  template <class Number>
  void number(Number value) {
    separate();
    char buffer[48];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, value);
    PIANO_CHECK(end.ec == std::errc{}, "a number did not fit its buffer");
    const std::string_view digits(buffer, static_cast<std::size_t>(end.ptr - buffer));
    text += digits == "-0" ? "-0.0" : digits;  // JSON readers take -0 for the whole number, which has no sign
  }

  void strings(std::span<const std::string_view> values) {
    separate();
    open('[');
    for (const std::string_view value : values) string(value);
    close(']');
  }
  void numbers(std::string_view name, std::span<const float> values) {
    if (values.empty()) return;
    key(name);
    separate();
    open('[');
    for (const float value : values) number(value);
    close(']');
  }

  void fields(std::string_view name, std::span<const Field> values) {
    if (values.empty()) return;
    key(name);
    separate();
    open('{');
    for (const Field& field : values) {
      key(field.name);
      if (field.values.size() == 1) string(field.values[0]);
      else strings(field.values);
    }
    close('}');
  }
  void query(const Query& query) {
    if (!query.terms.empty()) {
      key("query");
      strings(query.terms);
    } else if (!query.text.empty()) {
      member("query", query.text);
    }
  }
  void member(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    key(name);
    string(value);
  }
  template <class Number>
  void member(std::string_view name, const std::optional<Number>& value) {
    if (!value) return;
    key(name);
    number(*value);
  }
  void label(std::string_view name, const std::optional<bool>& value) {
    if (!value) return;
    key(name);
    number(*value ? 1 : 0);
  }
  // value(what is named): a number.
  template <class Named, class Value>
  void by_kind(std::string_view name, std::span<const Named> named, Value value) {
    if (named.empty()) return;
    key(name);
    separate();
    open('{');
    for (const Named& one : named) {
      key(one.kind);
      number(value(one));
    }
    close('}');
  }

 private:
  bool first_ = true;
};

void write_user(Writer& out, const Request& request) {
  if (request.user_fields.empty() && request.user_dense.empty()) {
    out.member("user", request.user);
    return;
  }
  out.key("user");
  out.separate();
  out.open('{');
  out.member("id", request.user);
  out.fields("fields", request.user_fields);
  out.numbers("dense", request.user_dense);
  out.close('}');
}

void write_event(Writer& out, const Event& event) {
  out.separate();
  out.open('{');
  out.member("time", event.time);
  out.query(event.query);
  out.member("item", event.item);
  out.fields("fields", event.fields);
  out.member("action", event.action);
  out.close('}');
}

void write_candidate(Writer& out, const Candidate& candidate) {
  out.separate();
  out.open('{');
  out.key("id");
  out.string(candidate.id);
  out.member("score", candidate.score);
  if (candidate.position) {
    out.key("position");
    if (*candidate.position > 0) {
      out.number(*candidate.position);
    } else {
      out.separate();
      out.text += "null";
    }
  }
  out.fields("fields", candidate.fields);
  out.numbers("dense", candidate.dense);
  out.numbers("vector", candidate.vector);
  if (candidate.values.empty()) out.member("value", candidate.value);
  out.by_kind("value", candidate.values, [](const KindValue& of) { return of.value; });
  out.label("click", candidate.click);
  if (candidate.conversions.empty()) out.label("conversion", candidate.conversion);
  out.by_kind("conversion", candidate.conversions, [](const KindLabel& of) { return of.happened ? 1 : 0; });
  out.close('}');
}

}  // namespace

std::string to_json(const Request& request) {
  Writer out;
  out.open('{');
  out.member("id", request.id);
  out.member("time", request.time);
  write_user(out, request);
  out.query(request.query);
  out.fields("context", request.context);
  if (request.has_history) {
    out.key("history");
    out.separate();
    out.open('[');
    for (const Event& event : request.history) write_event(out, event);
    out.close(']');
  }
  out.key("candidates");
  out.separate();
  out.open('[');
  for (const Candidate& candidate : request.candidates) write_candidate(out, candidate);
  out.close(']');
  out.member("target", request.target);
  out.close('}');
  return std::move(out.text);
}

}  // namespace piano::data
