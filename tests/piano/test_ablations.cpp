// piano/configs/ablations: each file changes exactly what its name says.
#include <doctest/doctest.h>

#include <filesystem>
#include <map>

#include "piano/training_run.h"

using namespace piano;

TEST_CASE("each ablation differs from the default in what its name says, and in nothing else") {
  const std::map<std::string, std::vector<std::string>> expected{
      {"qdir_mean", {"qdir.mode=mean"}},
      {"qdir_item_only", {"qdir.mode=item_only"}},
      {"qdir_off", {"qdir.mode=off"}},
      {"value_query", {"qdir.value=query"}},
      {"value_item", {"qdir.value=item"}},
      {"no_null_slot", {"qdir.null_slot=false"}},
      {"no_match_features", {"model.match=false"}},
      {"no_weighted_match", {"qdir.match=false"}},
      {"no_match", {"model.match=false", "qdir.match=false"}},
      {"ian_mean", {"ian.pool=mean"}},
      {"ian_attention", {"ian.pool=attention"}},
      {"ian_unconditioned", {"ian.condition=false"}},
      {"no_feedback", {"ian.feedback=false"}},
      {"no_list_loss", {"loss.list_click=0", "loss.list_conversion=0"}},
      {"list_ctr_only", {"loss.list_conversion=0"}},
      {"list_cvr_only", {"loss.list_click=0"}},
      {"no_position", {"encoder.position=none"}},
  };
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("piano/configs/ablations")) {
    const std::string name = entry.path().stem().string();
    CAPTURE(name);
    REQUIRE(entry.path().extension() == ".toml");
    REQUIRE(expected.contains(name));
    Config config;
    read_toml(entry.path().string(), config);
    check(config);
    CHECK(changed_options(config) == expected.at(name));
    ++files;
  }
  CHECK(files == expected.size());
}
