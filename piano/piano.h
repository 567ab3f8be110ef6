// The public interface: load a model, re-rank requests. This header is all that an embedder includes; no Eigen, JSON or OpenMP type is in it.
//
//   auto model = piano::Model::load("model.safetensors");   // immutable, memory-mapped, shared by threads
//   piano::Session session(model);                          // one per thread; owns its memory
//   const piano::Response& answer = session.rerank(request);
//
// A warmed-up session does not allocate, and a request's answer has the same bits alone, in any order and in any session.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "data/request.h"
#include "engine/base/error.h"

namespace piano {

// One candidate of the answer. Probabilities are the model's raw ones.
struct Ranked {
  std::string_view id;    // a view of the request's own string
  std::int32_t rank = 0;  // 1 = top
  std::int32_t from = 0;  // the initial rank, 1 = top
  double score = 0;       // alpha log pctr + beta log pcvr + gamma log value; exact ties by initial rank
  float ctr = 0;          // P(click)
  float cvr = 0;          // P(conversion | click)
};

struct Response {
  float list_ctr = 0;              // P(any click), or the expected fraction or count, as list.label says
  float list_cvr = 0;              // the same for conversions; a probability is the one given a click
  std::span<const Ranked> ranking; // best first; valid until the session's next call
};

class Model {
 public:
  // Throws Error{io} when the file cannot be read and Error{model} when it is not a model that this version understands.
  static std::shared_ptr<const Model> load(const std::string& path);

  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const std::string& name() const;  // "piano-3f2a": from the parameters' checksum
  struct Impl;
  const Impl& impl() const { return *impl_; }  // for PIANO's own tools

 private:
  explicit Model(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

class Session {
 public:
  explicit Session(std::shared_ptr<const Model> model);
  ~Session();
  Session(Session&&) noexcept;

  // Throws Error{data} for a request that cannot be answered: "candidates[3].dense: expected 2 numbers, got 3"; Error{model} when a score is
  // not finite, which only a damaged model can do.
  const Response& rerank(const Request& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace piano
