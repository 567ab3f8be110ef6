// What an open data set holds: views of the mapped file.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "data/dataset.h"
#include "data/raw_columns.h"

namespace piano::data {

struct Dataset::Columns : RawColumns {
  std::shared_ptr<const SafetensorsFile> file;
  RawStrings strings;
  FeatureSpace features;
  std::map<std::string, std::string> metadata;       // the scalars of the metadata's "dataset" object
  std::int32_t widest_field = 0;                     // values of a field, at least 1

  // What the log has, as a schema: names and widths, without match features.
  Schema schema() const;
};

}  // namespace piano::data
