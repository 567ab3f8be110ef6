#include "data/dataset_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_set>
#include <utility>

#include "data/dataset_writer_columns.h"
#include "data/dataset_writer_events.h"
#include "data/dataset_writer_fit.h"
#include "data/dataset_writer_split.h"
#include "data/hash.h"
#include "data/packed_file.h"
#include "engine/base/check.h"
#include "engine/base/json_text.h"

namespace piano::data {

namespace {

// A request id as two independent hashes: two ids that share them would be taken for one, at 10^9 ids with a chance of about 10^-21.
using IdHash = std::pair<std::uint64_t, std::uint64_t>;
struct FirstWord {
  std::size_t operator()(const IdHash& hash) const { return static_cast<std::size_t>(hash.first); }
};
IdHash hash_of_id(std::string_view id) { return {hash64(id, 2), hash64(id, 3)}; }

StringTable table_of(const Interner& strings) { return {strings.bytes(), strings.offsets()}; }

// Fields and kinds in order of name, in the file; in order of appearance, in the log.
std::vector<std::size_t> order_by_name(const Interner& names) {
  std::vector<std::size_t> order(static_cast<std::size_t>(names.size()));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return names.text(static_cast<std::int32_t>(a)) < names.text(static_cast<std::int32_t>(b));
  });
  return order;
}

FieldStrings strings_of(const LogFields& fields) {
  FieldStrings result;
  for (const std::size_t f : order_by_name(fields.names)) {
    result.names.emplace_back(fields.names.text(static_cast<std::int32_t>(f)));
    result.values.push_back(table_of(*fields.values[f]));
  }
  return result;
}

std::vector<Bags> bags_of(const LogFields& fields, std::vector<SpillBags>& bags) {
  std::vector<Bags> result;
  for (const std::size_t f : order_by_name(fields.names)) result.push_back(bags[f].view());
  return result;
}

RawStrings strings_of(LogTables& log) {
  RawStrings s;
  s.request_ids = {log.id_text.view(), log.id_offsets.view()};
  s.users = table_of(log.users);
  s.queries = table_of(log.queries);
  s.terms = table_of(log.terms);
  s.items = table_of(log.items);
  s.actions = table_of(log.actions);
  s.user_fields = strings_of(log.user_fields);
  s.context_fields = strings_of(log.context_fields);
  s.item_fields = strings_of(log.item_fields);
  for (const std::size_t k : order_by_name(log.kinds.names)) s.kinds.emplace_back(log.kinds.names.text(static_cast<std::int32_t>(k)));
  return s;
}

RawColumns columns_of(LogTables& log, EventTable& events, SplitResult& split) {
  RawColumns c;
  c.query_terms = log.query_terms.view();
  c.time = log.time.view();
  c.user = log.user.view();
  c.query = log.query.view();
  c.target = log.target.view();
  c.split = split.part.view();
  c.candidates = log.candidates.view();
  c.events = events.ranges.view();
  c.user_fields = bags_of(log.user_fields, log.user_bags);
  c.context_fields = bags_of(log.context_fields, log.context_bags);
  c.user_dense = log.user_dense.view();
  c.item = log.item.view();
  c.item_fields = bags_of(log.item_fields, log.item_bags);
  c.dense = log.dense.view();
  c.vector = log.vector.view();
  c.score = log.score.view();
  c.value = log.value.view();
  c.click = log.click.view();
  c.conversion = log.conversion.view();
  c.labelled = log.labelled.view();
  for (const std::size_t k : order_by_name(log.kinds.names)) {
    c.conversions.push_back(log.kinds.labels[k].view());
    c.values.push_back(log.kinds.values[k].view());
  }
  c.position = log.position.view();
  c.event_time = events.time.view();
  c.event_query = events.query.view();
  c.event_item = events.item.view();
  c.event_action = events.action.view();
  c.event_fields = bags_of(log.item_fields, events.fields);
  return c;
}

void require_room(std::span<const std::string_view> kinds) {
  if (kinds.size() <= kMostKinds) return;
  std::string before;
  for (const std::string_view kind : kinds.first(kMostKinds)) before += (before.empty() ? "" : ", ") + std::string(kind);
  throw Error(ErrorCode::data, "candidates: expected at most " + std::to_string(kMostKinds) + " kinds of conversion in a log, got " +
                                   std::string(kinds[kMostKinds]) + " after " + before + " (a number is the kind " + std::string(kPlainKind) +
                                   "); each kind has heads of its own, so give related ones one name");
}

// A table of which no id is in the log belongs to another catalogue.
void require_some_vector(const ItemVectors& vectors, const Interner& items) {
  if (vectors.width() == 0) return;
  for (std::int32_t i = 0; i < items.size(); ++i)
    if (vectors.find(items.text(i)) != ItemVectors::kNone) return;
  throw Error(ErrorCode::data, "none of the log's " + std::to_string(items.size()) + " items is among the " + std::to_string(vectors.size()) +
                                   " ids of the item vectors: are they the same ids?");
}

std::string describe(const WriterOptions& options, const SplitResult& split, const RawStrings& strings, const RawColumns& c) {
  const char* kinds[] = {"time", "user", "none", "given"};
  nlohmann::json json = {{"format", options.format},
                         {"split", kinds[static_cast<int>(split.kind)]},
                         {"min_count", options.min_count},
                         {"requests", c.requests()},
                         {"candidates", c.item.size()},
                         {"events", c.event_time.size()},
                         {"train", split.counts[0]},
                         {"valid", split.counts[1]},
                         {"test", split.counts[2]},
                         {"user_fields", strings.user_fields.names},
                         {"context_fields", strings.context_fields.names},
                         {"item_fields", strings.item_fields.names}};
  if (!strings.kinds.empty()) json["conversions"] = strings.kinds;
  if (split.kind == SplitKind::user) {
    json["folds"] = options.folds;
    json["fold"] = options.fold;
  }
  if (split.valid_from != kNoTime) json["valid_from"] = split.valid_from;
  if (split.test_from != kNoTime) json["test_from"] = split.test_from;
  return json_text(json);
}

}  // namespace

struct DatasetWriter::Impl {
  std::string path;
  WriterOptions options;
  RequestChecker checker;
  DenseWidths widths;
  std::unordered_set<IdHash, FirstWord> ids;  // of requests that have one
  LogTables log;
  bool committed = false;
};

DatasetWriter::DatasetWriter(std::string path, WriterOptions options) : impl_(std::make_unique<Impl>()) {
  if (options.folds < 2 || options.fold < 1 || options.fold > options.folds)
    throw Error(ErrorCode::usage, "expected 2 or more folds and a fold of 1 to folds, got fold " + std::to_string(options.fold) + " of " +
                                      std::to_string(options.folds));
  if (!(options.valid_fraction >= 0 && options.test_fraction >= 0 && options.valid_fraction + options.test_fraction < 1))
    throw Error(ErrorCode::usage, "expected valid and test fractions of at least 0 that leave something to train on");
  if (!options.ngrams.valid())
    throw Error(ErrorCode::usage, "expected n-grams of 1 to " + std::to_string(Ngrams::kLongest) + " characters in 1 to " +
                                      std::to_string(Ngrams::kMostBuckets) + " buckets, got " + std::to_string(options.ngrams.least) + " to " +
                                      std::to_string(options.ngrams.most) + " in " + std::to_string(options.ngrams.buckets));
  impl_->path = std::move(path);
  impl_->widths.vector = options.item_vectors.width();
  impl_->options = std::move(options);
}

DatasetWriter::~DatasetWriter() = default;

std::int64_t DatasetWriter::requests() const { return impl_->log.user.size(); }

void DatasetWriter::add_request(const Request& request, std::int64_t order, bool derive_events) {
  LogTables& log = impl_->log;
  DenseWidths widths = impl_->widths;
  impl_->checker.check_logged(request, widths);
  require_room(log.kinds.with(request));
  if (!request.id.empty() && !impl_->ids.insert(hash_of_id(request.id)).second)
    throw Error(ErrorCode::data, "id: the request id \"" + std::string(request.id) + "\" was seen before; an id names one request of a log");
  impl_->widths = widths;
  log.add_request(request, order);
  if (!derive_events || request.user.empty() || !request.time) return;

  const std::int32_t user = log.users.find(request.user);
  bool acted = false;
  for (const Candidate& c : request.candidates) {
    const Labels labels = labels_of(c);
    if (!labels.click) continue;
    const auto act = [&](std::string_view action) { log.add_event(user, {request.time, request.query, c.id, action, c.fields}, order); };
    each_conversion(c, [&](std::string_view kind, bool happened) {
      if (happened) act(kind);
    });
    if (!labels.conversion) act("click");
    acted = true;
  }
  if (!acted && log.intern_query(request.query) >= 0) log.add_event(user, {request.time, request.query, {}, "search", {}}, order);
}

void DatasetWriter::set_part(Split part) {
  if (impl_->options.split != SplitKind::given)
    throw Error(ErrorCode::usage, "this log says itself what is for training and what for testing; leave --split out");
  impl_->log.part_now = static_cast<std::uint8_t>(part);
}

void DatasetWriter::add_event(std::string_view user, const Event& event, std::int64_t order) {
  if (user.empty()) throw Error(ErrorCode::data, "user: expected a non-empty string for an event");
  impl_->log.add_event(impl_->log.users.intern(user), event, order);
}

void DatasetWriter::commit(const std::function<void(std::int64_t, std::int64_t)>& progress) {
  PIANO_CHECK(!impl_->committed, "DatasetWriter::commit was called twice");
  impl_->committed = true;
  constexpr std::int64_t kSteps = 4;
  const auto done = [&](std::int64_t step) {
    if (progress) progress(step, kSteps);
  };
  const WriterOptions& options = impl_->options;
  LogTables& log = impl_->log;
  if (requests() == 0) throw Error(ErrorCode::data, "no request in the input; nothing was written");
  require_some_vector(options.item_vectors, log.items);
  done(0);
  log.finish();
  EventTable events = sort_events(log);
  done(1);
  SplitResult split = split_requests(log, options);
  if (options.split != SplitKind::none && split.counts[static_cast<int>(Split::train)] == 0)
    throw Error(ErrorCode::data, "no request is left to train on; give more requests, or --split none to evaluate only");
  done(2);
  const RawStrings strings = strings_of(log);
  const RawColumns columns = columns_of(log, events, split);
  const FeatureSpace features = fit_feature_space(columns, strings, events.user_begin.back(), options);
  done(3);

  SafetensorsWriter writer(impl_->path);
  const int version = strings.kinds.empty() ? features.version() : kDatasetVersion;
  write_format(writer, kDatasetFormat, version, version);
  writer.metadata("dataset", describe(options, split, strings, columns));
  features.save(writer);
  save_columns(writer, columns, strings);
  writer.commit();
  done(kSteps);
}

}  // namespace piano::data
