// The quick way from a line to a request: one pass, no tree, no messages. Its specification is StrictRequestReader: what this one takes, that
// one takes with the same result (tests/data/test_json_fast.cpp). It gives up wherever a line is wrong or rare: that may still be a request.
#pragma once

#include <iterator>

#include "data/json_scanner.h"
#include "data/request_json_arrays.h"

namespace piano::data {

class FastRequestReader {
 public:
  // requires: JsonScanner::kPadding zero bytes behind the line. false: ask the strict reader; `out` holds nothing of use.
  bool read(std::string_view line, RequestArrays& out);

 private:
  // Which key came after which the last time; [0]: the first. The lines of a log have their keys in one order.
  template <std::size_t N>
  struct KeyOrder {
    const std::string_view (&keys)[N];
    std::uint8_t next[N + 1] = {};
  };
  template <std::size_t N, class Member>
  bool members(KeyOrder<N>& order, Member member);
  template <std::size_t N>
  bool find_key(const std::string_view (&keys)[N], std::uint8_t& which);
  template <class Element>
  bool list(Element element);

  bool request();
  bool user();
  bool event();
  bool candidate();
  bool query(Query& out);
  bool fields(std::span<const Field>& out);
  bool numbers(std::span<const float>& out);
  bool non_empty(std::string_view& out);
  bool number(float& out);
  bool number(std::optional<float>& out);
  bool seconds(std::optional<std::int64_t>& out);
  bool label(bool& out);
  bool conversion(Candidate& out);
  bool value(Candidate& out);
  template <class Named, class Read>
  bool by_kind(std::vector<Named>& all, std::span<const Named>& out, Read read);
  bool position(std::optional<std::int32_t>& out);

  JsonScanner json_;
  RequestArrays* to_ = nullptr;
  KeyOrder<std::size(kRequestKeys)> request_order_{kRequestKeys};
  KeyOrder<std::size(kUserKeys)> user_order_{kUserKeys};
  KeyOrder<std::size(kEventKeys)> event_order_{kEventKeys};
  KeyOrder<std::size(kCandidateKeys)> candidate_order_{kCandidateKeys};
};

}  // namespace piano::data
