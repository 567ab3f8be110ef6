// A model on disk: one safetensors file with the configuration (TOML), the feature space (schema, vocabularies, scaling) and the parameters.
// Model::load compares its checksums: one of everything, or, where a session compares tables by blocks (table_guard.h), one of all but the
// tables. It says nothing of when, where or with how many threads it was made.
#pragma once

#include <memory>
#include <string>

#include "data/dataset.h"
#include "data/feature_space.h"
#include "piano/calibration.h"
#include "piano/config.h"
#include "piano/network.h"
#include "piano/piano.h"

namespace piano {

inline constexpr const char* kModelFormat = "piano-model";
// 2: with a calibration; 3: with n-grams or item vectors; 4: match features of set 2; 5: kinds of conversion by name; 6: match features of
// set 3. Older readers would pass over them; a file without them is of version 1.
inline constexpr int kModelVersion = 6;

struct Model::Impl {
  std::shared_ptr<const SafetensorsFile> file;
  std::string name;                 // "piano-" (or "prm-") and the first hex digits of the file's checksum
  Config config;
  data::FeatureSpace features;
  ParameterStore parameters;        // tables borrowed from the mapped file
  Calibration calibration;          // of the probabilities in answers and reports
  PackedWeights packed;             // as this machine's products want them
  std::unique_ptr<const Network> network;
  bool tables_unchecked = false;    // sessions compare what they read

  data::BuilderLimits limits() const;
};

data::BuilderLimits builder_limits(const Config& config);

void save_model(const std::string& path, const Config& config, const data::FeatureSpace& features, const ParameterStore& parameters,
                const Calibration& calibration = {});

// Tensors param.<name>. Reading throws ErrorCode::model naming the first parameter that is missing or has another shape.
void save_parameters(SafetensorsWriter& writer, const ParameterStore& parameters);
void load_parameters(const SafetensorsFile& file, ParameterStore& parameters);  // copies; requires an allocated store
void map_parameters(const SafetensorsFile& file, ParameterStore& parameters);   // allocates, tables stay in the file, which must outlive the store

}  // namespace piano
