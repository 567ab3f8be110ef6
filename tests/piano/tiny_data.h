// A small simulated log, packed: what training and serving are tested on.
#pragma once

#include <string>

#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "data/request_json.h"
#include "data/simulator.h"
#include "piano/config.h"

namespace piano {

// Writes a packed data set of `requests` simulated requests, split by time.
inline void write_tiny_data(const std::string& path, std::int64_t requests, std::uint64_t seed = 1) {
  data::DatasetWriter writer(path, {});
  data::RequestParser parser;
  data::SimulatorOptions options;
  options.requests = requests;
  options.seed = seed;
  data::simulate(options, [&](std::string_view line) { writer.add_request(parser.parse(line), 0, true); }, nullptr);
  writer.commit();
}

// A model small enough for a test, with everything switched on.
inline Config tiny_config() {
  Config config;
  config.model.d = 16;
  config.model.heads = 2;
  config.model.layers = 1;
  config.model.max_history = 8;
  config.loss.listwise = 0.5;
  config.train.batch = 32;
  config.train.epochs = 100;
  return config;
}

}  // namespace piano
