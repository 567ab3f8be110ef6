#include "data/request_json_tree.h"

#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/json_text.h"

namespace piano::data {
namespace {

constexpr std::size_t kMaxDepth = 16, kMaxMembers = 1000;

// Tells where the lexer stands, which a SAX handler is not told.
class Cursor {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Cursor(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  Cursor& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  Cursor operator++(int) {
    Cursor before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const Cursor& a, const Cursor& b) { return a.at_ == b.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

// "[json.exception.parse_error.101] parse error at line 1, column 9: syntax error while ...; last read: ..." without the head.
std::string reason_of(const std::string& what) {
  std::size_t begin = what.find("column ");
  begin = begin == std::string::npos ? what.find("] ") : what.find(": ", begin);
  std::string reason = begin == std::string::npos ? what : what.substr(begin + 2);
  for (char& c : reason)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return reason;
}

}  // namespace

class JsonTree::Handler : public nlohmann::json_sax<nlohmann::json> {
 public:
  Handler(JsonTree& tree, std::string_view json) : tree_(tree), json_(json), furthest_(json.data()) {}
  const char** furthest() { return &furthest_; }

  bool null() override { return add(Type::null); }
  bool boolean(bool value) override { return add(Type::boolean, value); }
  bool number_integer(number_integer_t value) override { return add(Type::integer, value); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) return number_float(static_cast<double>(value), "");
    return add(Type::integer, static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override {
    if (!add(Type::number)) return false;
    tree_.nodes_.back().number = value;
    return true;
  }
  bool string(string_t& value) override {
    if (!add(Type::string)) return false;
    tree_.nodes_.back().text = tree_.keep(value);
    return true;
  }
  bool binary(binary_t&) override { return false; }  // JSON text has none
  bool start_object(std::size_t) override { return open(Type::object); }
  bool start_array(std::size_t) override { return open(Type::list); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& value) override {
    const std::size_t column = token();
    const std::size_t object = tree_.open_.back();
    if (tree_.nodes_[object].children >= kMaxMembers) fail(column, "an object with more than " + std::to_string(kMaxMembers) + " members");
    for (std::size_t i = object + 1; i < tree_.nodes_.size(); i = tree_.nodes_[i].end)
      if (tree_.nodes_[i].key == value) fail(column, "the key \"" + value + "\" comes twice");
    key_ = tree_.keep(value);
    consumed();
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    // An exception of another kind than a syntax error is a number that no double can hold.
    const bool range = error.id == 406;
    const std::size_t column = range ? token() : std::max<std::size_t>(position, 1);
    fail(column, range ? "a number out of range" : reason_of(error.what()));
  }

 private:
  [[noreturn]] void fail(std::size_t column, const std::string& reason) {
    tree_.error_column_ = static_cast<std::int64_t>(column);
    throw Error(ErrorCode::data, "column " + std::to_string(column) + ": " + reason);
  }

  // The column of the token just read: what follows the one before, separators skipped.
  std::size_t token() const {
    std::size_t at = before_;
    while (at < json_.size() && std::string_view(" \t\r\n,:").find(json_[at]) != std::string_view::npos) ++at;
    return at + 1;
  }
  void consumed() { before_ = static_cast<std::size_t>(furthest_ - json_.data()); }

  bool add(Type type, std::int64_t integer = 0) {
    Node node;
    node.type = type;
    node.depth = static_cast<std::uint32_t>(tree_.open_.size());
    node.end = tree_.nodes_.size() + 1;
    node.column = static_cast<std::int64_t>(token());
    node.key = key_;
    node.integer = integer;
    node.number = static_cast<double>(integer);
    key_ = {};
    if (!tree_.open_.empty()) ++tree_.nodes_[tree_.open_.back()].children;
    tree_.nodes_.push_back(node);
    consumed();
    return true;
  }
  bool open(Type type) {
    if (tree_.open_.size() == kMaxDepth) fail(token(), "nested more than " + std::to_string(kMaxDepth) + " deep");
    const std::size_t self = tree_.nodes_.size();
    add(type);  // a child of what is open now
    tree_.open_.push_back(self);
    return true;
  }
  bool close() {
    tree_.nodes_[tree_.open_.back()].end = tree_.nodes_.size();
    tree_.open_.pop_back();
    consumed();
    return true;
  }

  JsonTree& tree_;
  std::string_view json_;
  const char* furthest_;
  std::size_t before_ = 0;  // bytes behind the last token
  std::string_view key_;
};

void JsonTree::parse(std::string_view json) {
  nodes_.clear();
  open_.clear();
  text_.clear();
  text_.reserve(json.size());
  error_column_ = 0;
  Handler handler(*this, json);
  const Cursor begin(json.data(), handler.furthest()), end(json.data() + json.size(), handler.furthest());
  nlohmann::json::sax_parse(begin, end, &handler);
}

std::string_view JsonTree::keep(std::string_view text) {
  const std::size_t begin = text_.size();
  text_ += text;
  return std::string_view(text_).substr(begin);
}

std::string describe(const JsonTree::Node& node) {
  switch (node.type) {
    case JsonTree::Type::null: return "null";
    case JsonTree::Type::boolean: return node.integer ? "true" : "false";
    case JsonTree::Type::integer: return std::to_string(node.integer);
    case JsonTree::Type::number: return json_text(nlohmann::json(node.number));
    case JsonTree::Type::string:
      return node.text.size() <= 40 ? "\"" + std::string(node.text) + "\"" : "a string of " + std::to_string(node.text.size()) + " bytes";
    case JsonTree::Type::list: return "a list of " + std::to_string(node.children);
    case JsonTree::Type::object: return "an object";
  }
  return "";
}

}  // namespace piano::data
