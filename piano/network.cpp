#include "piano/network.h"

#include <algorithm>
#include <vector>

#include "engine/base/error.h"
#include "piano/baselines/contextual.h"
#include "piano/baselines/listwise.h"
#include "piano/baselines/multitask.h"
#include "piano/baselines/pointwise.h"
#include "piano/piano_network.h"

namespace piano {

std::string name_of_kind(const std::string& name, std::size_t kind) { return kind == 0 ? name : name + "." + std::to_string(kind); }

void to_host(const Context& ctx, const Logits& logits, bool judged) {
  if (ctx.memory == nullptr) return;
  std::vector<Tensor> wanted{logits.click, logits.list_click};
  wanted.insert(wanted.end(), logits.conversion.begin(), logits.conversion.end());
  wanted.insert(wanted.end(), logits.list_conversion.begin(), logits.list_conversion.end());
  if (judged) wanted.insert(wanted.end(), {logits.content, logits.token});
  ctx.to_host(wanted);
}

Logits Network::operator()(const Context& ctx, const data::Batch& batch) const {
  HistoryMemory memory;
  return forward(ctx, batch, memory);
}

Logits Network::judge(const Context&, Tensor, Tensor, std::span<const std::int32_t>) const {
  throw Error(ErrorCode::internal, "this model does not judge whole orders");
}

void Network::attention_weights(const Context&, const data::Batch&, std::span<double> out) const { std::fill(out.begin(), out.end(), 0.0); }

std::unique_ptr<const Network> make_network(const Config& config, const data::FeatureSpace& features, ParameterStore& store) {
  const std::size_t weights = config.rank.conversion_weights.size(), kinds = features.schema.kinds();
  if (weights != 0 && weights != kinds) {
    std::string names;
    for (std::size_t k = 0; k < kinds; ++k) names += (k == 0 ? "" : ", ") + std::string(features.schema.kind(k));
    throw Error(ErrorCode::usage, "rank.conversion_weights: expected " + std::to_string(kinds) + (kinds == 1 ? " number" : " numbers") + ", for " + names +
                                      ", got " + std::to_string(weights));
  }
  switch (config.model.name) {
    case ModelName::piano: break;
    case ModelName::dnn: return std::make_unique<Dnn>(config, features, store);
    case ModelName::din: return std::make_unique<Din>(config, features, store);
    case ModelName::esmm: return std::make_unique<Esmm>(config, features, store);
    case ModelName::mmoe: return std::make_unique<Mmoe>(config, features, store);
    case ModelName::ple: return std::make_unique<Ple>(config, features, store);
    case ModelName::dlcm: return std::make_unique<Dlcm>(config, features, store);
    case ModelName::prm: return std::make_unique<Prm>(config, features, store);
    case ModelName::setrank: return std::make_unique<SetRank>(config, features, store);
    case ModelName::mir: return std::make_unique<Mir>(config, features, store);
    case ModelName::pear: return std::make_unique<PearLike>(config, features, store);
  }
  return std::make_unique<PianoNetwork>(config, features, store);
}

}  // namespace piano
