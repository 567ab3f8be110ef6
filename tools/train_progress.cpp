#include "tools/train_progress.h"

namespace piano::tools {

void show(ProgressLine& line, const TrainProgress& p, const std::string& what) {
  line.show(what + (what.empty() ? "" : ": ") + "epoch " + std::to_string(p.epoch) + "/" + std::to_string(p.epochs) + " " +
            bar(static_cast<double>(p.lists) / static_cast<double>(p.lists_total)) + " step " + count_text(p.step) + ", loss " +
            number_text(p.loss, 4) + ", " + count_text(static_cast<std::int64_t>(p.lists_per_second)) + " lists/s, at most " +
            duration_text(p.seconds_left) + " left");
  if (p.lists == p.lists_total) line.clear();
}

std::string validation_text(const Config& config, double best) {
  return config.train.select == SelectBy::loss ? "loss " + number_text(-best, 4) : number_text(best, 4);
}

}  // namespace piano::tools
