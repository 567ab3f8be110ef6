// The thread pool on std::thread: where OpenMP is absent, and for ThreadSanitizer, which does not understand g++'s OpenMP.
#ifndef PIANO_OPENMP
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/base/check.h"
#include "engine/core/thread_pool.h"

namespace piano {

// The caller is worker 0; the others sleep until `round` goes up and count themselves off in `running`.
struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable start, done;
  void* function = nullptr;
  Call call = nullptr;
  std::uint64_t round = 0;
  int running = 0;
  bool stopping = false;
  std::vector<std::exception_ptr> errors;  // one per worker
  std::vector<std::thread> threads;

  void run_worker(int worker) {
    try {
      call(function, worker);
    } catch (...) {
      errors[static_cast<std::size_t>(worker)] = std::current_exception();
    }
  }

  void serve(int worker) {
    std::uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock lock(mutex);
        start.wait(lock, [&] { return stopping || round != seen; });
        if (stopping) return;
        seen = round;
      }
      run_worker(worker);
      const std::lock_guard lock(mutex);
      if (--running == 0) done.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : size_(threads), state_(std::make_unique<State>()) {
  PIANO_CHECK(threads >= 1, "[thread pool] expected at least one thread");
  state_->errors.resize(static_cast<std::size_t>(threads));
  for (int worker = 1; worker < threads; ++worker) state_->threads.emplace_back([state = state_.get(), worker] { state->serve(worker); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->start.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

void ThreadPool::run_erased(void* function, Call call) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->function = function;
    state_->call = call;
    state_->running = size_ - 1;
    ++state_->round;
  }
  state_->start.notify_all();
  state_->run_worker(0);
  {
    std::unique_lock lock(state_->mutex);
    state_->done.wait(lock, [&] { return state_->running == 0; });
  }
  std::exception_ptr first;
  for (auto& error : state_->errors) {
    if (!first) first = error;
    error = nullptr;
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace piano
#endif
