#include "layers/embedding.h"

namespace piano {

Embedding Embedding::declare(ParameterStore& store, const std::string& name, std::int64_t rows, std::int64_t d, double id_dropout) {
  return {store.add_table(name, rows, d), site_hash(name), id_dropout};
}

Tensor Embedding::operator()(const Context& ctx, std::span<const std::int32_t> ids, Ragged rows, std::uint32_t salt) const {
  PIANO_ASSERT(rows.rows() == static_cast<std::int32_t>(ids.size()), "[embedding] one id per row");
  return embedding_sum(ctx, ctx.parameter(table), {nullptr, ids.data(), static_cast<std::int32_t>(ids.size())}, Pooling::sum,
                       {id_dropout, site ^ salt, rows});
}

Tensor Embedding::operator()(const Context& ctx, std::span<const std::int32_t> offsets, std::span<const std::int32_t> ids,
                             Ragged rows, std::uint32_t salt) const {
  PIANO_ASSERT(rows.rows() + 1 == static_cast<std::int32_t>(offsets.size()), "[embedding] one bag per row");
  return embedding_sum(ctx, ctx.parameter(table), {offsets.data(), ids.data(), static_cast<std::int32_t>(offsets.size()) - 1}, Pooling::mean,
                       {id_dropout, site ^ salt, rows});
}

}  // namespace piano
