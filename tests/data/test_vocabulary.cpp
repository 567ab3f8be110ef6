#include <doctest/doctest.h>

#include "data/feature_space.h"
#include "data/interner.h"
#include "engine/base/random.h"
#include "tests/data/log_maker.h"

using namespace piano;
using namespace piano::data;

namespace {

std::vector<std::string> distinct_texts(int n) {
  RandomStream random(5, "texts");
  std::vector<std::string> texts;
  for (int i = 0; i < n; ++i) texts.push_back(std::to_string(i) + std::string(random.below(20), static_cast<char>('a' + random.below(26))));
  return texts;
}

Vocabulary saved_and_loaded(const Vocabulary& v, const std::string& path) {
  SafetensorsWriter writer(path);
  v.save(writer, "test");
  writer.commit();
  return Vocabulary::load(std::make_shared<const SafetensorsFile>(path), "test");
}

}  // namespace

TEST_CASE("a vocabulary finds what it holds and nothing else, also after a file") {
  const test::TemporaryPath file("vocabulary");
  for (const int n : {0, 1, 2, 3, 1000}) {
    const std::vector<std::string> texts = distinct_texts(n);
    const Vocabulary built = Vocabulary::build(texts);
    const Vocabulary loaded = saved_and_loaded(built, file.path());
    for (const Vocabulary* v : {&built, &loaded}) {
      REQUIRE(v->rows() == n + kFirstId);
      for (int i = 0; i < n; ++i) {
        CHECK(v->find(texts[static_cast<std::size_t>(i)]) == i + kFirstId);
        CHECK(v->text(i + kFirstId) == texts[static_cast<std::size_t>(i)]);
      }
      CHECK(v->find("not there") == kOutOfVocabulary);
      CHECK(v->find("") == kMissing);
    }
  }
  CHECK(Vocabulary().rows() == kFirstId);
  CHECK(Vocabulary().find("x") == kOutOfVocabulary);
}

TEST_CASE("a damaged vocabulary is refused") {
  const test::TemporaryPath file("damaged");
  const std::vector<std::uint8_t> text{'a', 'b'};
  const auto load = [&](std::vector<std::int64_t> offsets, std::vector<std::int32_t> index) {
    SafetensorsWriter writer(file.path());
    writer.add("vocab.x.text", std::span<const std::uint8_t>(text));
    writer.add("vocab.x.offsets", std::span<const std::int64_t>(offsets));
    writer.add("vocab.x.index", std::span<const std::int32_t>(index));
    writer.commit();
    Vocabulary::load(std::make_shared<const SafetensorsFile>(file.path()), "x");
  };
  CHECK_NOTHROW(load({0, 1, 2}, {0, 1, -1, -1}));
  CHECK_THROWS_AS(load({0, 1, 3}, {0, 1, -1, -1}), Error);   // past the text
  CHECK_THROWS_AS(load({0, 2, 1, 2}, {0, 1, -1, -1}), Error);
  CHECK_THROWS_AS(load({1, 1, 2}, {0, 1, -1, -1}), Error);
  CHECK_THROWS_AS(load({}, {0, 1, -1, -1}), Error);
  CHECK_THROWS_AS(load({0, 1, 2}, {0, 2, -1, -1}), Error);   // points outside
  CHECK_THROWS_AS(load({0, 1, 2}, {0, -2, -1, -1}), Error);
  CHECK_THROWS_AS(load({0, 1, 2}, {0, 1, -1}), Error);       // no power of two
  CHECK_THROWS_AS(load({0, 1, 2}, {0, 1}), Error);           // a search would never end
  CHECK_THROWS_AS(load({0, 1, 2}, {}), Error);
}

TEST_CASE("an interner numbers strings in order of appearance") {
  Interner interner;
  const std::vector<std::string> texts = distinct_texts(500);
  for (int round = 0; round < 2; ++round) {
    CHECK(interner.find(texts[0]) == -1);
    for (int i = 0; i < 500; ++i) CHECK(interner.intern(texts[static_cast<std::size_t>(i)]) == i);
    for (int i = 0; i < 500; ++i) CHECK(interner.intern(texts[static_cast<std::size_t>(i)]) == i);
    CHECK(interner.size() == 500);
    CHECK(interner.text(499) == texts[499]);
    CHECK(interner.intern("") == 500);
    interner.clear();
    CHECK(interner.size() == 0);
  }
}

TEST_CASE("only a contradiction between schemas is a difference") {
  Schema model;
  model.item_fields = {"artist", "genre"};
  model.item_dense = 2;
  Schema file = model;
  CHECK(schema_difference(model, file) == "");
  file.item_dense = 3;
  CHECK(schema_difference(model, file) == "candidates.dense: the model reads 2 numbers, the data has 3");
  file.item_dense = 0;  // nobody has them: missing
  CHECK(schema_difference(model, file) == "");
  file.item_fields = {"artist"};
  CHECK(schema_difference(model, file) == "");
  file.item_fields = {"artist", "style"};
  CHECK(schema_difference(model, file) == "candidates.fields: the model reads 'genre', the data has 'style' instead");
  file.item_fields = {"artist", "genre", "style"};
  CHECK(schema_difference(model, file) == "");
}
