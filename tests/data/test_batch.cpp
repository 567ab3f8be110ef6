// One request, two ways: packed into a file and read back, or given at once. The batches must have the same bits.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "tests/data/batch_equal.h"
#include "tests/data/log_maker.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

void write_log(const std::string& path, const std::vector<OwnedRequest>& log, const WriterOptions& options, bool derive = true) {
  DatasetWriter writer(path, options);
  for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), derive);
  writer.commit();
}

}  // namespace

TEST_CASE("the same request through a file and from outside is the same batch") {
  RandomStream random(3, "batch");
  for (const bool explicit_history : {true, false}) {
    LogShape shape;
    shape.requests = 120;
    shape.explicit_history = explicit_history;
    std::vector<OwnedRequest> log = random_log(random, shape);
    if (!explicit_history)
      for (OwnedRequest& r : log) r.has_history = true;  // empty
    const TemporaryPath file("batch.safetensors");
    write_log(file.path(), log, {}, false);
    const Dataset dataset(file.path());
    BatchBuilder from_file(dataset.features(), {6, 3, true}), from_outside(dataset.features(), {6, 3, true});
    from_file.attach(dataset);
    Batch a, b;
    for (std::int64_t r = 0; r < dataset.size(); ++r) {
      from_file.build(std::vector<std::int64_t>{r}, a);
      const OwnedRequest& owned = log[static_cast<std::size_t>(r)];
      if (!owned.has_history) continue;
      from_outside.build(*View(owned), b);
      CHECK(difference(a, b) == "");
      CHECK(a.request.front() == r);
      CHECK(b.request.front() == -1);
      CHECK(from_file.tokens(r) == a.rows() + a.history_rows() + 1);
    }
  }
}
