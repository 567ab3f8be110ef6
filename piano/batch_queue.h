// Batches of the steps to come, built whole by other threads while earlier steps are done, and handed out in order. What a batch holds follows from
// its requests alone, so no bit depends on who built it, or when.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "data/batch.h"

namespace piano {

class BatchQueue {
 public:
  using Build = std::function<void(std::span<const std::int64_t> requests, data::Batch& batch)>;

  // A thread for each of `builds`, which no other calls at that time; of one build none: then batches are built where they are asked for.
  explicit BatchQueue(std::vector<Build> builds);
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;

  // The requests of the batches to come, `size` to a batch (the last may have fewer), instead of what is left of those announced before. They are
  // begun at once, at most one for each thread ahead of the batch that was handed out last.
  void announce(std::span<const std::int64_t> requests, std::size_t size);

  // The batch of these requests, until the next call. Throws what building it threw. requires: they are those of the first announced batch that was
  // not asked for yet; any, once none is left
  const data::Batch& next(std::span<const std::int64_t> requests);

 private:
  struct Slot {
    data::Batch batch;
    std::exception_ptr error;
    bool built = false;          // and not handed out yet
  };
  std::span<const std::int64_t> part(std::size_t batch) const;
  void serve(const std::stop_token& stop, const Build& build);

  std::vector<Build> builds_;
  std::vector<std::int64_t> requests_;        // announced
  std::size_t size_ = 1, batches_ = 0;        // to a batch; of them
  std::size_t begun_ = 0, asked_ = 0;         // batches whose building has begun; that were asked for
  std::size_t building_ = 0;                  // by threads, now
  std::vector<Slot> slots_;                   // batch i's is i modulo their number: one a thread, and the one handed out
  std::mutex mutex_;                          // of all above but `builds_`, and batches while they are built
  std::condition_variable_any to_build_;
  std::condition_variable built_;
  std::vector<std::jthread> threads_;         // the last member: they end before what they use does
};

}  // namespace piano
