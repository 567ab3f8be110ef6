// The reference devices "ref/f32" and "ref/f64": one scalar loop per op, the same code for both element types.
#include <cmath>

#include "engine/core/device.h"
#include "engine/ref/attention.h"
#include "engine/ref/elementwise.h"
#include "engine/ref/embedding.h"
#include "engine/ref/gru.h"
#include "engine/ref/lambda_loss.h"
#include "engine/ref/linear.h"
#include "engine/ref/losses.h"
#include "engine/ref/mixture.h"
#include "engine/ref/norm.h"
#include "engine/ref/query_attention.h"
#include "engine/ref/rows.h"
#include "engine/ref/segment.h"

namespace piano {
namespace {

template <class T>
void adamw(const AdamWArgs& a, std::int64_t n, void* value_data, const void* grad_data, void* m_data, void* v_data) {
  auto *value = static_cast<T*>(value_data), *m = static_cast<T*>(m_data), *v = static_cast<T*>(v_data);
  const auto* grad = static_cast<const T*>(grad_data);
  for (std::int64_t i = 0; i < n; ++i) {
    const double g = a.gradient_scale * grad[i];
    m[i] = static_cast<T>(a.beta1 * m[i] + (1 - a.beta1) * g);
    v[i] = static_cast<T>(a.beta2 * v[i] + (1 - a.beta2) * g * g);
    const double m_hat = m[i] / a.bias1, v_hat = v[i] / a.bias2;
    value[i] -= static_cast<T>(a.learning_rate * (m_hat / (std::sqrt(v_hat) + a.epsilon) + a.weight_decay * value[i]));
  }
}

template <class T>
void add_arrays(std::int64_t n, void* to, const void* from) {
  for (std::int64_t i = 0; i < n; ++i) static_cast<T*>(to)[i] += static_cast<const T*>(from)[i];
}

template <class T>
double sum_of_squares(std::int64_t n, const void* x) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(static_cast<const T*>(x)[i]) * static_cast<const T*>(x)[i];
  return sum;
}

template <class T>
Device make_device(const char* name) {
  Device device;
  device.name = name;
  device.dtype = dtype_of<T>::value;
  const auto set = [&](OpId id, Kernel forward, Kernel backward) {
    device.forward[static_cast<std::size_t>(id)] = forward;
    device.backward[static_cast<std::size_t>(id)] = backward;
  };
  set(OpId::embedding_sum, embedding_sum_forward<T>, embedding_sum_backward<T>);
  set(OpId::gather_rows, gather_rows_forward<T>, gather_rows_backward<T>);
  set(OpId::concat, concat_forward<T>, concat_backward<T>);
  set(OpId::prepend_row, prepend_row_forward<T>, prepend_row_backward<T>);
  set(OpId::linear, linear_forward<T>, linear_backward<T>);
  set(OpId::matmul, matmul_forward<T>, matmul_backward<T>);
  set(OpId::add, add_forward<T>, add_backward<T>);
  set(OpId::mul, mul_forward<T>, mul_backward<T>);
  set(OpId::scale, scale_forward<T>, scale_backward<T>);
  set(OpId::blend, blend_forward<T>, blend_backward<T>);
  set(OpId::dropout, dropout_forward<T>, dropout_backward<T>);
  set(OpId::layer_norm, layer_norm_forward<T>, layer_norm_backward<T>);
  set(OpId::attention, attention_forward<T>, attention_backward<T>);
  set(OpId::split_heads, split_heads_forward<T>, split_heads_backward<T>);
  set(OpId::merge_heads, merge_heads_forward<T>, merge_heads_backward<T>);
  set(OpId::attention_weights, attention_weights_forward<T>, attention_weights_backward<T>);
  set(OpId::match_sum, match_sum_forward<T>, match_sum_backward<T>);
  set(OpId::segment_mean, segment_mean_forward<T>, segment_mean_backward<T>);
  set(OpId::weighted_sum, weighted_sum_forward<T>, weighted_sum_backward<T>);
  set(OpId::mixture, mixture_forward<T>, mixture_backward<T>);
  set(OpId::gru, gru_forward<T>, gru_backward<T>);
  set(OpId::tanh, tanh_forward<T>, tanh_backward<T>);
  set(OpId::log_sigmoid, log_sigmoid_forward<T>, log_sigmoid_backward<T>);
  set(OpId::exp, exp_forward<T>, exp_backward<T>);
  set(OpId::bce_with_logits, pointwise_loss_forward<T, BceWithLogits>, pointwise_loss_backward<T, BceWithLogits>);
  set(OpId::product_bce, product_bce_forward<T>, product_bce_backward<T>);
  set(OpId::poisson_nll, pointwise_loss_forward<T, PoissonNll>, pointwise_loss_backward<T, PoissonNll>);
  set(OpId::softmax_cross_entropy, softmax_cross_entropy_forward<T>, softmax_cross_entropy_backward<T>);
  set(OpId::attention_rank_loss, attention_rank_loss_forward<T>, attention_rank_loss_backward<T>);
  set(OpId::lambda_loss, lambda_loss_forward<T>, lambda_loss_backward<T>);
  device.optimiser = {adamw<T>, add_arrays<T>, sum_of_squares<T>};
  return device;
}

}  // namespace

const Device& reference_device(DType dtype) {
  static const Device f32 = make_device<float>("ref/f32"), f64 = make_device<double>("ref/f64");
  PIANO_CHECK(dtype == DType::f32 || dtype == DType::f64, "[reference] expected f32 or f64");
  return dtype == DType::f64 ? f64 : f32;
}

}  // namespace piano
