// What every model reads of a request, PIANO and the baselines alike: entities as vectors, numbers, initial ranks. So that what differs between
// two models is the models.
#pragma once

#include "piano/config.h"
#include "piano/entity_encoders.h"
#include "piano/network.h"

namespace piano {

struct RequestEncoder {
  QueryEncoder query;
  ItemEncoder item;
  UserEncoder user;
  ContextEncoder context;
  std::int64_t dense_columns = 0, match_columns = 0, score_columns = 0;

  static RequestEncoder declare(ParameterStore& store, const Config& config, const data::FeatureSpace& features);
  std::int64_t known_columns() const { return dense_columns + match_columns + score_columns; }

  struct Lists {
    Ragged lists, candidates;              // one row a list; one row a candidate
    std::span<const std::int32_t> list_of; // (rows)
    Tensor query, user, context;           // (lists, d); context may be none
  };
  Lists lists(const Context& ctx, const data::Batch& batch) const;
  // Per candidate: the embedding (rows, d), and the numbers known of it (rows, known_columns) or none.
  Tensor items(const Context& ctx, const data::Batch& batch, Ragged candidates) const;
  Tensor known(const Context& ctx, const data::Batch& batch) const;

  void visit_rows(const data::Batch& batch, const Network::VisitRows& visit) const;
};

// x_i = W_x [e_i ; e_q ; e_u ; e_ctx ; known ; what a model adds] + P[r_i], (rows, d): one matrix, cut into the columns that differ from
// candidate to candidate and those that a list shares, so that the list's share is computed once per list.
struct Join {
  Linear item, list;
  Embedding position;                      // none without positions; with encoder.position = displayed, row 0 is "not shown"
  bool displayed = false;                  // else by initial rank

  // `item_columns`, `list_columns`: the widths of what the model adds, per candidate and per list.
  static Join declare(ParameterStore& store, const Config& config, const RequestEncoder& request, bool positions, std::int64_t item_columns,
                      std::int64_t list_columns);
  Tensor operator()(const Context& ctx, const data::Batch& batch, const RequestEncoder::Lists& lists, Tensor items, Tensor added_to_items,
                    Tensor known, Tensor added_to_lists) const;
  // The two halves of it: all but P[..], and x + P[positions], rows past the table's last standing for that.
  Tensor content(const Context& ctx, const RequestEncoder::Lists& lists, Tensor items, Tensor added_to_items, Tensor known,
                 Tensor added_to_lists) const;
  Tensor place(const Context& ctx, Tensor x, std::span<const std::int32_t> positions, Ragged candidates) const;
  std::span<const std::int32_t> positions(const data::Batch& batch) const { return displayed ? batch.position : batch.rank; }

  void visit_rows(const data::Batch& batch, const Network::VisitRows& visit) const;
};

}  // namespace piano
