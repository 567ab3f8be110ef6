#include "piano/optimiser.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

namespace piano {
namespace {

constexpr std::size_t kChunk = 4096;        // elements of the dense array that are added up and squared as one
constexpr std::size_t kBlock = 512;
constexpr std::int64_t kRowsAtOnce = 1024;  // rows of a table that one worker updates before it takes more
constexpr std::int64_t kAhead = 8;          // rows fetched ahead: a row lies anywhere in memory, four of its cache lines take 100 ns to come

std::string module_of(const std::string& name) { return name.substr(0, name.find('.')); }

}  // namespace

Optimiser::Optimiser(const Config& config, ParameterStore& store, const Device& device, std::int64_t total_steps)
    : config_(config), store_(store), device_(device), total_steps_(total_steps) {
  PIANO_CHECK(config.train.schedule == Schedule::constant || total_steps > 0, "[optimiser] a linear schedule needs the number of steps");
  PIANO_CHECK(store.dtype() == device.dtype, "[optimiser] store and device differ in dtype");
  const std::size_t element = size_of(store.dtype());
  m_.resize(store.dense_elements() * element);
  v_.resize(m_.size());
  chunk_squares_.resize((store.dense_elements() + kChunk - 1) / kChunk);
  tables_.resize(store.table_count());
  std::size_t widest = 0;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    const Shape& shape = store.table_shape(t);
    tables_[t].m.resize(static_cast<std::size_t>(shape.elements()) * element);
    tables_[t].v.resize(tables_[t].m.size());
    tables_[t].last_step.resize(static_cast<std::size_t>(shape.rows()));
    widest = std::max(widest, static_cast<std::size_t>(shape.cols()) * element);
  }
  zeros_.resize(widest);
  for (const Parameter& p : store.parameters()) {
    const std::string module = module_of(p.name);
    if (modules_.empty() || modules_.back().module != module) {
      if (std::none_of(modules_.begin(), modules_.end(), [&](const ModuleNorms& m) { return m.module == module; })) modules_.push_back({module});
    }
    before_.reserve(std::max(widest, p.is_table ? 0 : static_cast<std::size_t>(p.shape.elements()) * element));
  }
}

void Optimiser::reserve(std::size_t table, std::int64_t rows) {
  tables_[table].gradient.reset(store_.table_shape(table).cols(), store_.dtype());
  tables_[table].gradient.reserve(rows);
  std::int64_t pieces = 0;
  for (const Parameter& p : store_.parameters()) pieces += p.is_table ? p.shape.rows() / kRowsAtOnce + 1 : 1;
  pieces_.reserve(static_cast<std::size_t>(pieces));
}

AdamWArgs Optimiser::args_of_step(std::int64_t step, double gradient_scale) const {
  const auto& c = config_.train;
  const auto t = static_cast<double>(step);
  const bool linear = c.schedule == Schedule::linear;
  const double share = linear ? std::max(0.0, 1 - (t - 1) / static_cast<double>(total_steps_)) : 1.0;
  return {c.learning_rate * share, c.beta1, c.beta2, c.epsilon, 0, 1 - std::pow(c.beta1, t), 1 - std::pow(c.beta2, t), gradient_scale};
}

// acc[0] += acc[1], acc[2] += acc[3], ...; acc[0] += acc[2], ...: the same tree whoever walks it. A block at a time, which stays in level 1.
void Optimiser::reduce_dense(std::span<Gradients> accumulators, std::size_t chunk) {
  const std::size_t element = size_of(store_.dtype());
  const std::size_t begin = chunk * kChunk, end = std::min(begin + kChunk, store_.dense_elements());
  for (std::size_t block = begin; block < end; block += kBlock) {
    const auto n = static_cast<std::int64_t>(std::min(kBlock, end - block));
    for (std::size_t stride = 1; stride < accumulators.size(); stride *= 2) {
      for (std::size_t i = 0; i + stride < accumulators.size(); i += 2 * stride) {
        device_.optimiser.add(n, accumulators[i].dense.data() + block * element, accumulators[i + stride].dense.data() + block * element);
      }
    }
  }
  chunk_squares_[chunk] = device_.optimiser.sum_of_squares(static_cast<std::int64_t>(end - begin), accumulators[0].dense.data() + begin * element);
}

void Optimiser::reduce_rows(std::span<const Gradients> accumulators, std::size_t table) {
  Table& t = tables_[table];
  const std::int64_t d = store_.table_shape(table).cols();
  const std::size_t row_bytes = static_cast<std::size_t>(d) * size_of(store_.dtype());
  t.gradient.reset(d, store_.dtype());
  for (const Gradients& accumulator : accumulators) {
    const std::byte* from = accumulator.tables[table].bytes().data();
    for (const std::int32_t row : accumulator.tables[table].rows()) {
      device_.optimiser.add(d, t.gradient.at(row), from);
      from += row_bytes;
    }
  }
  t.squares = device_.optimiser.sum_of_squares(static_cast<std::int64_t>(t.gradient.rows().size()) * d, t.gradient.bytes().data());
}

double Optimiser::step(std::span<Gradients> accumulators, ThreadPool& pool) {
  // Who does which part changes no bit: each has a place of its own.
  std::atomic<std::size_t> next{0};
  const auto take = [&next](std::size_t parts, const auto& work) {
    for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < parts;) work(i);
  };
  pool.run([&](int) {
    take(tables_.size() + chunk_squares_.size(), [&](std::size_t i) {
      i < tables_.size() ? reduce_rows(accumulators, i) : reduce_dense(accumulators, i - tables_.size());
    });
  });
  double squares = 0;
  for (const double s : chunk_squares_) squares += s;
  for (const Table& t : tables_) squares += t.squares;
  const double norm = std::sqrt(squares);
  if (!std::isfinite(norm)) return norm;

  ++steps_;
  const double clip = config_.train.clip;
  const AdamWArgs args = args_of_step(steps_, clip > 0 && norm > clip ? clip / norm : 1.0);
  for (ModuleNorms& m : modules_) m.gradient = m.update = m.value = 0;
  cut_update();
  const auto update_piece = [&](std::size_t i) {
    const Parameter& p = store_.parameters()[pieces_[i].parameter];
    if (p.is_table) update_rows(p, args, pieces_[i].begin, pieces_[i].end);
    else update_dense(p, args, accumulators[0].dense.data() + p.offset * size_of(store_.dtype()));
  };
  next = 0;
  measured_ = measure_;
  if (measure_) {
    take(pieces_.size(), update_piece);  // serially: the scratch and the sums are shared
    for (ModuleNorms& m : modules_) m.gradient = std::sqrt(m.gradient), m.update = std::sqrt(m.update), m.value = std::sqrt(m.value);
    measure_ = false;
  } else {
    pool.run([&](int) { take(pieces_.size(), update_piece); });
  }
  return norm;
}

AdamWArgs Optimiser::begin_step() {
  AdamWArgs args = args_of_step(++steps_, 1.0);
  args.weight_decay = config_.train.weight_decay;
  return args;
}

std::vector<DeviceOptimiser::Moments> Optimiser::moments() {
  std::vector<DeviceOptimiser::Moments> moments;
  for (const Parameter& p : store_.parameters()) {
    const std::size_t at = p.offset * size_of(store_.dtype());
    moments.push_back(p.is_table ? DeviceOptimiser::Moments{tables_[p.table].m.data(), tables_[p.table].v.data(), tables_[p.table].last_step.data()}
                                 : DeviceOptimiser::Moments{m_.data() + at, v_.data() + at, nullptr});
  }
  return moments;
}

void Optimiser::cut_update() {
  pieces_.clear();
  for (std::size_t i = 0; i < store_.parameters().size(); ++i) {
    const Parameter& p = store_.parameters()[i];
    const bool every_row = config_.train.rows == RowUpdates::dense;
    const std::int64_t rows = !p.is_table ? 1 : every_row ? p.shape.rows() : static_cast<std::int64_t>(tables_[p.table].gradient.rows().size());
    for (std::int64_t begin = 0; begin < rows; begin += kRowsAtOnce) pieces_.push_back({i, begin, std::min(rows, begin + kRowsAtOnce)});
  }
}

void Optimiser::update_dense(const Parameter& p, const AdamWArgs& args, const void* gradient) {
  AdamWArgs with_decay = args;
  with_decay.weight_decay = p.decay ? config_.train.weight_decay : 0.0;
  const std::size_t at = p.offset * size_of(store_.dtype());
  update(p, with_decay, p.shape.elements(), static_cast<std::byte*>(store_.value(p)), static_cast<const std::byte*>(gradient),
         m_.data() + at, v_.data() + at);
}

void Optimiser::update_rows(const Parameter& p, const AdamWArgs& args, std::int64_t begin, std::int64_t end) {
  Table& t = tables_[p.table];
  const std::int64_t d = p.shape.cols();
  const auto row_bytes = static_cast<std::size_t>(d) * size_of(store_.dtype());
  auto* values = static_cast<std::byte*>(store_.value(p));
  const bool every_row = config_.train.rows == RowUpdates::dense;
  const auto row_at = [&](std::int64_t i) { return every_row ? i : std::int64_t{t.gradient.rows()[static_cast<std::size_t>(i)]}; };
  for (std::int64_t i = begin; i < end; ++i) {
    if (i + kAhead < end) {
      const auto ahead = static_cast<std::size_t>(row_at(i + kAhead)) * row_bytes;
      for (std::size_t line = 0; line < row_bytes; line += 64) {
        for (std::byte* array : {values, t.m.data(), t.v.data()}) __builtin_prefetch(array + ahead + line, 1);
      }
    }
    const std::int64_t row = row_at(i);
    const void* gradient = t.gradient.find(static_cast<std::int32_t>(row));
    const auto at = static_cast<std::size_t>(row) * row_bytes;
    update(p, args, d, values + at, gradient != nullptr ? static_cast<const std::byte*>(gradient) : zeros_.data(), t.m.data() + at, t.v.data() + at);
    t.last_step[static_cast<std::size_t>(row)] = steps_;
  }
}

void Optimiser::update(const Parameter& p, const AdamWArgs& args, std::int64_t n, std::byte* value, const std::byte* gradient, std::byte* m,
                       std::byte* v) {
  if (!measure_) {
    device_.optimiser.adamw(args, n, value, gradient, m, v);
    return;
  }
  const auto count = static_cast<std::size_t>(n);
  before_.assign(value, value + count * size_of(store_.dtype()));
  device_.optimiser.adamw(args, n, value, gradient, m, v);
  const std::string module = module_of(p.name);
  ModuleNorms& norms = *std::find_if(modules_.begin(), modules_.end(), [&](const ModuleNorms& x) { return x.module == module; });
  const auto measure = [&](auto zero) {
    using T = decltype(zero);
    const T* old_values = reinterpret_cast<const T*>(before_.data());
    const T* new_values = reinterpret_cast<const T*>(value);
    for (std::size_t i = 0; i < count; ++i) {
      const double change = static_cast<double>(new_values[i]) - static_cast<double>(old_values[i]);
      norms.update += change * change;
    }
  };
  store_.dtype() == DType::f64 ? measure(0.0) : measure(0.0f);
  norms.value += device_.optimiser.sum_of_squares(n, before_.data());
  norms.gradient += device_.optimiser.sum_of_squares(n, gradient) * args.gradient_scale * args.gradient_scale;
}

void Optimiser::replay(std::size_t table, std::int64_t row) {
  Table& t = tables_[table];
  std::int64_t& last = t.last_step[static_cast<std::size_t>(row)];
  if (last == steps_) return;
  const std::int64_t d = store_.table_shape(table).cols();
  const auto at = static_cast<std::size_t>(row * d) * size_of(store_.dtype());
  std::byte* value = store_.dtype() == DType::f64 ? reinterpret_cast<std::byte*>(store_.table<double>(table).data())
                                                  : reinterpret_cast<std::byte*>(store_.table<float>(table).data());
  if (last > 0) {  // a row that never had a gradient has zero moments and stays where it is
    const std::int64_t exact = std::min(steps_, last + kReplay);
    for (std::int64_t s = last + 1; s <= exact; ++s) {
      device_.optimiser.adamw(args_of_step(s, 1.0), d, value + at, zeros_.data(), t.m.data() + at, t.v.data() + at);
    }
    if (exact < steps_) {
      const double m_decay = std::pow(config_.train.beta1, static_cast<double>(steps_ - exact));
      const double v_decay = std::pow(config_.train.beta2, static_cast<double>(steps_ - exact));
      const auto decay = [&](auto zero) {
        using T = decltype(zero);
        T* m = reinterpret_cast<T*>(t.m.data() + at);
        T* v = reinterpret_cast<T*>(t.v.data() + at);
        for (std::int64_t c = 0; c < d; ++c) m[c] = static_cast<T>(m[c] * m_decay), v[c] = static_cast<T>(v[c] * v_decay);
      };
      store_.dtype() == DType::f64 ? decay(0.0) : decay(0.0f);
    }
  }
  last = steps_;
}

void Optimiser::catch_up(std::size_t table, std::span<const std::int32_t> rows) {
  if (config_.train.rows != RowUpdates::catchup) return;
  for (const std::int32_t row : rows) replay(table, row);
}

void Optimiser::catch_up_all() {
  if (config_.train.rows != RowUpdates::catchup) return;
  for (std::size_t t = 0; t < tables_.size(); ++t) {
    for (std::int64_t row = 0; row < store_.table_shape(t).rows(); ++row) replay(t, row);
  }
}

void Optimiser::save(SafetensorsWriter& writer) const {
  const std::size_t element = size_of(store_.dtype());
  for (const Parameter& p : store_.parameters()) {
    const std::vector<std::int64_t> shape = p.shape.rank() == 1 ? std::vector<std::int64_t>{p.shape[0]}
                                                                : std::vector<std::int64_t>{p.shape[0], p.shape[1]};
    const std::size_t bytes = static_cast<std::size_t>(p.shape.elements()) * element;
    const std::byte* m = p.is_table ? tables_[p.table].m.data() : m_.data() + p.offset * element;
    const std::byte* v = p.is_table ? tables_[p.table].v.data() : v_.data() + p.offset * element;
    writer.add("m." + p.name, store_.dtype(), shape, {m, bytes});
    writer.add("v." + p.name, store_.dtype(), shape, {v, bytes});
    if (p.is_table) writer.add<std::int64_t>("last_step." + p.name, tables_[p.table].last_step);
  }
}

void Optimiser::load(const SafetensorsFile& file, std::int64_t steps) {
  const std::size_t element = size_of(store_.dtype());
  const auto read = [&](const std::string& name, std::byte* to, std::size_t bytes) {
    const auto from = file.at(name).bytes;
    if (from.size() != bytes) {
      throw Error(ErrorCode::model, file.path() + ": " + name + ": expected " + std::to_string(bytes) + " bytes, got " + std::to_string(from.size()));
    }
    std::memcpy(to, from.data(), bytes);
  };
  for (const Parameter& p : store_.parameters()) {
    const std::size_t bytes = static_cast<std::size_t>(p.shape.elements()) * element;
    read("m." + p.name, p.is_table ? tables_[p.table].m.data() : m_.data() + p.offset * element, bytes);
    read("v." + p.name, p.is_table ? tables_[p.table].v.data() : v_.data() + p.offset * element, bytes);
    if (!p.is_table) continue;
    auto& last = tables_[p.table].last_step;
    read("last_step." + p.name, reinterpret_cast<std::byte*>(last.data()), last.size() * sizeof(std::int64_t));
  }
  steps_ = steps;
}

}  // namespace piano
