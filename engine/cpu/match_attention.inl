// match_attention: the softmax of attention for one query a list, handed to the candidates that share something with a key. The specification
// is engine/ref/match_attention.h.
#pragma once

#include "engine/cpu/attention_forward.inl"

namespace piano {
namespace {

// Calls body(list and head, weights, softmax) for each list with matches: weights (1, keys) times softmax.factor are the probabilities of the
// list's keys and, last, of the null row.
template <class Body>
inline void for_match_weights(const Context& context, const Node& node, const AttentionShape& shape, Body body) {
  const auto& args = args_of<MatchAttentionArgs>(node);
  const Panel keys_t = scratch_panel(context, shape.width, shape.most_keys);
  const Panel weights = scratch_panel(context, 1, shape.most_keys), query = scratch_panel(context, 1, shape.width);
  for (std::int32_t l = 0; l < args.keys.lists; ++l) {
    if (args.matches.offsets[l] == args.matches.offsets[l + 1]) continue;
    HeadOfList at{l, l + 1, args.keys.offsets[l], args.keys.offsets[l + 1], 0, 0, 0};
    at.keys = at.k_end - at.k_begin + (shape.null_slot ? 1 : 0);
    for (; at.head < shape.heads; ++at.head, at.column += shape.width) {
      pack_transposed(at.slots(shape, node.inputs[1], node.inputs[2]), 0, at.keys, shape.width, keys_t);
      pack_rows(at.queries(shape, value_of(node.inputs[0])), 0, 1, 1, shape.width, shape.binary_scale, query);
      Softmax softmax{};
      attention_softmax<1>(at.keys, shape.width, query, keys_t, weights, &softmax);
      body(at, weights.data, softmax.factor);
    }
  }
}

inline AttentionShape match_shape(const Node& node) {
  const auto& args = args_of<MatchAttentionArgs>(node);
  AttentionShape s{};
  s.d = cols_of(node.inputs[0]);
  s.heads = args.heads;
  s.width = s.d / s.heads;
  s.null_slot = node.inputs[2] != nullptr;
  for (std::int32_t l = 0; l < args.keys.lists; ++l) {
    const std::int64_t keys = args.keys.offsets[l + 1] - args.keys.offsets[l] + (s.null_slot ? 1 : 0);
    if (keys > s.most_keys) s.most_keys = keys;
  }
  set_scale(s);
  return s;
}

// inputs: q (lists, d), k, null_k or null -> (rows, heads * columns)
void match_attention_forward(const Context& context, Node& node) {
  const auto& args = args_of<MatchAttentionArgs>(node);
  const Matches& m = args.matches;
  float* out = value_of(node.output);
  zero(out, elements_of(node.output));
  const std::int64_t stride = cols_of(node.output);
  for_match_weights(context, node, match_shape(node), [&](const HeadOfList& at, const float* weights, float factor) {
    for (std::int32_t x = m.offsets[at.q_begin]; x < m.offsets[at.q_end]; ++x) {
      out[m.rows[x] * stride + at.head * args.columns + m.columns[x]] += weights[m.keys[x] - at.k_begin] * factor;
    }
  });
}

// With e_j the sum of dout over the matches of key j: ds_j = p_j (e_j - sum_m p_m e_m), dq += scale sum_j ds_j k_j, dk_j += scale ds_j q
void match_attention_backward(const Context& context, Node& node) {
  const auto& args = args_of<MatchAttentionArgs>(node);
  const Matches& m = args.matches;
  const AttentionShape shape = match_shape(node);
  const float* dout = static_cast<const float*>(node.output->grad);
  const std::int64_t stride = cols_of(node.output);
  float* dq = grad_of(node.inputs[0]);
  float* dk = grad_of(node.inputs[1]);
  float* dnull_k = grad_of(node.inputs[2]);
  float* ds = scratch_panel(context, 1, shape.most_keys).data;  // e_j, then scale * ds_j
  for_match_weights(context, node, shape, [&](const HeadOfList& at, const float* weights, float factor) {
    zero(ds, blocks_of(at.keys) * kLanes);
    for (std::int32_t x = m.offsets[at.q_begin]; x < m.offsets[at.q_end]; ++x) {
      ds[m.keys[x] - at.k_begin] += dout[m.rows[x] * stride + at.head * args.columns + m.columns[x]];
    }
    F total{};
    for (std::int64_t j = 0; j < at.keys; j += kLanes) total = fma(load(weights + j), load(ds + j), total);
    const float mean = sum(total) * factor;
    for (std::int64_t j = 0; j < at.keys; j += kLanes) {
      store(ds + j, load(weights + j) * (factor * shape.scale) * (load(ds + j) - mean));
    }
    const HeadRows keys = at.slots(shape, node.inputs[1], node.inputs[2]);
    const float* query = at.queries(shape, value_of(node.inputs[0]))[0];
    for_vectors(shape.width, [&](std::int64_t c, std::int64_t n) {
      const F q = get(query + c, n);
      F sum_dq{};
      for (std::int64_t j = 0; j < at.keys; ++j) {
        sum_dq = fma(splat(ds[j]), get(keys[j] + c, n), sum_dq);
        float* to = j < keys.count ? dk : dnull_k;
        if (to == nullptr) continue;
        to += (j < keys.count ? (at.k_begin + j) * shape.d : 0) + at.column + c;
        put(to, fma(splat(ds[j]), q, get(to, n)), n);
      }
      if (float* to = dq; to != nullptr) {
        to += at.q_begin * shape.d + at.column + c;
        put(to, get(to, n) + sum_dq, n);
      }
    });
  });
}

}  // namespace
}  // namespace piano
