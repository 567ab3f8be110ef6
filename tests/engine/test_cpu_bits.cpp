// Bits that must not depend on anything: a row's result on the rows beside it, an element's on its place in a vector, on any kernel level.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "engine/base/random.h"
#include "engine/core/context.h"
#include "engine/core/device.h"
#include "engine/cpu/levels.h"
#include "engine/ops/op_table.h"
#include "tests/engine/op_case.h"
#include "tests/support/allocation_counter.h"

using namespace piano;

namespace {

using Floats = std::vector<float>;

Floats normals(std::int64_t n, const char* name) {
  RandomStream random(3, name);
  Floats values(static_cast<std::size_t>(n));
  for (float& v : values) v = static_cast<float>(random.normal());
  return values;
}

Floats slice(const Floats& from, std::int64_t begin, std::int64_t end) { return {from.begin() + begin, from.begin() + end}; }

// Bit by bit, and no NaN: what a padding row holds has not leaked.
bool same_bits(const Floats& a, const Floats& b) {
  for (const float v : a) {
    if (std::isnan(v)) return false;
  }
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// Runs `make` for inference on memory that is full of NaN.
Floats run(const Device& device, const std::function<Tensor(const Context&)>& make, std::int32_t first_list = 0) {
  Arena arena(std::size_t{1} << 22);
  std::memset(arena.allocate(std::size_t{1} << 22), 0xFF, std::size_t{1} << 22);
  arena.reset();
  Context context;
  context.device = &device;
  context.arena = &arena;
  context.training = true;
  context.random = {11, 3};
  context.first_list = first_list;
  const auto values = make(context).values<float>();
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE("a row of a matrix product has the same bits alone and among others") {
  const std::int64_t most = 37;
  const std::pair<std::int64_t, std::int64_t> shapes[] = {{64, 1}, {64, 64}, {64, 256}, {256, 64}, {420, 64}, {5, 3},
                                                          {1, 7},  {1, 1},   {3, 2},    {17, 31},  {512, 512}};
  for (const Device* device : cpu_levels()) {
    for (const auto& shape : shapes) {
      const std::int64_t in = shape.first, out = shape.second;
      const Floats x = normals(most * in, "x"), w = normals(out * in, "w"), b = normals(out, "b");
      for (const Activation activation : {Activation::none, Activation::gelu}) {
        const auto rows = [&](std::int64_t begin, std::int64_t end) {
          return run(*device, [&](const Context& c) {
            return linear(c, c.constant(slice(x, begin * in, end * in), {end - begin, in}), c.constant(w, {out, in}),
                          c.constant(b, {out}), activation);
          });
        };
        const Floats all = rows(0, most);
        for (std::int64_t n = 1; n <= most; n += in * out > 50'000 ? 5 : 1) {
          INFO(device->name, " ", in, " -> ", out, ", ", n, " rows");
          CHECK(same_bits(rows(0, n), slice(all, 0, n * out)));
          CHECK(same_bits(rows(most - n, most), slice(all, (most - n) * out, most * out)));
        }
      }
    }
  }
}

TEST_CASE("an element has the same bits wherever it lies") {
  const std::int64_t most = 41;
  const Floats x = normals(most, "x");
  for (const Device* device : cpu_levels()) {
    const auto part = [&](std::int64_t begin, std::int64_t end) {
      return run(*device, [&](const Context& c) { return log_sigmoid(c, c.constant(slice(x, begin, end), {end - begin, 1})); });
    };
    const Floats all = part(0, most);
    for (std::int64_t begin = 0; begin < most; ++begin) {
      CHECK(same_bits(part(begin, begin + 1), slice(all, begin, begin + 1)));
      CHECK(same_bits(part(begin, most), slice(all, begin, most)));
    }
  }
}

TEST_CASE("AdamW moves an element by the same bits wherever it lies") {
  const std::int64_t most = 41;
  const AdamWArgs args{.learning_rate = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 1e-5, .bias1 = 0.271,
                       .bias2 = 0.002997, .gradient_scale = 0.37};
  for (const Device* device : cpu_levels()) {
    const auto part = [&](std::int64_t begin, std::int64_t end) {
      Floats value = slice(normals(most, "value"), begin, end), m = slice(normals(most, "m"), begin, end), v = slice(normals(most, "v"), begin, end);
      for (float& second : v) second *= second;
      device->optimiser.adamw(args, end - begin, value.data(), slice(normals(most, "grad"), begin, end).data(), m.data(), v.data());
      value.insert(value.end(), m.begin(), m.end());
      value.insert(value.end(), v.begin(), v.end());
      return value;
    };
    const Floats all = part(0, most);
    for (std::int64_t i = 0; i < most; ++i) {
      const auto at = static_cast<std::size_t>(i), n = static_cast<std::size_t>(most);
      CHECK(same_bits(part(i, i + 1), {all[at], all[n + at], all[2 * n + at]}));
    }
  }
}

TEST_CASE("a query has the same bits alone, beside other queries and beside other lists") {
  for (const Device* device : cpu_levels()) {
    for (const auto& shape : {std::pair{64, 4}, {64, 2}, {6, 2}, {9, 1}}) {
      const int width = shape.first, heads = shape.second;
      for (const bool null_slot : {false, true}) {
        const std::int32_t query_count = 11;
        const std::vector<std::int32_t> q_offsets{0, 2, 2, 9, query_count}, k_offsets{0, 5, 8, 41, 41};
        const Floats q = normals(query_count * width, "q"), k = normals(41 * width, "k"), v = normals(41 * width, "v"), null_k = normals(width, "nk"),
                     null_v = normals(width, "nv");
        const auto attend = [&](const std::vector<std::int32_t>& queries, const std::vector<std::int32_t>& keys,
                                                               std::int64_t q_begin, std::int64_t k_begin) {
          return run(*device, [&](const Context& c) {
            const auto lists = static_cast<std::int32_t>(queries.size()) - 1;
            const auto matrix = [&](const Floats& from, std::int64_t begin, std::int64_t n) {
              return c.constant(slice(from, begin * width, (begin + n) * width), {n, width});
            };
            return attention(c, matrix(q, q_begin, queries.back()), matrix(k, k_begin, keys.back()), matrix(v, k_begin, keys.back()),
                             {queries.data(), lists}, {keys.data(), lists}, heads, null_slot ? c.constant(null_k, {width}) : Tensor{},
                             null_slot ? c.constant(null_v, {width}) : Tensor{});
          });
        };
        const Floats all = attend(q_offsets, k_offsets, 0, 0);
        for (std::size_t l = 0; l + 1 < q_offsets.size(); ++l) {
          const std::int32_t keys = k_offsets[l + 1] - k_offsets[l];
          for (std::int32_t i = q_offsets[l]; i < q_offsets[l + 1]; ++i) {
            INFO(device->name, " d = ", width, ", heads = ", heads, ", query ", i);
            CHECK(same_bits(attend({0, 1}, {0, keys}, i, k_offsets[l]), slice(all, i * width, (i + 1) * width)));
          }
        }
      }
    }
  }
}

TEST_CASE("a list has the same bits alone and in a batch: layer norm, segment mean, dropout") {
  const std::vector<std::int32_t> offsets{0, 3, 3, 4, 13};
  for (const Device* device : cpu_levels()) {
    for (const std::int64_t d : {1, 7, 30, 64}) {
      const Floats x = normals(13 * d, "x"), gamma = normals(d, "gamma"), beta = normals(d, "beta");
      const auto list = [&](std::int32_t first, std::int32_t end, const std::function<Tensor(const Context&, Tensor, Ragged)>& op) {
        std::vector<std::int32_t> own;
        for (std::int32_t l = first; l <= end; ++l) own.push_back(offsets[static_cast<std::size_t>(l)] - offsets[static_cast<std::size_t>(first)]);
        const std::int64_t begin = offsets[static_cast<std::size_t>(first)];
        return run(*device, [&](const Context& c) {
          return op(c, c.constant(slice(x, begin * d, (begin + own.back()) * d), {own.back(), d}), {own.data(), end - first});
        }, first);
      };
      const auto check = [&](bool one_row_per_list, const std::function<Tensor(const Context&, Tensor, Ragged)>& op) {
        const Floats all = list(0, 4, op);
        for (std::int32_t l = 0; l < 4; ++l) {
          const auto at = static_cast<std::size_t>(l);
          const std::int64_t begin = one_row_per_list ? l : offsets[at], end = one_row_per_list ? l + 1 : offsets[at + 1];
          CHECK(same_bits(list(l, l + 1, op), slice(all, begin * d, end * d)));
        }
      };
      check(false, [&](const Context& c, Tensor t, Ragged) { return layer_norm(c, t, c.constant(gamma, {d}), c.constant(beta, {d})); });
      check(true, [](const Context& c, Tensor t, Ragged rows) { return segment_mean(c, t, rows); });
      check(false, [](const Context& c, Tensor t, Ragged rows) { return dropout(c, t, 0.3, 5, rows); });
    }
  }
}

TEST_CASE("log sigmoid and gelu are exact to float rounding, out to infinity") {
  Floats x;
  for (int i = -2400; i <= 2400; ++i) x.push_back(static_cast<float>(i) * 0.01f);
  for (const float edge : {0.0f, 87.0f, 88.5f, 100.0f, 1e-30f, 1e-41f, 1e30f, 3e38f}) x.push_back(edge), x.push_back(-edge);
  const auto n = static_cast<std::int64_t>(x.size());
  for (const Device* device : cpu_levels()) {
    const Floats ls = run(*device, [&](const Context& c) { return log_sigmoid(c, c.constant(x, {n, 1})); });
    const Floats gelu = run(*device, [&](const Context& c) {
      return linear(c, c.constant(x, {n, 1}), c.constant(Floats{1}, {1, 1}), Tensor{}, Activation::gelu);
    });
    for (std::size_t i = 0; i < x.size(); ++i) {
      INFO(device->name, " x = ", x[i]);
      const double z = x[i], exact_ls = std::min(z, 0.0) - std::log1p(std::exp(-std::abs(z)));
      CHECK(std::abs(ls[i] - exact_ls) <= 3e-7 * std::abs(exact_ls) + 1e-37);
      const double exact_gelu = 0.5 * z * std::erfc(-z * std::sqrt(0.5));
      CHECK(std::abs(gelu[i] - exact_gelu) <= 2e-7 * std::abs(z) + 1e-37);
      if (z > -8) CHECK(std::abs(gelu[i] - exact_gelu) <= 4e-6 * std::abs(exact_gelu) + 1e-37);  // the tail's exponent is rounded
    }
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(std::isnan(run(*device, [&](const Context& c) { return log_sigmoid(c, c.constant(Floats{nan}, {1, 1})); })[0]));
  }
}

TEST_CASE("PIANO_ISA names a level, or is refused in one line") {
  for (const Device* device : cpu_levels()) CHECK(&choose_level(device->name.substr(4).c_str()) == device);
  CHECK(&choose_level(nullptr) == cpu_levels().front());
  CHECK(&choose_level("") == cpu_levels().front());
  try {
    choose_level("x86-64-v9");
    FAIL("an unknown level was accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::usage);
    CHECK(std::string(error.what()).find("x86-64-v9") != std::string::npos);
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
  }
}

TEST_CASE("kernels allocate nothing but arena memory") {
  for (const Device* device : cpu_levels()) {
    const std::int64_t rows = 1000, in = 420, out = 256;
    const Floats x = normals(rows * in, "x"), w = normals(out * in, "w");
    Arena arena(std::size_t{1} << 25);
    std::vector<double> ones(static_cast<std::size_t>(rows * out), 1.0);
    const auto step = [&] {
      arena.reset();
      Tape tape;
      Context c;
      c.device = device;
      c.arena = &arena;
      c.tape = &tape;
      const std::vector<double> x_values(x.begin(), x.end()), w_values(w.begin(), w.end());
      const Tensor x_leaf = c.variable(x_values, {rows, in}), w_leaf = c.variable(w_values, {out, in});
      const std::vector<std::int32_t> offsets{0, static_cast<std::int32_t>(rows)};
      const std::int64_t before = allocation_count();
      const Tensor h = linear(c, x_leaf, w_leaf, {}, Activation::gelu);
      tape.backward(c, attention(c, h, h, h, {offsets.data(), 1}, {offsets.data(), 1}, 4), ones);
      return allocation_count() - before;
    };
    step();
    CHECK(step() == 0);
  }
}
