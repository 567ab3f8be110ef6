// The thread pool on OpenMP (CMake option PIANO_OPENMP).
#ifdef PIANO_OPENMP
#include <omp.h>

#include <exception>
#include <vector>

#include "engine/base/check.h"
#include "engine/core/thread_pool.h"

namespace piano {

struct ThreadPool::State {
  std::vector<std::exception_ptr> errors;  // one per worker
};

ThreadPool::ThreadPool(int threads) : size_(threads), state_(std::make_unique<State>()) {
  PIANO_CHECK(threads >= 1, "[thread pool] expected at least one thread");
  state_->errors.resize(static_cast<std::size_t>(threads));
}

ThreadPool::~ThreadPool() = default;

void ThreadPool::run_erased(void* function, Call call) {
  auto& errors = state_->errors;
  const int workers = size_;
  const auto run_worker = [&](int worker) {
    try {
      call(function, worker);
    } catch (...) {
      errors[static_cast<std::size_t>(worker)] = std::current_exception();
    }
  };
  if (workers == 1) {  // a team of one is made anew, on the heap, by every region (libgomp)
    run_worker(0);
  } else {
    // OpenMP may grant fewer threads than asked for: each then runs several workers.
#pragma omp parallel num_threads(workers)
    for (int worker = omp_get_thread_num(); worker < workers; worker += omp_get_num_threads()) run_worker(worker);
  }

  std::exception_ptr first;
  for (auto& error : errors) {
    if (!first) first = error;
    error = nullptr;
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace piano
#endif
