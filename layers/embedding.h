// Embedding tables read through bags of ids.
//
// Row 0 of a table that ids are looked up in is the out-of-vocabulary row, row 1 means "missing". In training an id is replaced by row 0 with
// probability `id_dropout` (IdDropout in engine/ops/ops.h), so that ids never seen get a learned vector and not noise.
#pragma once

#include <span>
#include <string>

#include "engine/ops/ops.h"

namespace piano {

struct Embedding {
  ParameterId table;              // (vocabulary, d)
  std::uint32_t site = 0;
  double id_dropout = 0;

  // Declares the table <name>.
  static Embedding declare(ParameterStore& store, const std::string& name, std::int64_t rows, std::int64_t d, double id_dropout);

  // `rows` says which list a row belongs to, for the random numbers; `salt` keeps two uses of one table in one step apart.
  // One id per row: ids (rows.rows()) -> (rows, d).
  Tensor operator()(const Context& ctx, std::span<const std::int32_t> ids, Ragged rows, std::uint32_t salt = 0) const;
  // The mean of each bag: offsets (rows + 1) -> (rows, d). An empty bag gives zeros.
  Tensor operator()(const Context& ctx, std::span<const std::int32_t> offsets, std::span<const std::int32_t> ids, Ragged rows,
                    std::uint32_t salt = 0) const;
};

}  // namespace piano
