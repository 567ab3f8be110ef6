#include <doctest/doctest.h>

#include <fstream>
#include <memory>

#include "tests/base/temporary_folder.h"
#include "engine/base/error.h"
#include "piano/config.h"

using namespace piano;

TEST_CASE("config: every option can be set to what it prints, and survives TOML") {
  Config config;
  config.qdir.mode = QdirMode::item_only;
  config.qdir.query = QdirQuery::query_user;
  config.train.learning_rate = 0.1 + 0.2;  // needs all its digits
  Config copy, read;
  for (const Option& o : options(config)) set_option(copy, o.key, o.value);
  parse_toml(to_toml(config), "test", read);
  const auto a = options(config), b = options(copy), c = options(read);
  for (std::size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].value == b[i].value);
    CHECK(a[i].value == c[i].value);
  }
  CHECK(read.train.learning_rate == config.train.learning_rate);
}

TEST_CASE("config: mistakes are answered with what is valid") {
  Config config;
  CHECK_THROWS_WITH_AS(set_option(config, "qdir.mod=mean"), "unknown option 'qdir.mod': did you mean 'qdir.mode'?", Error);
  CHECK_THROWS_WITH_AS(set_option(config, "qdir.mode=meen"),
                       "qdir.mode: expected attend | mean | item_only | off, got 'meen': did you mean 'mean'?", Error);
  CHECK_THROWS_WITH_AS(set_option(config, "model.d=0"), "model.d: expected an integer from 1 to 4096, got '0'", Error);
  for (const char* bad : {"model.d=4x", "model.d=", "train.learning_rate=nan", "model.match=maybe", "model.d"}) {
    CHECK_THROWS_AS(set_option(config, bad), Error);
  }
  config.model.heads = 7;
  CHECK_THROWS_WITH_AS(check(config), "model.heads: expected a divisor of model.d = 64, got 7", Error);
}

TEST_CASE("config: TOML errors carry file, line and column") {
  TemporaryFolder folder;
  const auto read = [&](const char* text) {
    std::ofstream(folder / "c.toml") << text;
    Config config;
    read_toml(folder / "c.toml", config);
    return config;
  };
  CHECK(read("[model]\nd = 32\n[train]\nlearning_rate = 1\n").model.d == 32);
  CHECK_THROWS_WITH_AS(read("[model]\nd = 32\nhead = 2\n"), doctest::Contains("c.toml:3:8: unknown option 'model.head'"), Error);
  CHECK_THROWS_WITH_AS(read("[model\n"), doctest::Contains("c.toml:1:"), Error);
  CHECK_THROWS_AS(read_toml(folder / "absent.toml", *std::make_unique<Config>()), Error);
}
