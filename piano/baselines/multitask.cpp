#include "piano/baselines/multitask.h"

#include <array>

namespace piano {

Experts Experts::declare(ParameterStore& store, const std::string& name, const Config& config) {
  Experts group;
  const std::int64_t d = config.model.d;
  for (std::int64_t e = 0; e < config.model.experts; ++e) {
    group.experts.push_back(FeedForward::declare(store, name + "." + std::to_string(e), d, d, d, config.model.dropout));
  }
  return group;
}

Tensor Experts::operator()(const Context& ctx, Tensor x, Ragged rows) const {
  std::array<Tensor, Node::kMaxInputs> outputs;
  for (std::size_t e = 0; e < experts.size(); ++e) outputs[e] = experts[e](ctx, x, rows);  // (rows, d)
  return concat(ctx, std::span<const Tensor>{outputs.data(), experts.size()});
}

Mmoe::Mmoe(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  const std::int64_t d = config.model.d, known = request_.known_columns();
  join_ = Join::declare(store, config, request_, true, 0, 0);
  experts_ = Experts::declare(store, "expert", config);
  click_gate_ = Linear::declare(store, "gate.click", d, config.model.experts, false);
  conversion_gate_ = Linear::declare(store, "gate.conversion", d, config.model.experts, false);
  heads_ = ItemHeads::declare(store, config, features, d, known);
}

Logits Mmoe::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  const Tensor x = join(ctx, batch, c);          // (rows, d)
  const Tensor all = experts_(ctx, x, c.rows);   // (rows, experts * d)
  const Tensor for_click = mixture(ctx, click_gate_(ctx, x), all), for_conversion = mixture(ctx, conversion_gate_(ctx, x), all);  // (rows, d)
  return logits(ctx, c, for_click, for_conversion);
}

Ple::Ple(const Config& config, const data::FeatureSpace& features, ParameterStore& store) : Baseline(config, features, store) {
  const std::int64_t d = config.model.d, experts = config.model.experts, known = request_.known_columns();
  join_ = Join::declare(store, config, request_, true, 0, 0);
  for (std::int64_t m = 0; m < config.model.layers; ++m) {
    const std::string name = "ple." + std::to_string(m);
    Level level;
    level.click = Experts::declare(store, name + ".click", config);
    level.conversion = Experts::declare(store, name + ".conversion", config);
    level.shared = Experts::declare(store, name + ".shared", config);
    level.click_gate = Linear::declare(store, name + ".click.gate", d, 2 * experts, false);
    level.conversion_gate = Linear::declare(store, name + ".conversion.gate", d, 2 * experts, false);
    if (m + 1 < config.model.layers) level.shared_gate = Linear::declare(store, name + ".shared.gate", d, 3 * experts, false);
    levels_.push_back(std::move(level));
  }
  heads_ = ItemHeads::declare(store, config, features, d, known);
}

Logits Ple::forward(const Context& ctx, const data::Batch& batch, HistoryMemory&) const {
  const Candidates c = candidates(ctx, batch);
  Tensor click = join(ctx, batch, c), conversion = click, shared = click;  // (rows, d)
  for (const Level& level : levels_) {
    const Tensor of_click = level.click(ctx, click, c.rows), of_conversion = level.conversion(ctx, conversion, c.rows);
    const Tensor of_all = level.shared(ctx, shared, c.rows);  // (rows, experts * d)
    click = mixture(ctx, level.click_gate(ctx, click), concat(ctx, {of_click, of_all}));
    conversion = mixture(ctx, level.conversion_gate(ctx, conversion), concat(ctx, {of_conversion, of_all}));
    if (level.shared_gate.weight) shared = mixture(ctx, level.shared_gate(ctx, shared), concat(ctx, {of_click, of_conversion, of_all}));
  }
  return logits(ctx, c, click, conversion);
}

}  // namespace piano
