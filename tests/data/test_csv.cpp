#include <doctest/doctest.h>

#include <string>

#include "data/csv.h"
#include "engine/base/error.h"

using namespace piano;
using namespace piano::data;

namespace {
std::int64_t error_column(const std::string& line) {
  CsvRow row;
  CHECK_THROWS_AS(row.split(line), Error);
  return row.error_column();
}
}  // namespace

TEST_CASE("cells, quoted and not") {
  CsvRow row;
  row.split(R"(a,"b, c",,"say ""hi""","",)");
  REQUIRE(row.cells().size() == 6);
  CHECK(row.cells()[0] == "a");
  CHECK(row.cells()[1] == "b, c");
  CHECK(row.cells()[2].empty());
  CHECK(row.cells()[3] == "say \"hi\"");
  CHECK(row.cells()[4].empty());
  CHECK(row.cells()[5].empty());
  CHECK(row.column(1) == 3);
  CHECK(row.column(2) == 10);
  row.split("");
  CHECK(row.cells().size() == 1);
}

TEST_CASE("bad rows tell their column") {
  CHECK(error_column(R"(a,"b)") == 3);
  CHECK(error_column(R"("a"b,c)") == 4);
  CHECK(error_column("a,\xffz") == 3);
}

TEST_CASE("UTF-8 by the book") {
  CHECK(find_broken_utf8("plain, \xc3\xa9, \xe2\x82\xac, \xf0\x9f\x8e\xb5, \xf4\x8f\xbf\xbf") == std::string_view::npos);
  for (const char* broken : {"ab\x80", "ab\xc1\xbf", "ab\xe0\x80\x80", "ab\xed\xa0\x80",
                             "ab\xf0\x80\x80\x80", "ab\xf4\x90\x80\x80", "ab\xf8", "ab\xe2\x82"})
    CHECK(find_broken_utf8(broken) == 2);
}
