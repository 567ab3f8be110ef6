// Functions of single elements, four at a time where arrays allow it: memory is what they wait for, and a thread that asks for 16 bytes gets more of it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "engine/cuda/device_code.h"
#include "engine/cuda/node.h"

namespace piano::cuda {

template <class T>
bool can_be_quads(const T* p) { return reinterpret_cast<std::uintptr_t>(p) % sizeof(float4) == 0; }

__device__ inline void load_quad(const float* from, float* v) {
  const float4 quad = *reinterpret_cast<const float4*>(from);
  v[0] = quad.x, v[1] = quad.y, v[2] = quad.z, v[3] = quad.w;
}

__device__ inline void put_quad(float* to, const float* v, bool fresh) {
  float4 sum{v[0], v[1], v[2], v[3]};
  if (!fresh) {
    const float4 old = *reinterpret_cast<const float4*>(to);
    sum = {old.x + sum.x, old.y + sum.y, old.z + sum.z, old.w + sum.w};
  }
  *reinterpret_cast<float4*>(to) = sum;
}

// What is read and where results go, all of n elements; null: not wanted. One array may be there more than once: results are put in their order.
template <int ins, int outs>
struct Arrays {
  const float* in[ins];
  Gradient out[outs];
};

// f(x, y): of the ins numbers x the outs numbers y. The first 4 * quads elements in quads, the others one by one.
template <int ins, int outs, class F>
__global__ void map_elements(std::int64_t n, std::int64_t quads, Arrays<ins, outs> arrays, F f) {
  for (std::int64_t q = first_element(); q < quads; q += element_stride()) {
    float x[ins][4], y[outs][4];
    for (int k = 0; k < ins; ++k) load_quad(arrays.in[k] + 4 * q, x[k]);
    for (int e = 0; e < 4; ++e) {
      float one[ins], result[outs];
      for (int k = 0; k < ins; ++k) one[k] = x[k][e];
      f(one, result);
      for (int k = 0; k < outs; ++k) y[k][e] = result[k];
    }
    for (int k = 0; k < outs; ++k) {
      if (arrays.out[k].to != nullptr) put_quad(arrays.out[k].to + 4 * q, y[k], arrays.out[k].fresh != 0);
    }
  }
  for (std::int64_t i = 4 * quads + first_element(); i < n; i += element_stride()) {
    float one[ins], result[outs];
    for (int k = 0; k < ins; ++k) one[k] = arrays.in[k][i];
    f(one, result);
    for (int k = 0; k < outs; ++k) {
      if (arrays.out[k].to != nullptr) put(arrays.out[k].to + i, result[k], arrays.out[k].fresh != 0);
    }
  }
}

struct Times {
  __device__ void operator()(const float* x, float* y) const { y[0] = x[0] * x[1]; }
};

template <int ins, int outs, class F>
void launch_map(CudaMemory& memory, std::int64_t n, Arrays<ins, outs> arrays, F f) {
  const bool aligned = std::all_of(arrays.in, arrays.in + ins, [](const float* p) { return can_be_quads(p); }) &&
                       std::all_of(arrays.out, arrays.out + outs, [](const Gradient& g) { return can_be_quads(g.to); });
  const std::int64_t quads = aligned ? n / 4 : 0;
  launch_elements(memory, map_elements<ins, outs, F>, n - 3 * quads, n, quads, arrays, f);
}

}  // namespace piano::cuda
