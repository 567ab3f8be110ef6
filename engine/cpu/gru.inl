// A gated recurrent unit over ragged rows. Each row waits for the one before it, so a list is walked row by row; the inputs' share of the gates
// is a matrix product beforehand (`linear`), and only h's is computed here, one dot product a unit and gate.
#pragma once

#include "engine/cpu/math.inl"
#include "engine/cpu/node.inl"

namespace piano {
namespace {

inline std::int64_t gru_row_of(const GruArgs& args, std::int32_t list, std::int32_t i) {
  return args.backwards ? args.lists.offsets[list + 1] - 1 - i : args.lists.offsets[list] + i;
}

// Per row, for backward: r, z, n and q = U_n h + b, (rows, 4d).
void gru_forward(const Context& context, Node& node) {
  const auto& args = args_of<GruArgs>(node);
  const std::int64_t rows = rows_of(node.output), d = cols_of(node.output);
  const float* x = value_of(node.inputs[0]);
  const float* u = value_of(node.inputs[1]);
  const float* b = value_of(node.inputs[2]);
  float* saved = scratch(context, 4 * d * (rows > 0 ? rows : 1));
  float* first = scratch(context, d);  // h before the first row
  zero(first, d);
  node.saved = saved;
  for (std::int32_t l = 0; l < args.lists.lists; ++l) {
    const float* h = first;
    for (std::int32_t i = 0; i < args.lists.offsets[l + 1] - args.lists.offsets[l]; ++i) {
      const std::int64_t row = gru_row_of(args, l, i);
      float* r = saved + row * 4 * d;
      float* z = r + d;
      float* n = z + d;
      float* q = n + d;
      float* out = value_of(node.output) + row * d;
      for (std::int64_t c = 0; c < d; ++c) {
        r[c] = dot_of(u + c * d, h, d);
        z[c] = dot_of(u + (d + c) * d, h, d);
        q[c] = dot_of(u + (2 * d + c) * d, h, d) + b[c];
      }
      const float* in = x + row * 3 * d;
      for_vectors(d, [&](std::int64_t c, std::int64_t lanes) {
        const F reset = sigmoid(get(in + c, lanes) + get(r + c, lanes));
        const F keep = sigmoid(get(in + d + c, lanes) + get(z + c, lanes));
        const F fresh = tanh(fma(reset, get(q + c, lanes), get(in + 2 * d + c, lanes)));
        put(r + c, reset, lanes);
        put(z + c, keep, lanes);
        put(n + c, fresh, lanes);
        put(out + c, fma(keep, get(h + c, lanes) - fresh, fresh), lanes);  // (1 - z) n + z h
      });
      h = out;
    }
  }
}

// dn = dh (1 - z), dz = dh (h - n);  gn = dn (1 - n^2), gz = dz z (1 - z), gr = gn q r (1 - r), dq = gn r
// dx += [gr ; gz ; gn], db += dq, dU += [gr ; gz ; dq] h^T,  dh before = dh z + U^T [gr ; gz ; dq]
void gru_backward(const Context& context, Node& node) {
  const auto& args = args_of<GruArgs>(node);
  const std::int64_t d = cols_of(node.output);
  const float* u = value_of(node.inputs[1]);
  float* dx = grad_of(node.inputs[0]);
  float* du = grad_of(node.inputs[1]);
  float* db = grad_of(node.inputs[2]);
  float* dh = scratch(context, d);
  float* g = scratch(context, 3 * d);  // gr, gz, dq
  float* gn = scratch(context, d);
  float* first = scratch(context, d);
  zero(first, d);
  for (std::int32_t l = 0; l < args.lists.lists; ++l) {
    zero(dh, d);
    for (std::int32_t i = args.lists.offsets[l + 1] - args.lists.offsets[l] - 1; i >= 0; --i) {
      const std::int64_t row = gru_row_of(args, l, i);
      const float* h = i > 0 ? value_of(node.output) + gru_row_of(args, l, i - 1) * d : first;
      const float* r = static_cast<const float*>(node.saved) + row * 4 * d;
      const float* dout = static_cast<const float*>(node.output->grad) + row * d;
      for (std::int64_t c = 0; c < d; ++c) {
        const float reset = r[c], keep = r[d + c], fresh = r[2 * d + c], q = r[3 * d + c], wanted = dh[c] + dout[c];
        gn[c] = wanted * (1 - keep) * (1 - fresh * fresh);
        g[c] = gn[c] * q * reset * (1 - reset);
        g[d + c] = wanted * (h[c] - fresh) * keep * (1 - keep);
        g[2 * d + c] = gn[c] * reset;
        dh[c] = wanted * keep;
      }
      if (dx != nullptr) {
        add_to(dx + row * 3 * d, g, 2 * d);
        add_to(dx + row * 3 * d + 2 * d, gn, d);
      }
      if (db != nullptr) add_to(db, g + 2 * d, d);
      if (i == 0) continue;
      for (std::int64_t k = 0; k < 3 * d; ++k) {
        if (du != nullptr) add_scaled_to(du + k * d, h, g[k], d);
        add_scaled_to(dh, u + k * d, g[k], d);
      }
    }
  }
}

}  // namespace
}  // namespace piano
