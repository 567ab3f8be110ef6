#include "engine/core/tensor.h"

namespace piano {

double Tensor::item() const {
  PIANO_CHECK(shape().elements() == 1, "[tensor] expected one element, got shape " + to_string(shape()));
  return dtype() == DType::f64 ? values<double>()[0] : static_cast<double>(values<float>()[0]);
}

}  // namespace piano
