// The team: every member once a run, meetings that order memory, whether its members spin or sleep.
#include <doctest/doctest.h>

#include <chrono>
#include <thread>
#include <vector>

#include "engine/core/team.h"
#include "tests/support/allocation_counter.h"

using namespace piano;

TEST_CASE("team: each member runs once, and meetings show what all have written") {
  for (const int members : {1, 2, 3, 5}) {
    Team team(members);
    std::vector<int> written(static_cast<std::size_t>(members), 0), wrong(static_cast<std::size_t>(members), 0);
    for (int round = 0; round < 50; ++round) {
      if (round % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));  // long enough for the others to fall asleep
      if (round % 3 == 0) team.rouse();
      team.run([&](int member) {
        const auto self = static_cast<std::size_t>(member);
        for (int turn = 1; turn <= 4; ++turn) {
          ++written[self];
          team.meet();
          for (const int w : written) wrong[self] += w != 4 * round + turn;
          team.meet();
        }
      });
    }
    CHECK(written == std::vector<int>(static_cast<std::size_t>(members), 200));
    CHECK(wrong == std::vector<int>(static_cast<std::size_t>(members), 0));
  }
}

TEST_CASE("team: a run allocates nothing, and a team may end unused, roused or asleep") {
  Team team(3);
  std::vector<int> calls(3, 0);
  const auto run = [&] { team.run([&](int member) { ++calls[static_cast<std::size_t>(member)]; }); };
  run();
  const std::int64_t before = allocation_count();
  for (int i = 0; i < 100; ++i) run();
  CHECK(allocation_count() == before);
  CHECK(calls == std::vector<int>(3, 101));
  { const Team unused(3); }
  Team roused(2);
  roused.rouse();
  Team asleep(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(2));
}
