#include "data/request_json_strict.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "data/request_json_tree.h"
#include "engine/base/error.h"

namespace piano::data {
namespace {

using Node = JsonTree::Node;
using Type = JsonTree::Type;

// Letters to insert, delete or replace to turn one word into the other (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

}  // namespace

struct StrictRequestReader::Impl {
  JsonTree tree;
  RequestArrays* to = nullptr;
  std::string_view id;
  std::int64_t error_column = 0;

  const Node& node(std::size_t i) const { return tree.nodes()[i]; }

  // "candidates[3].dense"; "" for the root.
  std::string path_to(std::size_t target) const {
    std::string text;
    for (std::size_t i = 0; i != target;) {
      std::size_t child = i + 1, index = 0;
      while (node(child).end <= target) child = node(child).end, ++index;
      if (node(i).type == Type::list) text += "[" + std::to_string(index) + "]";
      else text += (text.empty() ? "" : ".") + std::string(node(child).key);
      i = child;
    }
    return text;
  }
  [[noreturn]] void fail(std::size_t i, const std::string& reason) {
    error_column = node(i).column;
    const std::string where = path_to(i);
    throw Error(ErrorCode::data, where.empty() ? reason : where + ": " + reason);
  }
  [[noreturn]] void expected(std::size_t i, const std::string& what) { fail(i, "expected " + what + ", got " + describe(node(i))); }

  template <class Visit>
  void each_child(std::size_t parent, Visit visit) {
    for (std::size_t i = parent + 1; i < node(parent).end; i = node(i).end) visit(i);
  }
  // Calls visit(key, node) for each member; its key must be one of `keys`.
  template <class Visit>
  void each_member(std::size_t object, std::span<const std::string_view> keys, Visit visit) {
    if (node(object).type != Type::object) expected(object, "an object");
    each_child(object, [&](std::size_t i) {
      const auto found = std::find(keys.begin(), keys.end(), node(i).key);
      if (found == keys.end()) unknown_key(i, keys);
      visit(*found, i);
    });
  }
  [[noreturn]] void unknown_key(std::size_t i, std::span<const std::string_view> keys) {
    const std::string_view key = node(i).key.substr(0, 100);
    const auto nearest = std::min_element(keys.begin(), keys.end(), [&](std::string_view a, std::string_view b) {
      return edit_distance(key, a) < edit_distance(key, b);
    });
    fail(i, "unknown key; the nearest known one is \"" + std::string(*nearest) + "\"");
  }

  std::string_view string(std::size_t i) {
    if (node(i).type != Type::string) expected(i, "a string");
    return node(i).text;
  }
  std::string_view non_empty(std::size_t i) {
    if (string(i).empty()) expected(i, "a string that is not empty");
    return node(i).text;
  }
  std::int64_t seconds(std::size_t i) {
    if (node(i).type != Type::integer) expected(i, "a whole number of seconds");
    return node(i).integer;
  }
  float number(std::size_t i) {
    if (node(i).type != Type::integer && node(i).type != Type::number) expected(i, "a number");
    const double value = node(i).number;  // from half a step above the largest float on, it would become infinite
    if (!(std::abs(value) < kFloatLimit)) expected(i, "a number of at most 3.4e38");
    return static_cast<float>(value);
  }
  bool label(std::size_t i) {
    if (node(i).type != Type::integer || node(i).integer < 0 || node(i).integer > 1) expected(i, "0 or 1");
    return node(i).integer == 1;
  }
  // {"save": .., "purchase": ..}: name and number.
  template <class Named, class Read>
  std::span<const Named> by_kind(std::size_t object, std::vector<Named>& all, Read read) {
    const std::size_t begin = all.size();
    each_child(object, [&](std::size_t i) { all.push_back({node(i).key, read(i)}); });
    if (all.size() == begin) fail(object, "expected at least one kind of conversion");
    return std::span<const Named>(all).subspan(begin);
  }
  void read_conversion(std::size_t i, Candidate& candidate) {
    if (node(i).type != Type::object) candidate.conversion = label(i);
    else candidate.conversions = by_kind(i, to->labels, [&](std::size_t j) { return label(j); });
  }
  void read_value(std::size_t i, Candidate& candidate) {
    if (node(i).type != Type::object) candidate.value = number(i);
    else candidate.values = by_kind(i, to->values, [&](std::size_t j) { return number(j); });
  }
  std::int32_t position(std::size_t i) {
    if (node(i).type == Type::null) return 0;
    if (node(i).type != Type::integer || node(i).integer < 1 || node(i).integer > std::numeric_limits<std::int32_t>::max())
      expected(i, "a position from 1, or null");
    return static_cast<std::int32_t>(node(i).integer);
  }
  std::span<const float> dense(std::size_t list) {
    if (node(list).type != Type::list) expected(list, "a list of numbers");
    const std::size_t begin = to->numbers.size();
    each_child(list, [&](std::size_t i) { to->numbers.push_back(number(i)); });
    return std::span<const float>(to->numbers).subspan(begin);
  }
  std::span<const Field> field_map(std::size_t object) {
    if (node(object).type != Type::object) expected(object, "an object");
    const std::size_t begin = to->fields.size();
    each_child(object, [&](std::size_t i) {
      if (node(i).key.empty()) fail(object, "a field without a name");
      const std::size_t first = to->strings.size();
      if (node(i).type == Type::string) to->strings.push_back(non_empty(i));
      else if (node(i).type == Type::list) each_child(i, [&](std::size_t j) { to->strings.push_back(non_empty(j)); });
      else expected(i, "a string or a list of strings");
      to->fields.push_back({node(i).key, std::span<const std::string_view>(to->strings).subspan(first)});
    });
    return std::span<const Field>(to->fields).subspan(begin);
  }
  Query query(std::size_t i) {
    Query result;
    if (node(i).type == Type::string) {
      result.text = node(i).text;
    } else if (node(i).type == Type::list) {
      const std::size_t begin = to->strings.size();
      each_child(i, [&](std::size_t j) { to->strings.push_back(term(j)); });
      result.terms = std::span<const std::string_view>(to->strings).subspan(begin);
    } else {
      expected(i, "text or a list of term ids");
    }
    return result;
  }
  std::string_view term(std::size_t i) {
    if (node(i).type == Type::string) return non_empty(i);
    if (node(i).type != Type::integer) expected(i, "a whole number or a string");
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, node(i).integer).ptr;
    return tree.keep({digits, static_cast<std::size_t>(end - digits)});
  }

  void read_user(std::size_t at) {
    if (node(at).type == Type::string) {
      to->request.user = node(at).text;
      return;
    }
    if (node(at).type != Type::object) expected(at, "a string or an object");
    each_member(at, kUserKeys, [&](std::string_view key, std::size_t i) {
      if (key == "id") to->request.user = string(i);
      else if (key == "fields") to->request.user_fields = field_map(i);
      else to->request.user_dense = dense(i);
    });
  }
  void read_event(std::size_t at) {
    Event event;
    each_member(at, kEventKeys, [&](std::string_view key, std::size_t i) {
      if (key == "time") event.time = seconds(i);
      else if (key == "query") event.query = query(i);
      else if (key == "item") event.item = string(i);
      else if (key == "fields") event.fields = field_map(i);
      else event.action = string(i);
    });
    to->events.push_back(event);
  }
  void read_candidate(std::size_t at) {
    Candidate candidate;
    each_member(at, kCandidateKeys, [&](std::string_view key, std::size_t i) {
      if (key == "id") candidate.id = non_empty(i);
      else if (key == "score") candidate.score = number(i);
      else if (key == "position") candidate.position = position(i);
      else if (key == "fields") candidate.fields = field_map(i);
      else if (key == "dense") candidate.dense = dense(i);
      else if (key == "vector") candidate.vector = dense(i);
      else if (key == "value") read_value(i, candidate);
      else if (key == "click") candidate.click = label(i);
      else read_conversion(i, candidate);
    });
    if (candidate.id.empty()) fail(at, "expected an \"id\"");
    to->candidates.push_back(candidate);
  }
  template <class Read>
  void read_list(std::size_t at, const char* of, Read read) {
    if (node(at).type != Type::list) expected(at, std::string("a list of ") + of);
    each_child(at, read);
  }
  void read_request() {
    const std::size_t room = tree.nodes().size();  // one element per node at most
    to->reserve(room, room, room);
    bool has_candidates = false;
    each_member(0, kRequestKeys, [&](std::string_view key, std::size_t i) {
      if (key == "id") to->request.id = string(i);
      else if (key == "time") to->request.time = seconds(i);
      else if (key == "user") read_user(i);
      else if (key == "query") to->request.query = query(i);
      else if (key == "context") to->request.context = field_map(i);
      else if (key == "history") {
        to->request.has_history = true;
        read_list(i, "events", [&](std::size_t event) { read_event(event); });
      } else if (key == "candidates") {
        has_candidates = true;
        read_list(i, "candidates", [&](std::size_t candidate) { read_candidate(candidate); });
      } else {
        to->request.target = string(i);
      }
    });
    if (!has_candidates) fail(0, "expected \"candidates\"");
    to->request.history = to->events;
    to->request.candidates = to->candidates;
  }
  // The id, as soon as it was read: also from a line that breaks off later.
  void find_id() {
    const auto& nodes = tree.nodes();
    const auto found = std::find_if(nodes.begin(), nodes.end(), [](const Node& n) { return n.depth == 1 && n.key == "id"; });
    if (found != nodes.end() && found->type == Type::string) id = found->text;
  }
};

StrictRequestReader::StrictRequestReader() : impl_(std::make_unique<Impl>()) {}
StrictRequestReader::~StrictRequestReader() = default;
StrictRequestReader::StrictRequestReader(StrictRequestReader&&) noexcept = default;

void StrictRequestReader::parse(std::string_view line) {
  Impl& p = *impl_;
  p.id = {};
  p.error_column = 0;
  try {
    p.tree.parse(line);
  } catch (const Error&) {
    p.find_id();
    p.error_column = p.tree.error_column();
    throw;
  }
  p.find_id();
}

void StrictRequestReader::read(RequestArrays& out) {
  out.clear();
  impl_->to = &out;
  impl_->read_request();
}

std::string_view StrictRequestReader::id() const { return impl_->id; }
std::int64_t StrictRequestReader::error_column() const { return impl_->error_column; }

std::int64_t StrictRequestReader::column_of(std::string_view message) const {
  if (impl_->tree.nodes().empty()) return 0;
  std::string_view path = message.substr(0, message.find(": "));
  std::size_t at = 0;
  for (bool deeper = true; deeper;) {
    deeper = false;
    std::size_t index = 0;
    const bool list = impl_->node(at).type == Type::list;
    for (std::size_t i = at + 1; i < impl_->node(at).end && !deeper; i = impl_->node(i).end, ++index) {
      const std::string step = list ? "[" + std::to_string(index) + "]" : std::string(impl_->node(i).key);
      const std::string_view rest = path.substr(std::min(step.size(), path.size()));
      if (!path.starts_with(step) || (!rest.empty() && rest[0] != '.' && rest[0] != '[')) continue;
      path = rest.starts_with('.') ? rest.substr(1) : rest;
      at = i;
      deeper = true;
    }
  }
  return impl_->node(at).column;
}

}  // namespace piano::data
