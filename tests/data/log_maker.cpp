#include "tests/data/log_maker.h"

#include <unistd.h>

#include <iterator>

namespace piano::data::test {

View::View(const OwnedRequest& r) {
  for (const OwnedEvent& e : r.history) history_.push_back({e.time, {e.query, {}}, e.item, e.action, fields(e.fields)});
  for (const OwnedCandidate& c : r.candidates)
    candidates_.push_back({c.id, c.score, c.value, fields(c.fields), c.dense, c.vector, c.click, c.conversion, c.position});
  request_.id = r.id;
  request_.time = r.time;
  request_.user = r.user;
  request_.user_fields = fields(r.user_fields);
  request_.user_dense = r.user_dense;
  request_.query = {r.query, texts(r.query_terms)};
  request_.context = fields(r.context);
  request_.has_history = r.has_history;
  request_.history = history_;
  request_.candidates = candidates_;
  request_.target = r.target;
}

std::span<const std::string_view> View::texts(const std::vector<std::string>& strings) {
  texts_.push_back(std::make_unique<std::vector<std::string_view>>(strings.begin(), strings.end()));
  return *texts_.back();
}

std::span<const Field> View::fields(const std::vector<OwnedField>& owned) {
  auto views = std::make_unique<std::vector<Field>>();
  for (const OwnedField& f : owned) views->push_back({f.name, texts(f.values)});
  fields_.push_back(std::move(views));
  return *fields_.back();
}

TemporaryPath::TemporaryPath(const std::string& name)
    : path_((std::filesystem::temp_directory_path() / ("piano-test-" + std::to_string(getpid()) + "-" + name)).string()) {}

std::string TemporaryPath::bytes() const {
  std::ifstream in(path_, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

namespace {

struct Maker {
  RandomStream& random;
  const LogShape& shape;

  bool maybe(double p) { return random.uniform() < p; }
  std::string name(const char* kind, int n) {
    return shape.prefix + kind + std::to_string(random.below(static_cast<std::uint64_t>(n)));
  }
  float number() { return static_cast<float>(random.normal() * 3 + 1); }

  std::vector<OwnedField> item_fields() {
    std::vector<OwnedField> fields;
    if (maybe(0.9)) fields.push_back({"artist", {name("a", 6)}});
    if (maybe(0.8)) {
      fields.push_back({"genre", {}});
      for (std::uint64_t k = random.below(4); k > 0; --k) fields.back().values.push_back(name("g", 5));
    }
    return fields;
  }
  std::string query() { return maybe(0.1) ? "" : "Words " + name("q", shape.queries) + "  of MUSIC " + name("w", 4); }

  OwnedEvent event(std::int64_t time) {
    OwnedEvent e;
    if (maybe(0.9)) e.time = time;
    e.query = query();
    if (maybe(0.85)) {
      e.item = name("t", shape.items);
      e.fields = item_fields();
    }
    if (maybe(0.9)) e.action = name("act", 12);
    return e;
  }

  OwnedCandidate candidate(const std::string& id, std::int32_t place) {
    OwnedCandidate c;
    c.id = id;
    if (maybe(0.8)) c.score = number();
    if (maybe(0.3)) c.value = number();
    c.fields = item_fields();
    if (maybe(0.8)) c.dense = {number(), 2.0f};
    if (maybe(0.5)) c.vector = {number(), number(), number()};
    if (maybe(0.9)) c.click = maybe(0.3);
    if (c.click && maybe(0.9)) c.conversion = *c.click && maybe(0.4);
    if (maybe(0.2)) {  // not shown, or somewhere below the list, each at its own place
      const auto screen = static_cast<std::int32_t>(random.below(3));
      c.position = screen == 0 ? 0 : 100 * screen + place;
    }
    return c;
  }

  OwnedRequest request(int index, std::int64_t time) {
    OwnedRequest r;
    r.id = shape.prefix + "r" + std::to_string(index);
    if (maybe(0.95)) r.time = time;
    if (maybe(0.95)) r.user = name("u", shape.users);
    if (maybe(0.5)) r.user_fields = {{"country", {name("c", 3)}}};
    if (maybe(0.7)) r.user_dense = {number()};
    if (maybe(0.9)) r.query = query();
    else r.query_terms = {name("w", 4), name("w", 4)};
    if (maybe(0.7)) r.context = {{"device", {name("d", 3)}}};
    std::vector<int> items(static_cast<std::size_t>(shape.items));
    for (std::size_t i = 0; i < items.size(); ++i) items[i] = static_cast<int>(i);
    random.shuffle(items);
    const std::uint64_t n = 1 + random.below(9);
    for (std::uint64_t i = 0; i < n; ++i) r.candidates.push_back(candidate(shape.prefix + "t" + std::to_string(items[i]), static_cast<std::int32_t>(i) + 1));
    if (maybe(0.3)) r.target = r.candidates[random.below(n)].id;
    if (shape.explicit_history && maybe(0.8)) {
      r.has_history = true;
      for (std::int64_t t = static_cast<std::int64_t>(random.below(12)); t > 0; --t) r.history.push_back(event(time - 97 * t * t));
    }
    return r;
  }
};

}  // namespace

std::vector<OwnedRequest> random_log(RandomStream& random, const LogShape& shape) {
  Maker maker{random, shape};
  std::vector<OwnedRequest> log;
  std::int64_t time = 1'700'000'000;
  for (int i = 0; i < shape.requests; ++i) {
    time += static_cast<std::int64_t>(random.below(400));
    log.push_back(maker.request(i, time));
  }
  return log;
}

}  // namespace piano::data::test
