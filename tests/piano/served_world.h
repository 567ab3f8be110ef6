// A small model and requests to ask it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "piano/model_file.h"
#include "piano/piano.h"
#include "piano/trainer.h"
#include "tests/base/temporary_folder.h"
#include "tests/piano/tiny_data.h"

namespace piano {

// A model after a few steps, and requests with explicit histories.
struct World {
  explicit World(const Config& config = tiny_config()) {
    write_tiny_data(folder / "data", 300);
    const data::Dataset data(folder / "data");
    ThreadPool pool(1);
    Trainer trainer(config, data, pool);
    for (std::size_t at = 0; at + 32 <= trainer.training_requests().size(); at += 32) {
      trainer.step(std::span(trainer.training_requests()).subspan(at, 32));
    }
    save_model(folder / "model", trainer.config(), data.features(), trainer.parameters());
    model = Model::load(folder / "model");
    data::SimulatorOptions options;
    options.requests = 40;
    options.seed = 7;
    data::simulate(options, [&](std::string_view line) {
      std::string text(line);
      const std::string history = R"("history":[{"time":1,"query":"rock )" + std::to_string(lines.size()) +
                                  R"(","item":"t-1","action":"click"},{"time":5,"query":"sleep"}],)";
      if (lines.size() % 3 != 0) text.insert(text.find("\"candidates\""), history);
      lines.push_back(text);
    }, nullptr);
  }
  TemporaryFolder folder;
  std::shared_ptr<const Model> model;
  std::vector<std::string> lines;
};

inline std::vector<Ranked> copy(const Response& response) { return {response.ranking.begin(), response.ranking.end()}; }

inline bool same(const std::vector<Ranked>& a, const std::vector<Ranked>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].rank != b[i].rank || a[i].from != b[i].from || a[i].score != b[i].score || a[i].ctr != b[i].ctr || a[i].cvr != b[i].cvr) return false;
  }
  return true;
}

}  // namespace piano
