#include "engine/ops/op_table.h"

#include <array>

#include "engine/ops/families.h"

namespace piano {

static_assert(static_cast<int>(OpId::count) <= kMaxOps, "raise kMaxOps");

std::span<const Op> op_table() {
  static const auto table = std::to_array<Op>({
      embedding_sum_row(), gather_rows_row(), concat_row(), prepend_row_row(), linear_row(), matmul_row(), add_row(), mul_row(), scale_row(),
      blend_row(), dropout_row(), layer_norm_row(), attention_row(), split_heads_row(), merge_heads_row(), attention_weights_row(),
      match_sum_row(), segment_mean_row(), weighted_sum_row(), mixture_row(), gru_row(), tanh_row(), log_sigmoid_row(), exp_row(),
      bce_with_logits_row(), product_bce_row(), poisson_nll_row(), softmax_cross_entropy_row(), attention_rank_loss_row(), lambda_loss_row(),
  });
  static_assert(table.size() == static_cast<std::size_t>(OpId::count), "one row per OpId, in its order");
  return table;
}

const Op& op_info(OpId id) { return op_table()[static_cast<std::size_t>(id)]; }

}  // namespace piano
