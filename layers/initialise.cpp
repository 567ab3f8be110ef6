#include "layers/initialise.h"

#include <cmath>

#include "engine/base/random.h"

namespace piano {

void initialise(ParameterStore& store, std::uint64_t seed) {
  const auto fill = [&](const Parameter& p, auto draw) {
    RandomStream random(seed, p.name);
    if (store.dtype() == DType::f32) {
      for (float& v : store.values<float>(p)) v = static_cast<float>(draw(random));
    } else {
      for (double& v : store.values<double>(p)) v = static_cast<double>(static_cast<float>(draw(random)));
    }
  };
  for (const Parameter& p : store.parameters()) {
    const auto rows = static_cast<double>(p.shape.rows()), cols = static_cast<double>(p.shape.cols());
    if (p.name.ends_with(".gamma")) {
      fill(p, [](RandomStream&) { return 1.0; });
    } else if (p.name.ends_with(".wide.weight") || p.name.starts_with("loss.")) {
      fill(p, [](RandomStream&) { return 0.0; });
    } else if (p.name.ends_with(".match.weight")) {
      fill(p, [](RandomStream&) { return 0.1; });
    } else if (p.name == "qdir.attention.wq" || p.name == "qdir.attention.wk") {
      std::int64_t at = 0;
      fill(p, [&](RandomStream&) { return at++ % (p.shape.cols() + 1) == 0 ? 1.0 : 0.0; });
    } else if (p.name == "query.id") {
      fill(p, [&](RandomStream& r) { return 0.02 * r.normal() / std::sqrt(cols); });
    } else if (p.is_table || p.name.ends_with(".null_key") || p.name.ends_with(".null_value") || p.name.ends_with(".token") ||
               p.name.ends_with(".points")) {
      fill(p, [&](RandomStream& r) { return r.normal() / std::sqrt(cols); });
    } else if (p.shape.rank() == 2) {
      const double limit = std::sqrt(6.0 / (rows + cols));
      fill(p, [&](RandomStream& r) { return (2.0 * r.uniform() - 1.0) * limit; });
    } else {
      fill(p, [](RandomStream&) { return 0.0; });
    }
  }
}

}  // namespace piano
