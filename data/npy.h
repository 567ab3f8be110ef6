// Matrices of floats in NumPy's format (numpy.org/doc/stable/reference/generated/numpy.lib.format.html): what np.save("x.npy", matrix) writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace piano::data {

struct FloatMatrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<float> values;  // (rows, columns), row by row
};

// Versions 1.0, 2.0 and 3.0; two dimensions, C order, little-endian floats of 2, 4 or 8 bytes. Nothing else: `bytes` must be the header and the
// numbers, no more. Numbers that are not finite, or that a float cannot hold, come out as inf or nan. Throws ErrorCode::data; `name` stands
// for the file in messages.
FloatMatrix parse_npy(std::span<const std::byte> bytes, const std::string& name);

}  // namespace piano::data
