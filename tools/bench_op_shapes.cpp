#include "tools/bench_op_shapes.h"

#include <algorithm>
#include <cmath>

#include "engine/base/random.h"

namespace piano::tools {
namespace {

using Offsets = std::vector<std::int32_t>;

std::string text(std::int64_t n) { return std::to_string(n); }
Ragged ragged(const Offsets& offsets) { return {offsets.data(), static_cast<std::int32_t>(offsets.size()) - 1}; }

void add_linear(std::vector<BenchOp>& ops, std::int64_t rows, std::int64_t in, std::int64_t out, Activation activation) {
  const auto shape = [&](const std::string& what, bool dx, bool dw) {
    OpCase c;
    c.name = text(rows) + " x " + text(in) + " -> " + text(out) + what;
    c.inputs = {{rows, in, dx}, {out, in, dw}, {1, out, dw}};
    c.run = [=](const Context& ctx, std::span<const Tensor> x) { return linear(ctx, x[0], x[1], x[2], activation); };
    return c;
  };
  if (activation == Activation::gelu) return ops.push_back({"linear", shape(", gelu", true, true), {1, 2}});
  ops.push_back({"linear", shape("", true, true), {1, 2}});
  if (out == 1) return;
  ops.push_back({"linear", shape(", dX alone", true, false), {}, 1});
  ops.push_back({"linear", shape(", dW alone", false, true), {1, 2}, 1});
}

void add_attention(std::vector<BenchOp>& ops, const std::string& what, std::int64_t d, Offsets queries, Offsets keys, bool null_slot) {
  OpCase c;
  c.name = what + ", d=" + text(d);
  c.inputs = {{queries.back(), d}, {keys.back(), d}, {keys.back(), d}};
  if (null_slot) c.inputs.insert(c.inputs.end(), {{1, d}, {1, d}});
  c.run = [=](const Context& ctx, std::span<const Tensor> x) {
    return attention(ctx, x[0], x[1], x[2], ragged(queries), ragged(keys), 4, null_slot ? x[3] : Tensor{}, null_slot ? x[4] : Tensor{});
  };
  ops.push_back({"attention", std::move(c), null_slot ? std::vector<std::size_t>{3, 4} : std::vector<std::size_t>{}});
}

void add_rowwise(std::vector<BenchOp>& ops, std::int64_t rows, std::int64_t d) {
  const std::string name = text(rows) + " x " + text(d);
  ops.push_back({"layer_norm", {name, {{rows, d}, {1, d}, {1, d}}, [](const Context& ctx, std::span<const Tensor> x) {
                   return layer_norm(ctx, x[0], x[1], x[2]);
                 }}, {1, 2}});
  ops.push_back({"add", {name, {{rows, d}, {rows, d}}, [](const Context& ctx, std::span<const Tensor> x) { return add(ctx, x[0], x[1]); }}, {}});
}

// Ids by Zipf's law over a table far larger than the caches.
void add_embedding(std::vector<BenchOp>& ops, std::int64_t rows, std::int64_t each) {
  constexpr std::int64_t kVocabulary = 200'000;
  RandomStream random(1, "bench.ids");
  Offsets ids(static_cast<std::size_t>(rows * each)), offsets;
  for (std::int32_t& id : ids) id = static_cast<std::int32_t>(std::exp(random.uniform() * std::log(static_cast<double>(kVocabulary)))) - 1;
  for (std::int64_t r = 0; r <= rows; ++r) offsets.push_back(static_cast<std::int32_t>(r * each));
  OpCase c;
  c.name = text(rows) + " bags of " + text(each) + " from " + text(kVocabulary) + " x 64, Zipf";
  c.inputs = {{kVocabulary, 64, true, true}};
  c.run = [=](const Context& ctx, std::span<const Tensor> x) {
    return embedding_sum(ctx, x[0], {offsets.data(), ids.data(), static_cast<std::int32_t>(offsets.size()) - 1}, Pooling::mean);
  };
  ops.push_back({"embedding_sum", std::move(c), {}});
}

std::vector<BenchOp> make_shapes() {
  std::vector<BenchOp> ops;
  for (const auto& [in, out] : {std::pair{64, 64}, {64, 256}, {256, 64}, {128, 512}, {512, 128}, {195, 64}}) add_linear(ops, 100, in, out, Activation::none);
  add_linear(ops, 100, 128, 1, Activation::none);
  add_linear(ops, 1000, 64, 256, Activation::none);
  add_linear(ops, 100, 64, 256, Activation::gelu);
  add_linear(ops, 100, 128, 512, Activation::gelu);
  add_attention(ops, "a list of 100", 64, {0, 101}, {0, 101}, false);
  add_attention(ops, "two lists of 50", 64, {0, 51, 102}, {0, 51, 102}, false);
  add_attention(ops, "a list of 100", 128, {0, 101}, {0, 101}, false);
  add_attention(ops, "a list of 1,000", 64, {0, 1001}, {0, 1001}, false);
  add_attention(ops, "one query, 50 past events", 64, {0, 1}, {0, 50}, true);
  add_rowwise(ops, 100, 64);
  add_rowwise(ops, 1000, 64);
  add_embedding(ops, 100, 1);
  add_embedding(ops, 5000, 2);
  for (const Op& op : op_table()) {
    for (OpCase& shape : op.cases()) {
      const bool rows = std::all_of(shape.inputs.begin(), shape.inputs.end(), [](const CaseInput& in) { return in.rows > 0; });
      if (rows && shape.name.find("empty") == std::string::npos) ops.push_back({op.name, std::move(shape), {}, op.no_gradient == nullptr ? 2.0 : 0.0});
    }
  }
  return ops;
}

}  // namespace

bool BenchOp::is_parameter(std::size_t input) const { return std::find(parameters.begin(), parameters.end(), input) != parameters.end(); }

const std::vector<BenchOp>& bench_op_shapes() {
  static const std::vector<BenchOp> shapes = make_shapes();
  return shapes;
}

}  // namespace piano::tools
