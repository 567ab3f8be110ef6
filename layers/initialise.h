// Initial values of parameters, by what a parameter is.
#pragma once

#include <cstdint>

#include "engine/core/parameters.h"

namespace piano {

// Names that end in ".gamma" are 1; other vectors (biases, null slots aside) 0; ".null_key", ".null_value" and embedding tables are normal with
// deviation 1/sqrt(columns); matrices are uniform in +-sqrt(6 / (rows + columns)) (Glorot & Bengio 2010, eq. 16).
// Each parameter draws from its own stream, named after it: adding one changes no other.
void initialise(ParameterStore& store, std::uint64_t seed);

}  // namespace piano
