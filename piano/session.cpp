// Serving: one request in, its order out, without an allocation once warm.
#include <algorithm>
#include <cmath>
#include <vector>

#include "data/dataset.h"
#include "engine/core/device.h"
#include "piano/model_file.h"
#include "piano/piano.h"
#include "piano/predictor.h"

namespace piano {

struct Session::Impl {
  explicit Impl(std::shared_ptr<const Model> m) : model(std::move(m)), builder(model->impl().features, model->impl().limits()) {}
  std::shared_ptr<const Model> model;
  data::BatchBuilder builder;
  data::Batch batch;
  Arena arena;
  std::vector<Ranked> ranking;
  Response response;
};

Session::Session(std::shared_ptr<const Model> model) : impl_(std::make_unique<Impl>(std::move(model))) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;

const Response& Session::rerank(const Request& request) {
  Impl& s = *impl_;
  const Model::Impl& model = s.model->impl();
  s.builder.build(request, s.batch);
  s.arena.reset();
  Context ctx;
  ctx.device = &cpu_device();
  ctx.arena = &s.arena;
  ctx.parameters = &model.parameters;
  const Logits logits = (*model.network)(ctx, s.batch);
  const auto click = logits.click.values<float>(), conversion = logits.conversion.values<float>();  // (candidates)

  s.ranking.clear();
  for (std::size_t i = 0; i < request.candidates.size(); ++i) {
    s.ranking.push_back({request.candidates[i].id, 0, static_cast<std::int32_t>(i + 1),
                         ranking_score(model.config, click[i], conversion[i], s.batch.value[i]), static_cast<float>(sigmoid(click[i])),
                         static_cast<float>(sigmoid(conversion[i]))});
  }
  // A list has one wrong score as soon as one parameter is not a number: better no answer than a made-up order.
  if (std::any_of(s.ranking.begin(), s.ranking.end(), [](const Ranked& r) { return !std::isfinite(r.score); })) {
    throw Error(ErrorCode::model, s.model->impl().file->path() + ": the model gave a score that is not a number: the file is damaged "
                                  "(piano inspect --verify), or its training went wrong");
  }
  std::sort(s.ranking.begin(), s.ranking.end(), [](const Ranked& a, const Ranked& b) {
    return a.score != b.score ? a.score > b.score : a.from < b.from;
  });
  for (std::size_t i = 0; i < s.ranking.size(); ++i) s.ranking[i].rank = static_cast<std::int32_t>(i + 1);

  const double list_click = logits.list_click.item(), list_conversion = logits.list_conversion.item();
  const auto list_value = [&](double x) {  // counts are softplus rates, the others probabilities
    return static_cast<float>(model.config.list.label == ListLabel::count ? softplus(x) : sigmoid(x));
  };
  s.response = {list_value(list_click), list_value(list_conversion), s.ranking};
  return s.response;
}

}  // namespace piano
