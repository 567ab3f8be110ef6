// Every layer against PyTorch in float64: the result and all gradients, of the parameters and of the inputs.
#include <doctest/doctest.h>

#include <functional>
#include <map>
#include <set>

#include "layers/embedding.h"
#include "layers/encoder.h"
#include "layers/gru.h"
#include "layers/linear.h"
#include "layers/query_attention.h"
#include "tests/layers/layer_bench.h"

using namespace piano;

namespace {

const SafetensorsFile& file() {
  static const SafetensorsFile f(golden::path("layers.safetensors"));
  return f;
}

// One case of the file: its tensors by their short names.
struct Case {
  std::string name;
  LayerBench& bench;
  std::map<std::string, Tensor> inputs;  // variables
  std::vector<std::int32_t> offsets, key_offsets, bag_offsets, ids, match_offsets, match_rows, match_keys, match_columns;

  Case(std::string case_name, LayerBench& b) : name(std::move(case_name)), bench(b) {
    for (auto [column, to] : {std::pair{"offsets", &offsets}, {"key_offsets", &key_offsets}, {"bag_offsets", &bag_offsets}, {"ids", &ids},
                              {"match_offsets", &match_offsets}, {"match_rows", &match_rows}, {"match_keys", &match_keys},
                              {"match_columns", &match_columns}}) {
      if (file().find(name + "/" + column) != nullptr) *to = golden::ints(file(), name + "/" + column);
    }
  }
  const Tensor& in(const std::string& input) {
    const std::string full = name + "/in." + input;
    if (!inputs.contains(input)) inputs[input] = bench.ctx.variable(golden::numbers(file(), full), golden::shape(file().at(full)));
    return inputs[input];
  }
  static Ragged ragged(const std::vector<std::int32_t>& o) { return {o.data(), static_cast<std::int32_t>(o.size()) - 1}; }
  Ragged rows() const { return ragged(offsets); }
  Ragged keys() const { return ragged(key_offsets); }
  Matches matches() const {
    return {match_offsets.data(), match_rows.data(), match_keys.data(), match_columns.data(), ragged(match_offsets).lists};
  }
};

// `declare` makes the layer; what it returns runs it.
using Run = std::function<Tensor(Case&)>;
using Declare = std::function<Run(ParameterStore&)>;

void check_case(const std::string& name, const Declare& declare) {
  for (const golden::Check& check : golden::devices()) {
    const Device* const device = check.device;
    const double tolerance = check.tolerance;
    CAPTURE(name);
    CAPTURE(device->name);
    LayerBench bench(*device);
    const Run run = declare(bench.store);
    bench.allocate();
    std::set<std::string> declared;
    for (const Parameter& p : bench.store.parameters()) {
      const std::string tensor = name + "/param." + p.name;
      declared.insert(tensor);
      REQUIRE(golden::shape(file().at(tensor)) == p.shape);
      golden::set_values(bench.store, p, golden::numbers(file(), tensor));
    }
    for (const TensorInfo& t : file().tensors()) {
      if (t.name.starts_with(name + "/param.")) CHECK_MESSAGE(declared.contains(t.name), t.name);
    }

    Case c(name, bench);
    const Tensor out = run(c);
    CHECK(golden::error(golden::values(out), golden::numbers(file(), name + "/out")) <= tolerance);

    bench.tape.backward(bench.ctx, out, golden::numbers(file(), name + "/seed"));
    std::map<std::string, std::vector<double>> expected;
    double squares = 0;
    for (const TensorInfo& t : file().tensors()) {
      if (!t.name.starts_with(name + "/grad.")) continue;
      const std::string short_name = t.name.substr(name.size() + 6);
      expected[short_name] = golden::numbers(file(), t.name);
      squares += std::pow(golden::norm(expected[short_name]), 2);
    }
    const double whole = std::sqrt(squares);
    for (const auto& entry : expected) {
      const std::string& tensor = entry.first;
      const std::vector<double>& want = entry.second;
      CAPTURE(tensor);
      const std::vector<double> got = tensor.starts_with("in.") ? golden::grads(c.inputs.at(tensor.substr(3)))
                                                                : golden::gradient(bench.store, bench.gradients, bench.find(tensor.substr(6)));
      CHECK(golden::gradient_error(got, want, whole) <= tolerance);
    }
  }
}

constexpr std::int64_t kWidth = 8;
constexpr int kHeads = 2;

Declare attention_layer(bool null_slot, std::function<Tensor(Case&, const MultiHeadAttention&)> run) {
  return [=](ParameterStore& store) {
    const auto layer = MultiHeadAttention::declare(store, "layer", kWidth, kHeads, null_slot);
    return [=](Case& c) { return run(c, layer); };
  };
}

Declare query_layer(bool null_slot, std::function<Tensor(Case&, const QueryAttention&)> run) {
  return [=](ParameterStore& store) {
    const auto layer = QueryAttention::declare(store, "layer", kWidth, kHeads, null_slot);
    return [=](Case& c) { return run(c, layer); };
  };
}

}  // namespace

TEST_CASE("linear, with GELU, without bias") {
  const auto declare = [](bool bias, Activation activation) {
    return [=](ParameterStore& store) {
      const Linear layer = Linear::declare(store, "layer", 5, 7, bias);
      return [=](Case& c) { return layer(c.bench.ctx, c.in("x"), activation); };
    };
  };
  check_case("linear", declare(true, Activation::none));
  check_case("linear_no_bias", declare(false, Activation::none));
  check_case("linear_gelu", declare(true, Activation::gelu));
}

TEST_CASE("layer norm") {
  check_case("layer_norm", [](ParameterStore& store) {
    const LayerNorm layer = LayerNorm::declare(store, "layer", kWidth);
    return [=](Case& c) { return layer(c.bench.ctx, c.in("x")); };
  });
}

TEST_CASE("embedding: unknown, missing and repeated ids; bags, empty ones too") {
  const auto declare = [](std::function<Tensor(Case&, const Embedding&)> run) {
    return [=](ParameterStore& store) {
      const Embedding layer = Embedding::declare(store, "layer", 6, kWidth, 0.5);  // the id dropout is off outside training
      return [=](Case& c) { return run(c, layer); };
    };
  };
  static const std::vector<std::int32_t> eight{0, 3, 8}, six{0, 6};
  check_case("embedding", declare([](Case& c, const Embedding& layer) { return layer(c.bench.ctx, c.ids, Case::ragged(eight)); }));
  check_case("embedding_mean", declare([](Case& c, const Embedding& layer) {
    return layer(c.bench.ctx, c.bag_offsets, c.ids, Case::ragged(six));
  }));
  check_case("embedding_sum", declare([](Case& c, const Embedding& layer) {
    return embedding_sum(c.bench.ctx, c.bench.ctx.parameter(layer.table), {c.bag_offsets.data(), c.ids.data(), 6}, Pooling::sum);
  }));
}

TEST_CASE("multi-head attention over ragged rows") {
  check_case("self_attention", attention_layer(false, [](Case& c, const MultiHeadAttention& layer) {
    return layer(c.bench.ctx, c.in("x"), c.in("x"), c.in("x"), c.rows(), c.rows());
  }));
  const auto cross = [](Case& c, const MultiHeadAttention& layer) {
    return layer(c.bench.ctx, c.in("q"), c.in("k"), c.in("v"), c.rows(), c.keys());
  };
  check_case("cross_attention_null", attention_layer(true, cross));  // one list has no keys
  check_case("cross_attention", attention_layer(false, cross));
}

TEST_CASE("the attention that goes to what a row shares with its list's keys") {
  const auto match = [](Case& c, const QueryAttention& layer) {
    return match_sum(c.bench.ctx, layer.weights(c.bench.ctx, c.in("q"), c.in("k"), c.keys()), c.matches(), 8, 2);
  };
  check_case("match_attention_null", query_layer(true, match));  // one list has no keys
  check_case("match_attention", query_layer(false, match));
}

TEST_CASE("attention of one query a list is multi-head attention; values that are joined after their sum") {
  const auto attend = [](Case& c, const QueryAttention& layer, const Linear* join) {
    return layer(c.bench.ctx, layer.weights(c.bench.ctx, c.in("q"), c.in("k"), c.keys()), c.in("v"), c.keys(), join);
  };
  for (const bool null_slot : {true, false}) {
    check_case(null_slot ? "query_attention_null" : "query_attention",
               query_layer(null_slot, [&](Case& c, const QueryAttention& layer) { return attend(c, layer, nullptr); }));
    check_case(null_slot ? "joined_attention_null" : "joined_attention", [&](ParameterStore& store) {
      const Linear join = Linear::declare(store, "join", 2 * kWidth, kWidth);
      const auto layer = QueryAttention::declare(store, "layer", kWidth, kHeads, null_slot);
      return [=](Case& c) { return attend(c, layer, &join); };
    });
  }
}

TEST_CASE("attention with uniform weights uses the value and output projections alone") {
  // The query and key projections are declared and get no gradient.
  check_case("mean_attention", query_layer(false, [](Case& c, const QueryAttention& layer) {
    return layer(c.bench.ctx, QueryAttention::uniform_weights(c.bench.ctx, c.keys()), c.in("v"), c.keys());
  }));
}

TEST_CASE("feed-forward block and MLP head") {
  const auto declare = [](std::int64_t in, std::int64_t hidden, std::int64_t out) {
    return [=](ParameterStore& store) {
      const FeedForward layer = FeedForward::declare(store, "layer", in, hidden, out, 0.5);  // no dropout outside training
      return [=](Case& c) { return layer(c.bench.ctx, c.in("x"), c.rows()); };
    };
  };
  check_case("feed_forward", declare(kWidth, 4 * kWidth, kWidth));
  check_case("mlp_head", declare(2 * kWidth, kWidth, 1));
}

TEST_CASE("gated recurrent unit over ragged rows, forwards and backwards") {
  const auto declare = [](bool backwards) {
    return [=](ParameterStore& store) {
      const Gru layer = Gru::declare(store, "layer", 5, kWidth);
      return [=](Case& c) { return layer(c.bench.ctx, c.in("x"), c.rows(), backwards); };
    };
  };
  check_case("gru", declare(false));
  check_case("gru_backwards", declare(true));
}

TEST_CASE("encoder block, with full and with induced attention") {
  const auto declare = [](std::int64_t points) {
    return [=](ParameterStore& store) {
      const EncoderBlock block = EncoderBlock::declare(store, "layer", kWidth, kHeads, 4 * kWidth, 0.5, points);
      return [=](Case& c) { return block(c.bench.ctx, c.in("x"), c.rows()); };
    };
  };
  check_case("encoder_block", declare(0));
  check_case("induced_block", declare(3));
}
