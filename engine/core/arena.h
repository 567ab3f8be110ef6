// A bump arena: every activation, gradient and tape node of a micro-batch lies in it, and reset() frees them all in O(1).
//
// A full arena grows by another chunk (one heap allocation); the next reset() merges the chunks, so a warmed-up arena never allocates.
// Debug and ASan builds poison what reset() or give_back() frees, and epoch() tells a stale tensor from a live one.
//
// What is given back before the reset is handed out again for the next request of the same size, the last first: it is still in the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

namespace piano {

class Arena {
 public:
  static constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector register

  explicit Arena(std::size_t reserve_bytes = 0);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Uninitialised, 64-byte aligned. Valid until reset().
  void* allocate(std::size_t bytes);
  // requires: p = allocate(bytes), not given back since
  void give_back(void* p, std::size_t bytes);

  // From begin_loan() to end_loan(): end_loan() gives back all that was allocated in between.
  void begin_loan() { lent_.clear(), lending_ = true; }
  void end_loan();

  // A trivially destructible object, or an array of them (uninitialised).
  template <class T, class... Args>
  T* make(Args&&... args) {
    static_assert(std::is_trivially_destructible_v<T>);
    return ::new (allocate(sizeof(T))) T{std::forward<Args>(args)...};
  }
  template <class T>
  T* array(std::int64_t n) {
    static_assert(std::is_trivially_copyable_v<T>);
    return static_cast<T*>(allocate(static_cast<std::size_t>(n) * sizeof(T)));
  }

  void reset();                                // frees everything at once; epoch() goes up by one
  void reserve(std::size_t bytes);             // requires: nothing allocated since the last reset()
  std::size_t used() const { return used_; }   // bytes since the last reset(), padding included; what is handed out again counts once
  const std::uint32_t* epoch() const { return &epoch_; }

 private:
  struct Chunk {
    std::byte* data;
    std::size_t size;
  };
  struct Free {                    // at the beginning of memory that was given back
    Free* next;
  };
  struct Bin {                     // of one size
    std::size_t size;
    Free* first;
  };
  struct Block {
    void* data;
    std::size_t size;
  };
  void* find_given_back(std::size_t size);  // null when there is none
  std::byte* bump(std::size_t size);
  void add_chunk(std::size_t bytes);
  void release();

  std::vector<Bin> bins_;          // as many as sizes were given back: a few dozen
  std::vector<Block> lent_;
  bool lending_ = false;
  std::vector<Chunk> chunks_;      // the last one is in use
  std::size_t offset_ = 0;         // within the last chunk
  std::size_t used_ = 0;
  std::uint32_t epoch_ = 0;
};

}  // namespace piano
