#include <doctest/doctest.h>

#include <string>

#include "data/id_set.h"

using namespace piano::data;

TEST_CASE("an id is new once, through every growth of the table") {
  IdSet ids;
  CHECK(ids.insert(""));
  CHECK_FALSE(ids.insert(""));
  int fresh = 0, known = 0;
  for (int i = 0; i < 5000; ++i) {
    fresh += ids.insert("r-" + std::to_string(i));
    known += ids.insert("r-" + std::to_string(i / 2));  // i / 2 <= i: always one from before
  }
  CHECK(fresh == 5000);
  CHECK(known == 0);
}
