// The rows of the op table, each written beside its op's function.
#pragma once

#include "engine/ops/op_table.h"

namespace piano {

Op embedding_sum_row();          // embedding.cpp
Op gather_rows_row();            // rows.cpp
Op concat_row();
Op prepend_row_row();
Op linear_row();                 // linear.cpp
Op matmul_row();
Op add_row();                    // elementwise.cpp
Op mul_row();
Op scale_row();
Op blend_row();
Op tanh_row();
Op log_sigmoid_row();
Op exp_row();
Op dropout_row();                // dropout.cpp
Op layer_norm_row();             // norm.cpp
Op attention_row();              // attention.cpp
Op split_heads_row();            // query_attention.cpp
Op merge_heads_row();
Op attention_weights_row();
Op match_sum_row();
Op segment_mean_row();           // segment.cpp
Op weighted_sum_row();
Op mixture_row();               // mixture.cpp
Op gru_row();                   // gru.cpp
Op bce_with_logits_row();        // losses.cpp
Op product_bce_row();
Op poisson_nll_row();
Op softmax_cross_entropy_row();
Op attention_rank_loss_row();
Op lambda_loss_row();

}  // namespace piano
