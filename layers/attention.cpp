#include "layers/attention.h"

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

Tensor MultiHeadAttention::operator()(const Context& ctx, Tensor queries, Tensor keys, Tensor values, Ragged query_rows,
                                      Ragged key_rows) const {
  const Tensor q = linear(ctx, queries, ctx.parameter(wq), ctx.parameter(bq));
  const Tensor k = linear(ctx, keys, ctx.parameter(wk), ctx.parameter(bk));
  const Tensor v = linear(ctx, values, ctx.parameter(wv), ctx.parameter(bv));
  const Tensor o = null_key ? attention(ctx, q, k, v, query_rows, key_rows, heads, ctx.parameter(null_key), ctx.parameter(null_value))
                            : attention(ctx, q, k, v, query_rows, key_rows, heads);
  return linear(ctx, o, ctx.parameter(wo), ctx.parameter(bo));
}

}  // namespace piano
