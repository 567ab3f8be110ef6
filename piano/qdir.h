// QDIR, the Query-Driven Interest Refiner (arXiv 2606.16641): the current query attends over the user's past queries, so that those past
// preferences come out that match today's intent. That it is cross-attention from the current query to past queries is the paper's; the rest
// of this form is our choice.
//
//   k_t = e_{q_t} + age(t) + action(t);  v_t = W_v [e_{q_t} ; e_{i_t}]
//   o = MHA(g, k, v) with a null slot;  r = LN(g + Drop(o));  p = LN(r + Drop(FFN(r)))
//   m_i = for each head and each thing that a past item can share with candidate i (being the same item, a field's value): the attention
//         that goes to the events which share it. Match features that ask for today's intent: they need no vector of the item or the value,
//         and so hold for those never seen.
#pragma once

#include <span>

#include "data/batch.h"
#include "data/feature_space.h"
#include "layers/embedding.h"
#include "layers/feed_forward.h"
#include "layers/norm.h"
#include "layers/query_attention.h"
#include "piano/config.h"
#include "piano/network.h"

namespace piano {

// Shares of attention are small numbers; the other inputs of the heads are of order 1.
inline constexpr double kMatchScale = 8;

struct Qdir {
  QdirMode mode = QdirMode::attend;
  QdirQuery query = QdirQuery::query;
  QdirValue value = QdirValue::both;
  Embedding age, action;
  Linear ask;          // query+user: (2d -> d)
  Linear join_value;   // both: (2d -> d)
  QueryAttention attention;
  LayerNorm norm1, norm2;
  FeedForward feed_forward;
  double dropout_rate = 0;
  std::int64_t match_columns = 0;  // heads (one in `mean`) x (the item itself + schema.match_fields)

  static Qdir declare(ParameterStore& store, const Config& config, const data::FeatureSpace& features);

  // What QDIR reads. Rows of `history` are oldest first within each list.
  struct Input {
    Tensor query;          // (lists, d) e_q
    Tensor user;           // (lists, d) e_u
    Tensor past_query;     // (history rows, d)
    Tensor past_item;      // (history rows, d)
    std::span<const std::int32_t> past_action, past_age;  // (history rows)
    Ragged lists;          // one row a list
    Ragged history;
    Matches matches;       // (candidate, history row, what they share)
    std::int64_t candidates = 0;
  };

  bool reads_past_queries() const { return mode != QdirMode::off && mode != QdirMode::item_only; }
  bool reads_past_items() const { return mode != QdirMode::off && (mode == QdirMode::item_only || value != QdirValue::query); }

  // What QDIR keeps of the past: keys and values (with `mean` there are no keys).
  HistoryMemory remember(const Context& ctx, const Input& in) const;

  struct Interest {
    Tensor refined;        // p (lists, d); none when off
    Tensor matched;        // m (candidates, match_columns), times kMatchScale; none when off or qdir.match = false
  };
  // Reads the past from `memory`, not from in.past_query and the like.
  Interest operator()(const Context& ctx, const Input& in, HistoryMemory memory) const;
  // How much each past event was attended to: (history rows), the mean over heads; what is missing from 1 went to the null slot.
  void weights(const Context& ctx, const Input& in, std::span<double> out) const;

 private:
  Tensor asking(const Context& ctx, const Input& in) const;  // g (lists, d)
  Tensor keys(const Context& ctx, const Input& in) const;    // (history rows, d)
  Tensor values(const Context& ctx, const Input& in) const;  // (history rows, d); both: 2d, of which join_value makes the value
};

}  // namespace piano
