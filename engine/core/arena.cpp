#include "engine/core/arena.h"

#include <algorithm>

#include "engine/base/poison.h"

namespace piano {
namespace {

constexpr std::size_t kMinimumChunk = std::size_t{1} << 16;

std::size_t round_up(std::size_t bytes) { return (bytes + Arena::kAlignment - 1) / Arena::kAlignment * Arena::kAlignment; }

// Nobody may read it until it is asked for again: the sanitizer sees to it, or it is no number that anybody expects.
void take_back(std::byte* data, std::size_t size) {
#if !defined(PIANO_ASAN) && !defined(NDEBUG)
  std::fill(data, data + size, std::byte{0xDD});
#endif
  poison(data, size);
}

}  // namespace

Arena::Arena(std::size_t reserve_bytes) {
  chunks_.reserve(64);
  bins_.reserve(64);
  lent_.reserve(64);
  if (reserve_bytes > 0) add_chunk(reserve_bytes);
}

Arena::~Arena() { release(); }

void Arena::release() {
  for (const Chunk& c : chunks_) {
    unpoison(c.data, c.size);
    ::operator delete(c.data, std::align_val_t{kAlignment});
  }
  chunks_.clear();
}

void Arena::add_chunk(std::size_t bytes) {
  const std::size_t size = std::max(kMinimumChunk, round_up(bytes));
  auto* data = static_cast<std::byte*>(::operator new(size, std::align_val_t{kAlignment}));
  take_back(data, size);
  chunks_.push_back({data, size});
  offset_ = 0;
}

void* Arena::allocate(std::size_t bytes) {
  const std::size_t size = round_up(std::max<std::size_t>(bytes, 1));
  void* p = find_given_back(size);
  if (p == nullptr) p = bump(size);
  unpoison(p, bytes);
  if (lending_) lent_.push_back({p, size});
  return p;
}

void* Arena::find_given_back(std::size_t size) {
  for (Bin& bin : bins_) {
    if (bin.size != size || bin.first == nullptr) continue;
    Free* p = bin.first;
    bin.first = p->next;
    return p;
  }
  return nullptr;
}

void Arena::give_back(void* p, std::size_t bytes) {
  const std::size_t size = round_up(std::max<std::size_t>(bytes, 1));
  auto bin = std::find_if(bins_.begin(), bins_.end(), [&](const Bin& b) { return b.size == size; });
  if (bin == bins_.end()) bin = bins_.insert(bin, {size, nullptr});
  unpoison(p, sizeof(Free));  // nothing, or one number, may have been asked for
  bin->first = ::new (p) Free{bin->first};
  take_back(static_cast<std::byte*>(p) + sizeof(Free), size - sizeof(Free));
}

void Arena::end_loan() {
  lending_ = false;
  for (const Block& block : lent_) give_back(block.data, block.size);
}

std::byte* Arena::bump(std::size_t size) {
  if (chunks_.empty() || offset_ + size > chunks_.back().size) {
    add_chunk(std::max(size, chunks_.empty() ? kMinimumChunk : 2 * chunks_.back().size));
  }
  std::byte* p = chunks_.back().data + offset_;
  offset_ += size;
  used_ += size;
  return p;
}

void Arena::reset() {
  bins_.clear();
  if (chunks_.size() > 1) {  // grown since the last reset: one chunk of the whole size serves from now on
    std::size_t total = 0;
    for (const Chunk& c : chunks_) total += c.size;
    release();
    add_chunk(total);
  } else if (!chunks_.empty()) {
    take_back(chunks_.back().data, offset_);
  }
  offset_ = 0;
  used_ = 0;
  ++epoch_;
}

void Arena::reserve(std::size_t bytes) {
  if (chunks_.size() == 1 && chunks_.back().size >= bytes) return;
  bins_.clear();
  release();
  add_chunk(bytes);
  used_ = 0;
}

}  // namespace piano
