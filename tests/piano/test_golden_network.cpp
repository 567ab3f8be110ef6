// The whole model, its loss and every gradient against PyTorch in float64, in all variants of the config.
#include <doctest/doctest.h>

#include <set>

#include "tests/piano/golden_network.h"

using namespace piano;

namespace {

void check_parameters(const bench::Bench& model, const SafetensorsFile& file) {
  std::set<std::string> declared;
  for (const Parameter& p : model.store.parameters()) {
    declared.insert("param." + p.name);
    CHECK_MESSAGE(golden::shape(file.at("param." + p.name)) == p.shape, p.name);
  }
  for (const TensorInfo& t : file.tensors()) {
    if (t.name.starts_with("param.")) CHECK_MESSAGE(declared.contains(t.name), t.name);
  }
}

}  // namespace

TEST_CASE("logits, loss and every gradient of the whole model are PyTorch's") {
  for (const std::string name : golden::kModels) {
    const golden::ModelFile golden_model("model_" + name + ".safetensors");
    const SafetensorsFile& file = golden_model.file;
    const data::Batch batch = golden_model.batch("batch");
    for (const golden::Check& check : golden::devices()) {
      const Device* const device = check.device;
      const double tolerance = check.tolerance;
      CAPTURE(name);
      CAPTURE(device->name);
      bench::Bench model(golden_model.config, golden_model.features, *device);
      check_parameters(model, file);
      golden_model.load_parameters(model);
      bench::Scores out;
      const double total = model.train(batch, bench::counts(batch), 0, &out);

      using Output = std::pair<const char*, const std::vector<double>*>;
      for (const auto& [logit, got] : {Output{"click", &out.click}, {"conversion", &out.conversion}, {"list_click", &out.list_click},
                                       {"list_conversion", &out.list_conversion}}) {
        const std::string expected = "out." + std::string(logit);
        CAPTURE(expected);
        CHECK(got->empty() == (file.find(expected) == nullptr));
        if (!got->empty()) CHECK(golden::error(*got, golden::numbers(file, expected)) <= tolerance);
      }
      CHECK(golden::error({{total}}, golden::numbers(file, "loss")) <= tolerance);

      double squares = 0;
      for (const Parameter& p : model.store.parameters()) squares += std::pow(golden::norm(golden::numbers(file, "grad." + p.name)), 2);
      const double whole = std::sqrt(squares);
      for (const Parameter& p : model.store.parameters()) {
        CAPTURE(p.name);
        CHECK(golden::gradient_error(model.gradient(p), golden::numbers(file, "grad." + p.name), whole) <= tolerance);
      }
    }
  }
}

TEST_CASE("each term of the loss is PyTorch's") {
  const golden::ModelFile golden_model("model_default.safetensors");
  const data::Batch batch = golden_model.batch("batch");
  bench::Bench model(golden_model.config, golden_model.features, reference_device(DType::f64));
  golden_model.load_parameters(model);
  const Context ctx = model.context();
  TermTensors terms;
  loss(ctx, (*model.network)(ctx, batch), batch, loss_weights(golden_model.config), bench::counts(batch), &terms);
  for (std::size_t t = 0; t < kLossTerms; ++t) {
    CAPTURE(kLossNames[t]);
    CHECK(golden::error({{terms[t] ? terms[t].item() : 0.0}}, golden::numbers(golden_model.file, "term." + std::string(kLossNames[t]))) <= 1e-9);
  }
}
