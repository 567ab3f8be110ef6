// A JSON text as a flat list of nodes in one reusable block of memory: what the request parser reads from. Keeps what a tree of nlohmann's
// would lose: where each value stands, and keys that come twice (an error).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace piano::data {

class JsonTree {
 public:
  enum class Type : std::uint8_t { null, boolean, integer, number, string, list, object };

  // Children of node i begin at i + 1; the next sibling (or what follows the parent) is nodes()[i].end.
  struct Node {
    Type type = Type::null;
    std::uint32_t depth = 0;
    std::size_t end = 0;
    std::size_t children = 0;
    std::int64_t column = 0;     // bytes from 1
    std::string_view key;        // of a member of an object
    std::string_view text;       // string
    std::int64_t integer = 0;    // integer, and boolean as 0 or 1
    double number = 0;           // integer and number
  };

  // Throws ErrorCode::data: "column 17: ...". Numbers that no double can hold and broken UTF-8 are errors. Afterwards nodes() holds what was
  // read, also on an error.
  void parse(std::string_view json);
  const std::vector<Node>& nodes() const { return nodes_; }
  std::int64_t error_column() const { return error_column_; }
  // Room for text of the caller's that lives as long as the nodes: requires: in all at most the bytes of the numbers in the JSON text.
  std::string_view keep(std::string_view text);

 private:
  class Handler;
  std::vector<Node> nodes_;
  std::vector<std::size_t> open_;
  std::string text_;             // all keys and strings; never longer than the JSON text, so it does not move
  std::int64_t error_column_ = 0;
};

// "an object", "3", "\"x\"": a node as it is called in messages.
std::string describe(const JsonTree::Node& node);

}  // namespace piano::data
