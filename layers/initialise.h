// Initial values of parameters, by what a parameter is.
#pragma once

#include <cstdint>

#include "engine/core/parameters.h"

namespace piano {

// Learned vectors that stand for an input (embedding tables, names that end in ".null_key", ".null_value", ".token") are normal with deviation
// 1/sqrt(columns); matrices are uniform in +-sqrt(6 / (rows + columns)) (Glorot & Bengio 2010, eq. 16); ".gamma" is 1; biases are 0.
// Four names start elsewhere, so that QDIR's attention has something to learn from at the first step: a query is its words before it is an
// id ("query.id", 50 times smaller); past queries that look like today's are attended to ("qdir.attention.wq", ".wk": the identity); items
// like those acted on under such queries are acted on ("*.match.weight": 0.1); a way beside the encoder begins closed ("*.wide.weight": 0).
// Parameters of the loss ("loss.*") start at 0.
// Each parameter draws from its own stream, named after it: adding one changes no other.
void initialise(ParameterStore& store, std::uint64_t seed);

}  // namespace piano
