#include "piano/batch_queue.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace piano {

BatchQueue::BatchQueue(std::vector<Build> builds) : builds_(std::move(builds)), slots_(builds_.size() > 1 ? builds_.size() + 1 : 1) {
  for (const Build& build : builds_) {
    if (builds_.size() > 1) threads_.emplace_back([this, &build](const std::stop_token& stop) { serve(stop, build); });
  }
}

std::span<const std::int64_t> BatchQueue::part(std::size_t batch) const {
  const auto rest = std::span(requests_).subspan(batch * size_);
  return rest.first(std::min(size_, rest.size()));
}

void BatchQueue::announce(std::span<const std::int64_t> requests, std::size_t size) {
  std::unique_lock lock(mutex_);
  begun_ = batches_;  // no more of the old ones
  built_.wait(lock, [&] { return building_ == 0; });
  for (Slot& slot : slots_) slot.built = false, slot.error = nullptr;
  requests_.assign(requests.begin(), requests.end());
  size_ = size, batches_ = (requests.size() + size - 1) / size;
  begun_ = asked_ = 0;
  to_build_.notify_all();
}

const data::Batch& BatchQueue::next(std::span<const std::int64_t> requests) {
  std::unique_lock lock(mutex_);
  const bool announced = asked_ < batches_;
  Slot& slot = slots_[asked_ % slots_.size()];
  if (announced) {
    PIANO_CHECK(std::ranges::equal(requests, part(asked_)), "a step over other requests than were announced for it");
    ++asked_;
  }
  if (!announced || threads_.empty()) {  // no thread builds
    builds_[0](requests, slot.batch);
    return slot.batch;
  }
  to_build_.notify_one();  // the batch handed out before makes room for another
  built_.wait(lock, [&] { return slot.built; });
  slot.built = false;
  if (slot.error != nullptr) std::rethrow_exception(std::exchange(slot.error, nullptr));
  return slot.batch;
}

void BatchQueue::serve(const std::stop_token& stop, const Build& build) {
  std::unique_lock lock(mutex_);
  const auto has_work = [&] { return begun_ < batches_ && begun_ < asked_ + builds_.size(); };
  while (to_build_.wait(lock, stop, has_work) && !stop.stop_requested()) {
    const std::size_t batch = begun_++;
    Slot& slot = slots_[batch % slots_.size()];
    ++building_;
    lock.unlock();
    std::exception_ptr error;
    try {
      build(part(batch), slot.batch);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    --building_;
    slot.error = std::move(error), slot.built = true;
    built_.notify_one();
  }
}

}  // namespace piano
