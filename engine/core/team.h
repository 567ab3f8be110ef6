// A few threads that work through one request together. Where the workers of a ThreadPool may sleep between runs, the members of a Team spin
// for a while: a run, and a meeting within it, takes less than a microsecond when every member has a core. One that waits for longer lets
// others have its core, and then sleeps, so that a stolen core costs time but nothing burns one.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace piano {

class Team {
 public:
  explicit Team(int members);  // requires: members >= 1; the caller is member 0
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  // Calls f(member) once for each member, side by side, and returns when all are done. Allocates nothing.
  // requires: f does not throw; not called from two threads.
  template <class F>
  void run(F&& f) {
    run_erased(&f, [](void* function, int member) { (*static_cast<std::remove_reference_t<F>*>(function))(member); });
  }

  // Within a run, called by every member: returns when all have called it. What any of them wrote before, all see afterwards.
  void meet();

  // A run will follow soon: whoever sleeps begins to spin.
  void rouse();

 private:
  using Call = void (*)(void* function, int member);
  void run_erased(void* function, Call call);
  void serve(int member);

  int size_;
  void* function_ = nullptr;
  Call call_ = nullptr;
  bool stopping_ = false;
  alignas(64) std::atomic<std::uint32_t> signal_{0};   // the number of runs in its high half, of rouse() in its low half
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> meetings_{0};
  std::vector<std::thread> threads_;
};

}  // namespace piano
