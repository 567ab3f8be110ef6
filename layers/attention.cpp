#include "layers/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace piano {

MultiHeadAttention MultiHeadAttention::declare(ParameterStore& store, const std::string& name, std::int64_t d, int heads, bool null_slot) {
  MultiHeadAttention layer;
  layer.wq = store.add(name + ".wq", {d, d}, true);
  layer.bq = store.add(name + ".bq", {d}, false);
  layer.wk = store.add(name + ".wk", {d, d}, true);
  layer.bk = store.add(name + ".bk", {d}, false);
  layer.wv = store.add(name + ".wv", {d, d}, true);
  layer.bv = store.add(name + ".bv", {d}, false);
  layer.wo = store.add(name + ".wo", {d, d}, true);
  layer.bo = store.add(name + ".bo", {d}, false);
  if (null_slot) {
    layer.null_key = store.add(name + ".null_key", {d}, false);
    layer.null_value = store.add(name + ".null_value", {d}, false);
  }
  layer.heads = heads;
  return layer;
}

MultiHeadAttention::Projected MultiHeadAttention::project(const Context& ctx, Tensor queries, Tensor keys) const {
  return {project_queries(ctx, queries), project_keys(ctx, keys)};
}

Tensor MultiHeadAttention::project_queries(const Context& ctx, Tensor queries) const {
  return linear(ctx, queries, ctx.parameter(wq), ctx.parameter(bq));
}

Tensor MultiHeadAttention::project_keys(const Context& ctx, Tensor keys) const {
  return linear(ctx, keys, ctx.parameter(wk), ctx.parameter(bk));
}

Tensor MultiHeadAttention::project_values(const Context& ctx, Tensor values) const {
  return linear(ctx, values, ctx.parameter(wv), ctx.parameter(bv));
}

Tensor MultiHeadAttention::operator()(const Context& ctx, Projected p, Tensor v, Ragged query_rows, Ragged key_rows) const {
  const Tensor o = null_key ? attention(ctx, p.q, p.k, v, query_rows, key_rows, heads, ctx.parameter(null_key), ctx.parameter(null_value))
                            : attention(ctx, p.q, p.k, v, query_rows, key_rows, heads);
  return linear(ctx, o, ctx.parameter(wo), ctx.parameter(bo));
}

Tensor MultiHeadAttention::operator()(const Context& ctx, Tensor queries, Tensor keys, Tensor values, Ragged query_rows,
                                      Ragged key_rows) const {
  const Projected projected = project(ctx, queries, keys);
  return (*this)(ctx, projected, project_values(ctx, values), query_rows, key_rows);
}

Tensor MultiHeadAttention::match(const Context& ctx, Projected p, Ragged key_rows, const Matches& matches, std::int64_t rows,
                                 std::int64_t columns) const {
  return match_attention(ctx, p.q, p.k, key_rows, heads, matches, rows, columns, null_key ? ctx.parameter(null_key) : Tensor{});
}

Tensor MultiHeadAttention::mean(const Context& ctx, Tensor values, Ragged rows) const {
  return linear(ctx, segment_mean(ctx, project_values(ctx, values), rows), ctx.parameter(wo), ctx.parameter(bo));
}

void MultiHeadAttention::weights(const Context& ctx, Tensor queries, Tensor keys, Ragged query_rows, Ragged key_rows,
                                 std::span<double> out) const {
  const Projected projected = project(ctx, queries, keys);
  const auto q = projected.q.values<float>(), k = projected.k.values<float>();
  const auto d = static_cast<std::size_t>(queries.cols());
  const std::size_t head_size = d / static_cast<std::size_t>(heads);
  const auto null = null_key ? ctx.parameters->values<float>((*ctx.parameters)[null_key]) : std::span<float>{};
  const auto dot = [&](std::span<const float> a, std::span<const float> b, std::size_t head) {
    double sum = 0;
    for (std::size_t c = head * head_size; c < (head + 1) * head_size; ++c) sum += double{a[c]} * double{b[c]};
    return sum / std::sqrt(static_cast<double>(head_size));
  };
  std::fill(out.begin(), out.end(), 0.0);
  std::vector<double> scores;
  std::size_t at = 0;
  for (std::int32_t list = 0; list < query_rows.lists; ++list) {
    const auto n = static_cast<std::size_t>(key_rows.size(list));
    scores.resize(n + 1);
    for (std::int32_t i = query_rows.begin(list); i < query_rows.end(list); ++i, at += n) {
      const auto qi = q.subspan(static_cast<std::size_t>(i) * d, d);
      for (std::size_t head = 0; head < static_cast<std::size_t>(heads); ++head) {
        for (std::size_t j = 0; j < n; ++j) {
          scores[j] = dot(qi, k.subspan((static_cast<std::size_t>(key_rows.begin(list)) + j) * d, d), head);
        }
        scores[n] = null.empty() ? -INFINITY : dot(qi, null, head);
        const double top = *std::max_element(scores.begin(), scores.end());
        double sum = 0;
        for (double& s : scores) sum += (s = std::exp(s - top));
        for (std::size_t j = 0; j < n; ++j) out[at + j] += scores[j] / sum / heads;
      }
    }
  }
}

}  // namespace piano
