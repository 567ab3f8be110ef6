#include "layers/embedding.h"

#include <algorithm>

namespace piano {
namespace {

constexpr std::int32_t kOutOfVocabulary = 0;
constexpr std::int32_t kMissing = 1;

// The ids of row r are the columns of row r: `place(i)` is the (first id, one past the last id) of row i.
template <class Place>
const std::int32_t* drop_ids(const Context& ctx, const Embedding& layer, std::span<const std::int32_t> ids, Ragged rows, std::uint32_t salt,
                             Place place) {
  if (!ctx.training || layer.id_dropout <= 0) return ids.data();
  auto* kept = ctx.arena->array<std::int32_t>(static_cast<std::int64_t>(ids.size()));
  const auto p = static_cast<float>(layer.id_dropout);
  for (std::int32_t list = 0; list < rows.lists; ++list) {
    const float chance = list < ctx.padding ? p : 0.0f;
    for (std::int32_t row = rows.begin(list); row < rows.end(list); ++row) {
      const auto [begin, end] = place(row);
      for (std::int32_t i = begin; i < end; ++i) {
        const float u = random_uniform(ctx.random, layer.site ^ salt, static_cast<std::uint32_t>(ctx.first_list + list),
                                       static_cast<std::uint32_t>(row - rows.begin(list)), static_cast<std::uint32_t>(i - begin));
        const std::int32_t id = ids[static_cast<std::size_t>(i)];
        kept[i] = u < chance && id != kMissing ? kOutOfVocabulary : id;
      }
    }
  }
  return kept;
}

}  // namespace

Embedding Embedding::declare(ParameterStore& store, const std::string& name, std::int64_t rows, std::int64_t d, double id_dropout) {
  return {store.add_table(name, rows, d), site_hash(name), id_dropout};
}

Tensor Embedding::operator()(const Context& ctx, std::span<const std::int32_t> ids, Ragged rows, std::uint32_t salt) const {
  PIANO_ASSERT(rows.rows() == static_cast<std::int32_t>(ids.size()), "[embedding] one id per row");
  const std::int32_t* kept = drop_ids(ctx, *this, ids, rows, salt, [](std::int32_t row) { return std::pair{row, row + 1}; });
  return embedding_sum(ctx, ctx.parameter(table), {nullptr, kept, static_cast<std::int32_t>(ids.size())}, Pooling::sum);
}

Tensor Embedding::operator()(const Context& ctx, std::span<const std::int32_t> offsets, std::span<const std::int32_t> ids,
                             Ragged rows, std::uint32_t salt) const {
  PIANO_ASSERT(rows.rows() + 1 == static_cast<std::int32_t>(offsets.size()), "[embedding] one bag per row");
  const std::int32_t* kept = drop_ids(ctx, *this, ids, rows, salt, [&](std::int32_t row) {
    return std::pair{offsets[static_cast<std::size_t>(row)], offsets[static_cast<std::size_t>(row) + 1]};
  });
  return embedding_sum(ctx, ctx.parameter(table), {offsets.data(), kept, static_cast<std::int32_t>(offsets.size()) - 1}, Pooling::mean);
}

}  // namespace piano
