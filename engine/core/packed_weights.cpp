#include "engine/core/packed_weights.h"

#include <new>

#include "engine/core/arena.h"
#include "engine/core/device.h"

namespace piano {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

bool is_weight_matrix(const Parameter& p) { return !p.is_table && p.decay && p.shape.rank() == 2 && p.shape.rows() > 1; }

}  // namespace

void PackedWeights::Free::operator()(float* p) const { ::operator delete(p, std::align_val_t{Arena::kAlignment}); }

void PackedWeights::pack(const ParameterStore& store, const Device& device) {
  if (device.packing.pack == nullptr) return;
  const auto& parameters = store.parameters();
  if (offsets_.empty()) {
    std::size_t elements = 0;
    for (const Parameter& p : parameters) {
      offsets_.push_back(is_weight_matrix(p) ? elements : kNone);
      if (is_weight_matrix(p)) elements += static_cast<std::size_t>(device.packing.elements(p.shape.rows(), p.shape.cols()));
    }
    packed_.reset(static_cast<float*>(::operator new(elements * sizeof(float), std::align_val_t{Arena::kAlignment})));
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    if (offsets_[i] != kNone) device.packing.pack(p.shape.rows(), p.shape.cols(), store.value(p), packed_.get() + offsets_[i]);
  }
}

const void* PackedWeights::of(ParameterId id) const {
  const auto i = static_cast<std::size_t>(id.index);
  return i < offsets_.size() && offsets_[i] != kNone ? packed_.get() + offsets_[i] : nullptr;
}

}  // namespace piano
