#include "tests/engine/op_case.h"

#include <cmath>
#include <cstdlib>
#include <memory>

namespace piano::test {
namespace {

// `memory`: the device's, where `data` lies; null: the host's.
Values to_doubles(DeviceMemory* memory, DType dtype, const void* data, std::int64_t n) {
  Values result(static_cast<std::size_t>(n));
  std::vector<std::byte> copy;
  if (memory != nullptr) {
    copy.resize(result.size() * size_of(dtype));
    memory->read(copy.data(), data, copy.size());
    data = copy.data();
  }
  for (std::size_t i = 0; i < result.size(); ++i) {
    result[i] = dtype == DType::f64 ? static_cast<const double*>(data)[i] : static_cast<double>(static_cast<const float*>(data)[i]);
  }
  return result;
}

// Everything that one run of a case needs. Tables are parameters of a store, because their gradients are rows.
class CaseRunner {
 public:
  CaseRunner(const Device& device, const OpCase& op_case, const std::vector<Values>& inputs, Tape* tape)
      : case_(op_case), store_(device.dtype) {
    for (std::size_t i = 0; i < op_case.inputs.size(); ++i) {
      const CaseInput& in = op_case.inputs[i];
      tables_.push_back(in.table ? store_.add_table("table." + std::to_string(i), in.rows, in.cols) : ParameterId{});
    }
    store_.allocate();
    store_.prepare(gradients_);
    for (std::size_t i = 0; i < tables_.size(); ++i) {
      if (tables_[i]) write(store_.value(store_[tables_[i]]), inputs[i]);
    }
    if (device.make_memory != nullptr) {
      memory_ = device.make_memory();
      memory_->keep(store_);
    }
    context_.device = &device;
    context_.memory = memory_.get();
    context_.arena = &arena_;
    context_.tape = tape;
    context_.parameters = &store_;
    context_.gradients = &gradients_;
    context_.random = {11, 3};
    context_.first_list = 5;
    context_.training = true;
    for (std::size_t i = 0; i < op_case.inputs.size(); ++i) {
      const CaseInput& in = op_case.inputs[i];
      const Shape shape{in.rows, in.cols};
      leaves_.push_back(in.table             ? context_.parameter(tables_[i])
                        : in.differentiable ? context_.variable(inputs[i], shape)
                                            : context_.constant(inputs[i], shape));
    }
  }

  const Context& context() const { return context_; }
  Tensor run() const { return case_.run(context_, leaves_); }
  Values values_of(const Tensor& t) const { return to_doubles(memory_.get(), t.dtype(), t.record()->value, t.shape().elements()); }

  // To be called when all has gone backward, before gradient().
  void take_row_gradients() {
    if (memory_ != nullptr) memory_->read_row_gradients(gradients_.tables);
  }
  Values gradient(std::size_t i) const {
    const CaseInput& in = case_.inputs[i];
    if (!in.differentiable) return {};
    Values dense(static_cast<std::size_t>(in.rows * in.cols), 0.0);
    if (!in.table) {
      const TensorRecord& leaf = *leaves_[i].record();
      return leaf.grad == nullptr ? dense : to_doubles(memory_.get(), leaf.dtype, leaf.grad, leaf.shape.elements());
    }
    const RowGradients& rows = gradients_.tables[store_[tables_[i]].table];
    const auto entries = static_cast<std::int64_t>(rows.rows().size());
    const void* data = store_.dtype() == DType::f64 ? static_cast<const void*>(rows.values<double>().data()) : rows.values<float>().data();
    const Values values = to_doubles(nullptr, store_.dtype(), data, entries * in.cols);
    for (std::int64_t e = 0; e < entries; ++e) {
      for (std::int64_t c = 0; c < in.cols; ++c) {
        dense[static_cast<std::size_t>(rows.rows()[static_cast<std::size_t>(e)] * in.cols + c)] += values[static_cast<std::size_t>(e * in.cols + c)];
      }
    }
    return dense;
  }

 private:
  void write(void* to, const Values& from) const {
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (store_.dtype() == DType::f64) {
        static_cast<double*>(to)[i] = from[i];
      } else {
        static_cast<float*>(to)[i] = static_cast<float>(from[i]);
      }
    }
  }

  const OpCase& case_;
  ParameterStore store_;
  Gradients gradients_;
  Arena arena_;
  std::unique_ptr<DeviceMemory> memory_;
  Context context_;
  std::vector<ParameterId> tables_;
  std::vector<Tensor> leaves_;
};

}  // namespace

std::vector<Values> draw_inputs(const OpCase& op_case, std::uint64_t seed) {
  RandomStream stream(seed, "inputs");
  std::vector<Values> inputs;
  for (const CaseInput& in : op_case.inputs) {
    Values& values = inputs.emplace_back();
    for (std::int64_t i = 0; i < in.rows * in.cols; ++i) {
      const double normal = stream.normal();
      values.push_back(static_cast<double>(static_cast<float>(in.fill ? in.fill(i, normal) : normal)));
    }
  }
  return inputs;
}

Values draw_output_seed(std::int64_t n, std::uint64_t seed) {
  RandomStream stream(seed, "output seed");
  Values values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(static_cast<double>(static_cast<float>(stream.normal())));
  return values;
}

Values forward(const Device& device, const OpCase& op_case, const std::vector<Values>& inputs) {
  const CaseRunner runner(device, op_case, inputs, nullptr);
  return runner.values_of(runner.run());
}

CaseResult forward_and_backward(const Device& device, const OpCase& op_case, const std::vector<Values>& inputs, std::uint64_t seed) {
  Tape tape;
  CaseRunner runner(device, op_case, inputs, &tape);
  CaseResult result;
  for (int repeat = 0; repeat < 2; ++repeat) {
    tape.clear();
    const Tensor out = runner.run();
    result.output = runner.values_of(out);
    tape.backward(runner.context(), out, draw_output_seed(out.shape().elements(), seed));
  }
  runner.take_row_gradients();
  for (std::size_t i = 0; i < op_case.inputs.size(); ++i) {
    result.gradients.push_back(runner.gradient(i));
    for (double& g : result.gradients.back()) g /= 2;
  }
  return result;
}

void for_each_node(const Device& device, const OpCase& op_case, const std::function<void(const Node&)>& f) {
  Tape tape;
  const std::vector<Values> inputs = draw_inputs(op_case, test_seed());
  const CaseRunner runner(device, op_case, inputs, &tape);
  runner.run();
  for (const Node* node = tape.last(); node != nullptr; node = node->previous) f(*node);
}

std::uint64_t test_seed() {
  const char* text = std::getenv("PIANO_TEST_SEED");
  return text == nullptr ? 1 : std::strtoull(text, nullptr, 10);
}

std::string how_to_reproduce(const Op& op, const OpCase& op_case, const Device& device) {
  return "op " + std::string(op.name) + ", case '" + op_case.name + "', device " + device.name +
         "; again: PIANO_TEST_SEED=" + std::to_string(test_seed()) + " test_engine";
}

double norm(const Values& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

double distance(const Values& a, const Values& b) {
  if (a.size() != b.size()) return INFINITY;
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

}  // namespace piano::test
