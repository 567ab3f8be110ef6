// Cases on disk, for whoever wants to compute the same: tools/bench/ does so with PyTorch and ONNX Runtime.
#pragma once

#include <string>
#include <vector>

#include "tools/bench_cases.h"

namespace piano::tools {

// For each case in `folder`:
//   <case>.model.safetensors   a model file as any other (parameters: param.<name>)
//   <case>.batch.safetensors   what the network reads, named as in data::Batch ("item.fields.<field>.ids"); the first of the case's batches or
//                              requests. And what it gives: logits.{click, conversion, list_click, list_conversion} (rows or lists);
//                              for training: loss (1) f64 and grad.<name> for every parameter, tables too as whole arrays, before clipping
//   <case>.data.safetensors    training: the packed data set;   <case>.requests.jsonl   inference: the requests
// and cases.json: [{"name", "kind": "train" | "infer", "lists", "candidates", "history", "d", "forward_flops", "config": {key: value}}, ...]
// Logits, loss and gradients are checked against Trainer::step and Session::rerank; ErrorCode::internal when they differ (gradients: by the norm of each module).
void export_cases(const std::string& folder, const std::vector<BenchCase>& cases, const std::vector<std::string>& assignments);

}  // namespace piano::tools
