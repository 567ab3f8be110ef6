#include "engine/cuda/graphs.h"

#include <algorithm>
#include <cstring>

#include "engine/cuda/memory.h"

namespace piano::cuda {

std::size_t SettlingSizes::of(std::size_t n, std::size_t spare) {
  if (!on_) return n;
  if (next_ == most_.size()) most_.push_back(0);
  std::size_t& most = most_[next_++];
  if (n > most) most = n + (spare > 0 ? n / 8 + spare : 0);
  return most;
}

Graphs::~Graphs() {
  for (const Known& k : known_) {
    if (k.graph != nullptr) cudaGraphExecDestroy(k.graph);
  }
}

void Graphs::drop_oldest() {
  const auto oldest = std::min_element(known_.begin(), known_.end(), [](const Known& a, const Known& b) { return a.used < b.used; });
  if (oldest->graph != nullptr) check(cudaGraphExecDestroy(oldest->graph), "graph");  // one that still runs is freed when it has ended
  known_.erase(oldest);
}

void Graphs::run(std::span<const Command* const> commands, std::size_t most) {
  const auto start_all = [&] {
    for (const Command* command : commands) command->start(command, stream_);
  };
  now_.clear();
  for (const Command* command : commands) {
    const auto* bytes = reinterpret_cast<const std::byte*>(command);
    now_.insert(now_.end(), bytes, bytes + command->bytes);
  }
  const auto found = std::find_if(known_.begin(), known_.end(), [&](const Known& k) { return k.commands == now_; });
  if (found == known_.end()) {
    start_all();
    ++replays_.misses;
    if (known_.size() >= most) drop_oldest();
    known_.push_back({now_, nullptr, ++runs_});
    return;
  }
  found->used = ++runs_;
  ++(found->graph != nullptr ? replays_.hits : replays_.misses);
  if (found->graph == nullptr) {
    cudaGraph_t graph;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "graph");
    try {
      start_all();
    } catch (...) {  // the stream is to be one that computes again
      if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess) cudaGraphDestroy(graph);
      throw;
    }
    check(cudaStreamEndCapture(stream_, &graph), "graph");
    check(cudaGraphInstantiate(&found->graph, graph, 0), "graph");
    check(cudaGraphDestroy(graph), "graph");
  }
  check(cudaGraphLaunch(found->graph, stream_), "graph");
}

}  // namespace piano::cuda
