// A model whose tables are compared as they are read: a damaged row is found when a request reads it, the answers are the same.
#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <set>

#include "engine/base/safetensors.h"
#include "tests/piano/served_world.h"

using namespace piano;

namespace {

constexpr std::int64_t kRows = 16;  // a block

// A copy of the model with one byte changed: `byte` of the tensor `name`.
std::string damaged(const World& world, const std::string& name, std::size_t byte) {
  const std::string path = world.folder / "model";
  const SafetensorsFile file(path);
  std::string bytes = read_all(path);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  const auto offset = static_cast<std::size_t>(file.at(name).bytes.data() - file.tensors().front().bytes.data());  // within the data
  bytes[8 + header + offset + byte] ^= 1;
  write_all(world.folder / "damaged", bytes);
  return world.folder / "damaged";
}

}  // namespace

TEST_CASE("tables checked as they are read: a damaged block is found by the request that reads it, and by no other") {
  const World world;
  const Model::Impl& model = world.model->impl();
  data::RequestParser parser;
  Session good(world.model);
  const Request& request = parser.parse(world.lines[1]);
  const std::vector<Ranked> expected = copy(good.rerank(request));

  data::BatchBuilder builder(model.features, model.limits());
  data::Batch batch;
  builder.build(request, batch);
  std::map<std::string, std::set<std::int64_t>> read;  // blocks, by table
  model.network->visit_rows(batch, [&](ParameterId id, std::span<const std::int32_t> rows) {
    const Parameter& p = model.parameters[id];
    for (const std::int32_t row : rows) read[p.name].insert(std::min<std::int64_t>(row, p.shape.rows() - 1) / kRows);
  });

  int found = 0, passed = 0;
  for (const Parameter& p : model.parameters.parameters()) {
    if (!p.is_table) continue;
    REQUIRE(!read[p.name].empty());
    const std::int64_t blocks = (p.shape.rows() + kRows - 1) / kRows;
    for (const std::int64_t block : {std::int64_t{0}, blocks / 2, blocks - 1}) {
      INFO(p.name, ", block ", block, " of ", blocks);
      const auto byte = static_cast<std::size_t>(std::min(block * kRows + kRows, p.shape.rows()) * p.shape.cols() * 4 - 1);
      const std::string path = damaged(world, "param." + p.name, byte);
      CHECK_THROWS_WITH_AS(Model::load(path), doctest::Contains("checksum"), Error);
      Session session(Model::load(path, Check::as_read));
      if (read[p.name].count(block) > 0) {
        CHECK_THROWS_WITH_AS(session.rerank(request), doctest::Contains(("param." + p.name).c_str()), Error);
        ++found;
      } else {
        CHECK(same(copy(session.rerank(request)), expected));
        ++passed;
      }
    }
  }
  CHECK(found >= 10);
  CHECK(passed >= 3);
}

TEST_CASE("tables checked as they are read: all else is compared at start, in files without blocks everything") {
  const World world;
  for (const std::string name : {"param.query.project.weight", "rows.item.id", "vocab.item.text", "item_popularity"}) {
    INFO(name);
    CHECK_THROWS_WITH_AS(Model::load(damaged(world, name, 0), Check::as_read), doctest::Contains("damaged"), Error);
  }
  std::string old = read_all("tests/golden/version_1_model.safetensors");
  write_all(world.folder / "old", old);
  CHECK_NOTHROW(Model::load(world.folder / "old", Check::as_read));
  const SafetensorsFile file(world.folder / "old");
  std::uint64_t header = 0;
  std::memcpy(&header, old.data(), sizeof header);
  old[8 + header + static_cast<std::size_t>(file.at("param.item.id").bytes.data() - file.tensors().front().bytes.data())] ^= 1;
  write_all(world.folder / "changed", old);
  CHECK_THROWS_WITH_AS(Model::load(world.folder / "changed", Check::as_read), doctest::Contains("checksum"), Error);
}
