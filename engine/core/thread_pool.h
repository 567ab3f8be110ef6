// A fixed set of workers that run one function together: for training and for many requests. One request on several cores: team.h.
#pragma once

#include <memory>
#include <type_traits>

namespace piano {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // requires: threads >= 1
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  // Calls f(worker) once for each worker 0 .. size() - 1, side by side, and returns when all are done. Allocates nothing.
  // When calls throw, the exception of the lowest worker is thrown again here. requires: not called from within f, nor from two threads.
  template <class F>
  void run(F&& f) {
    run_erased(&f, [](void* function, int worker) { (*static_cast<std::remove_reference_t<F>*>(function))(worker); });
  }

 private:
  using Call = void (*)(void* function, int worker);
  void run_erased(void* function, Call call);

  struct State;
  int size_;
  std::unique_ptr<State> state_;
};

}  // namespace piano
