// What scores a batch of requests. An interface: trainer, predictor and session run PIANO (piano_network.h) and the baselines (baselines/) alike.
// A network is stateless but for parameter handles: the same code runs in training, evaluation and serving, in float on the kernels and in
// double on the reference.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "data/batch.h"
#include "data/feature_space.h"
#include "data/labels.h"
#include "engine/core/context.h"
#include "piano/config.h"

namespace piano {

// One column of logits for each kind of conversion, in the schema's order; what lies beyond, or a model lacks, is none.
using KindLogits = std::array<Tensor, kMostKinds>;

// pctr_i = s(click), pcvr_i = s(conversion) (conversion given click), the same for the list. traits() says which of them a model gives, and
// whether its click logit is a probability's or a score.
struct Logits {
  Tensor click;                        // (rows, 1), per candidate
  KindLogits conversion{};             // (rows, 1) each
  Tensor list_click = {};              // (lists, 1), or none; with list.label = count: log-rates before softplus
  KindLogits list_conversion{};        // (lists, 1) each
  Tensor content = {}, token = {};     // what judge() takes, from a model that judges orders: (rows, d), and (lists, d) or none
};

// What belongs to the first kind of conversion is called `name`, to the others "<name>.1", "<name>.2", ..
std::string name_of_kind(const std::string& name, std::size_t kind);

// Brings the logits to the host (Context::to_host), and with `judged` what judge() takes.
void to_host(const Context& ctx, const Logits& logits, bool judged = false);

// What a network computed of a history, whatever is asked for: a function of the batch's history columns alone.
struct HistoryMemory {
  Tensor k, v;                         // (history rows, columns), or none
};

class Network {
 public:
  virtual ~Network() = default;

  Logits operator()(const Context& ctx, const data::Batch& batch) const;
  // The same. `memory`, when it holds tensors, is what an earlier batch with the same history columns left there: the bits are the same, the
  // work on the history is not done again.
  Logits operator()(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const { return forward(ctx, batch, memory); }
  // The columns of the memory's tensors; 0 for one that a forward does not leave there.
  struct MemoryColumns {
    std::int64_t k = 0, v = 0;
  };
  virtual MemoryColumns memory_columns() const { return {}; }

  // What the list heads say of one list in several orders: list_click and list_conversion, (orders, 1). `content` (n, d) and `token` (1, d) are
  // the list's, from a forward; candidate i of order s is shown at positions[s * n + i], from 1.
  // requires: traits().list_conversion, encoder.position = displayed
  virtual Logits judge(const Context& ctx, Tensor content, Tensor token, std::span<const std::int32_t> positions) const;

  // The weight of each past event of the batch, (history rows): for people. Zeros where no current query attends to the past.
  virtual void attention_weights(const Context& ctx, const data::Batch& batch, std::span<double> out) const;

  // Which rows of which tables a batch reads (repeats included), before id dropout. For optimisers that update rows on demand.
  // Ranks and positions are as in the batch: those past the last row of the position table stand for that row.
  using VisitRows = std::function<void(ParameterId, std::span<const std::int32_t>)>;
  virtual void visit_rows(const data::Batch& batch, const VisitRows& visit) const = 0;

 private:
  virtual Logits forward(const Context& ctx, const data::Batch& batch, HistoryMemory& memory) const = 0;
};

// The network of config.model.name. Declares every parameter in `store` (then: store.allocate()). Throws ErrorCode::usage when
// rank.conversion_weights are not as many as the kinds of conversion.
std::unique_ptr<const Network> make_network(const Config& config, const data::FeatureSpace& features, ParameterStore& store);

}  // namespace piano
