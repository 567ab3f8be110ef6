// The public interface: load a model, re-rank requests. This header is all that an embedder includes; no Eigen, JSON or OpenMP type is in it.
//
//   auto model = piano::Model::load("model.safetensors");   // immutable, memory-mapped, shared by threads
//   piano::Session session(model);                          // one per thread; owns its memory
//   const piano::Response& answer = session.rerank(request);
//
// Many requests: a session for each core. One request as fast as it can be: Session(model, {.threads = 2}), on cores that have nothing else to do.
// A warmed-up session does not allocate, and a request's answer has the same bits alone, in any order and in any session.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/request.h"
#include "engine/base/error.h"

namespace piano {

// One candidate of the answer. Probabilities are calibrated where the model file is (docs/experiments.md), else raw; NaN: the model gives none (docs/models.md).
struct Ranked {
  std::string_view id;    // a view of the request's own string
  std::int32_t rank = 0;  // 1 = top
  std::int32_t from = 0;  // the initial rank, 1 = top
  double score = 0;       // alpha log pctr + beta log pcvr + gamma log value (docs/models.md); exact ties by initial rank. With rank.by =
                          // list_search the order is another, and these numbers are those of the order that the search began with
  float ctr = 0;          // P(click)
  std::array<float, kMostKinds> cvr{};  // P(conversion | click), of each kind of conversion in the order of Model::conversions(); 0 beyond
};

struct Response {
  // Of the list in the first ranker's order; with rank.by = list_search, in the order returned.
  float list_ctr = 0;              // P(any click), or the expected fraction or count, as list.label says
  std::array<float, kMostKinds> list_cvr{};  // the same for conversions, of each kind; a probability is the one given a click. NaN: the model gives none
  std::span<const Ranked> ranking; // best first; valid until the session's next call
};

// When the model file's checksums are compared.
enum class Check {
  at_load,  // all of it
  as_read,  // embedding tables by blocks of rows, when a session first reads them: the first answer comes sooner, unread rows take no memory
};

class Model {
 public:
  // Throws Error{io} when the file cannot be read and Error{model} when it is not a model that this version understands, or is damaged.
  static std::shared_ptr<const Model> load(const std::string& path, Check check = Check::at_load);

  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const std::string& name() const;  // "piano-3f2a": the model, and from the parameters' checksum
  // The kinds of conversion that it was trained for, sorted. Empty: there is one, without a name, as in a log whose conversions are 0 or 1.
  const std::vector<std::string>& conversions() const;
  struct Impl;
  const Impl& impl() const { return *impl_; }  // for PIANO's own tools

 private:
  explicit Model(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

struct Device;  // engine/core/device.h

struct SessionOptions {
  int threads = 1;                               // cores for one request; the answer's bits do not depend on it
  std::size_t history_cache_bytes = 8u << 20;    // for what was computed of users' histories; nor on this. 0: nothing is kept
  // Where the network runs; null: here. On a GPU (PIANO's own tools: cuda_device()) one thread waits for it, and histories are not kept.
  const Device* device = nullptr;
};

// How often the history of a request was one seen before.
struct HistoryUse {
  std::int64_t requests = 0, known = 0;          // with a history, as far as the cache is used at all
};

class Session {
 public:
  explicit Session(std::shared_ptr<const Model> model, SessionOptions options = {});
  ~Session();
  Session(Session&&) noexcept;

  // Throws Error{data} for a request that cannot be answered: "candidates[3].dense: expected 2 numbers, got 3"; Error{model} when a score is
  // not finite or a checksum differs, which only a damaged model can do.
  const Response& rerank(const Request& request);
  HistoryUse history_use() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace piano
