// The layout of the packed file: which column is which tensor (data/README.md lists them). Writing and reading stand side by side.
#pragma once

#include <string>

#include "data/raw_columns.h"
#include "engine/base/safetensors.h"

namespace piano::data {

inline constexpr const char* kDatasetFormat = "piano-data";
inline constexpr int kDatasetVersion = 5;  // see FeatureSpace::version

// Adds every column as a tensor; the spans must live until writer.commit().
void save_columns(SafetensorsWriter& writer, const RawColumns& columns, const RawStrings& strings);

// Views of the file's tensors; strings.*.names say which fields there are. ensures: every offset and id was checked against what it points
// into, so that no later access can leave the file. Throws ErrorCode::model.
void load_columns(const SafetensorsFile& file, RawColumns& columns, RawStrings& strings);

}  // namespace piano::data
