// A batch made as large as others of its kind: CUDA graphs want steps of few different sizes.
#pragma once

#include "data/batch.h"

namespace piano {

// The next of sizes that are at most an eighth apart: 0 .. 16, 18, 20, .. 32, 36, ..
std::int32_t bucket(std::int32_t n);

// Adds lists that nothing is learned from (no labels, no ids but ones that the batch has), until lists, candidates and past events are as many as
// bucket() says. Theirs is an even share of the rows, so none is long. Nothing changes for the other lists, which come first.
void pad_batch(data::Batch& batch);

}  // namespace piano
