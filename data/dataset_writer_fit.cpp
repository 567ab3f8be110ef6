#include "data/dataset_writer_fit.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "data/batch_builder.h"
#include "data/dataset.h"
#include "data/interner.h"
#include "data/match_features.h"

namespace piano::data {

namespace {

using Counts = std::vector<std::int64_t>;  // per raw id

constexpr std::size_t kMaxMatchActions = 8;
constexpr std::int64_t kMostInteractions = 1 << 20;  // some 4 MiB in a data or model file

struct LogCounts {
  Counts user, query, term, item, action;
  Counts acted;                                            // actions of events with an item
  std::vector<Counts> user_fields, context_fields, item_fields;
  std::vector<char> candidate_has, event_has;              // per item field: some candidate, some event has it

  explicit LogCounts(const RawStrings& s)
      : user(size(s.users)), query(size(s.queries)), term(size(s.terms)), item(size(s.items)), action(size(s.actions)), acted(size(s.actions)),
        candidate_has(s.item_fields.names.size(), 0), event_has(s.item_fields.names.size(), 0) {
    for (const StringTable& t : s.user_fields.values) user_fields.emplace_back(size(t));
    for (const StringTable& t : s.context_fields.values) context_fields.emplace_back(size(t));
    for (const StringTable& t : s.item_fields.values) item_fields.emplace_back(size(t));
  }
  static std::size_t size(const StringTable& t) { return static_cast<std::size_t>(t.size()); }
};

bool is_training(const RawColumns& log, std::size_t r) { return log.split[r] == static_cast<std::uint8_t>(Split::train); }

void count(Counts& counts, std::int32_t raw) {
  if (raw >= 0) ++counts[static_cast<std::size_t>(raw)];
}

void count_query(const RawColumns& log, std::int32_t query, LogCounts& c) {
  count(c.query, query);
  if (query >= 0)
    for (const std::int32_t term : log.query_terms[query]) count(c.term, term);
}

void count_request(const RawColumns& log, std::size_t r, LogCounts& c) {
  const auto row = static_cast<std::int64_t>(r);
  count(c.user, log.user[r]);
  count_query(log, log.query[r], c);
  for (std::size_t f = 0; f < c.user_fields.size(); ++f)
    for (const std::int32_t v : log.user_fields[f][row]) count(c.user_fields[f], v);
  for (std::size_t f = 0; f < c.context_fields.size(); ++f)
    for (const std::int32_t v : log.context_fields[f][row]) count(c.context_fields[f], v);
  for (std::int64_t candidate = log.candidates[r]; candidate < log.candidates[r + 1]; ++candidate) {
    count(c.item, log.item[static_cast<std::size_t>(candidate)]);
    for (std::size_t f = 0; f < c.item_fields.size(); ++f)
      for (const std::int32_t v : log.item_fields[f][candidate]) count(c.item_fields[f], v), c.candidate_has[f] = 1;
  }
}

void count_event(const RawColumns& log, std::int64_t event, LogCounts& c) {
  const auto e = static_cast<std::size_t>(event);
  count_query(log, log.event_query[e], c);
  count(c.item, log.event_item[e]);
  count(c.action, log.event_action[e]);
  if (log.event_item[e] >= 0) count(c.acted, log.event_action[e]);
  for (std::size_t f = 0; f < c.item_fields.size(); ++f)
    for (const std::int32_t v : log.event_fields[f][event]) count(c.item_fields[f], v), c.event_has[f] = 1;
}

// The union of the training histories. Explicit ones are nobody else's; derived ones of a user all begin at the user's first event.
void count_histories(const RawColumns& log, std::int64_t derived_events, LogCounts& c) {
  std::vector<std::int64_t> counted_to(c.user.size(), 0);  // per user: end of what was counted of the derived events
  for (std::size_t r = 0; r < log.split.size(); ++r) {
    if (!is_training(log, r)) continue;
    std::int64_t begin = log.events[2 * r];
    const std::int64_t end = log.events[2 * r + 1];
    if (begin < derived_events && log.user[r] >= 0) {
      std::int64_t& counted = counted_to[static_cast<std::size_t>(log.user[r])];
      begin = std::max(begin, counted);
      counted = std::max(counted, end);
    }
    for (std::int64_t e = begin; e < end; ++e) count_event(log, e, c);
  }
}

// Raw ids seen at least min_count times, the most frequent first, ties by bytes.
std::vector<std::string> frequent(const StringTable& texts, const Counts& counts, std::int64_t min_count) {
  std::vector<std::int32_t> kept;
  for (std::size_t i = 0; i < counts.size(); ++i)
    if (counts[i] >= min_count) kept.push_back(static_cast<std::int32_t>(i));
  std::sort(kept.begin(), kept.end(), [&](std::int32_t a, std::int32_t b) {
    const std::int64_t ca = counts[static_cast<std::size_t>(a)], cb = counts[static_cast<std::size_t>(b)];
    return ca != cb ? ca > cb : texts[a] < texts[b];
  });
  std::vector<std::string> result;
  for (const std::int32_t i : kept) result.emplace_back(texts[i]);
  return result;
}

// As frequent(), of terms that are looked up without regard to case.
std::vector<std::string> frequent_words(const StringTable& terms, const Counts& counts, std::int64_t min_count) {
  Interner words;
  Counts sums;
  std::string marked;
  for (std::int64_t t = 0; t < terms.size(); ++t) {
    mark_word(terms[t], marked);
    const auto word = static_cast<std::size_t>(words.intern(unmarked(marked)));
    sums.resize(static_cast<std::size_t>(words.size()));
    sums[word] += counts[static_cast<std::size_t>(t)];
  }
  return frequent({words.bytes(), words.offsets()}, sums, min_count);
}

// Names of the fields that have a value in training, and their vocabularies.
void fit_fields(const FieldStrings& fields, const std::vector<Counts>& counts, std::int64_t min_count, std::vector<std::string>& names,
                std::vector<Vocabulary>& vocabularies) {
  for (std::size_t f = 0; f < fields.names.size(); ++f) {
    if (std::all_of(counts[f].begin(), counts[f].end(), [](std::int64_t n) { return n == 0; })) continue;
    names.push_back(fields.names[f]);
    vocabularies.push_back(Vocabulary::build(frequent(fields.values[f], counts[f], min_count)));
  }
}

// Mean and deviation in double, over the rows that have the column.
class Moments {
 public:
  void add(const DenseColumn& column, std::int64_t row) {
    if (column.has(row)) add(column[row]);
  }
  void add(std::span<const float> row) {
    ++rows_;
    mean_.resize(row.size());
    square_.resize(row.size());
    double *mean = mean_.data(), *square = square_.data();
    const float* in = row.data();
    const auto rows = static_cast<double>(rows_);
#pragma omp simd
    for (std::size_t k = 0; k < row.size(); ++k) {  // Welford's update
      const double x = in[k], delta = x - mean[k];
      mean[k] += delta / rows;
      square[k] += delta * (x - mean[k]);
    }
  }
  std::int32_t width() const { return static_cast<std::int32_t>(mean_.size()); }
  Scaling scaling() const {
    Scaling s;
    for (std::size_t k = 0; k < mean_.size(); ++k) {
      const double deviation = std::sqrt(square_[k] / static_cast<double>(rows_));
      const bool tiny = deviation <= 1e-6 * std::max(1e-6, std::abs(mean_[k]));  // rounding of a constant
      s.mean.push_back(static_cast<float>(mean_[k]));
      s.deviation.push_back(tiny ? 1.0f : static_cast<float>(deviation));
    }
    return s;
  }

 private:
  std::int64_t rows_ = 0;
  std::vector<double> mean_, square_;
};

void fit_dense(const RawColumns& log, FeatureSpace& space) {
  Moments user, item, score;
  for (std::size_t r = 0; r < log.split.size(); ++r) {
    if (!is_training(log, r)) continue;
    user.add(log.user_dense, static_cast<std::int64_t>(r));
    for (std::int64_t c = log.candidates[r]; c < log.candidates[r + 1]; ++c) {
      item.add(log.dense, c);
      score.add(log.score, c);
      if (log.vector.has(c)) space.schema.item_vector = log.vector.width;
    }
  }
  space.schema.user_dense = user.width();
  space.schema.item_dense = item.width();
  space.schema.has_score = score.width() > 0;
  space.user_dense = user.scaling();
  space.item_dense = item.scaling();
  space.score = space.schema.has_score ? score.scaling() : Scaling{{0.0f}, {1.0f}};
}

// How many users of items the cosines of request r look at.
std::int64_t cosine_work(const RawColumns& log, std::size_t r, const MatchMaps& maps, const Interactions& interactions) {
  std::int64_t sum = 0;
  const auto add = [&](std::int32_t raw) {
    const std::int32_t item = raw < 0 ? -1 : maps.item[static_cast<std::size_t>(raw)];
    if (item >= 0) sum += static_cast<std::int64_t>(interactions.users_of(item).size());
  };
  for (std::int64_t e = log.events[2 * r]; e < log.events[2 * r + 1]; ++e) add(log.event_item[static_cast<std::size_t>(e)]);
  for (std::int64_t c = log.candidates[r]; c < log.candidates[r + 1]; ++c) add(log.item[static_cast<std::size_t>(c)]);
  return sum;
}

// Over the candidates of the training lists. Many match features are almost always 0: without scaling, what they say when they are not drowns.
// Cosines may be switched off, and cost a request as much as its items have users: where all lists would cost more than `most` together, every
// so many lists speak for the rest.
void fit_match(const RawColumns& log, const RawStrings& strings, std::int64_t most, FeatureSpace& space) {
  const MatchMaps maps = match_maps(space, strings);
  MatchFeatures match(space);
  std::int64_t work = 0;
  for (std::size_t r = 0; r < log.split.size(); ++r)
    if (is_training(log, r)) work += cosine_work(log, r, maps, space.interactions);
  const std::int64_t apart = 1 + work / most;
  Moments moments, cosines;  // of the lists with cosines
  std::vector<float> features, recency;
  std::int64_t list = 0;
  for (std::size_t r = 0; r < log.split.size(); ++r) {
    if (!is_training(log, r)) continue;
    const bool with_cosine = list++ % apart == 0;
    features.clear(), recency.clear();
    match.append(log, static_cast<std::int64_t>(r), maps, 0, with_cosine, features, recency);
    for (std::size_t at = 0; at < features.size(); at += match.width()) {
      const std::span<float> row = std::span(features).subspan(at, match.width());
      moments.add(row);
      if (with_cosine) cosines.add(match.cosine_of(row));
    }
  }
  space.match = moments.width() > 0 ? moments.scaling() : Scaling{std::vector<float>(match.width(), 0), std::vector<float>(match.width(), 1)};
  const Scaling of_cosines = cosines.scaling();
  std::ranges::copy(of_cosines.mean, match.cosine_of(space.match.mean).begin());
  std::ranges::copy(of_cosines.deviation, match.cosine_of(space.match.deviation).begin());
}

// Clicks and conversions of each item in the training lists; items without a row of their own have none.
void fit_popularity(const RawColumns& log, const RawStrings& strings, FeatureSpace& space) {
  std::vector<std::int32_t> rows;
  for (std::int64_t i = 0; i < strings.items.size(); ++i) rows.push_back(space.item.find(strings.items[i]));
  std::vector<double> sums(static_cast<std::size_t>(space.item.rows()), 0.0);
  for (std::size_t r = 0; r < log.split.size(); ++r) {
    if (!is_training(log, r)) continue;
    for (auto c = static_cast<std::size_t>(log.candidates[r]); c < static_cast<std::size_t>(log.candidates[r + 1]); ++c) {
      const std::int32_t row = rows[static_cast<std::size_t>(log.item[c])];
      if (row >= kFirstId && log.labelled[c]) sums[static_cast<std::size_t>(row)] += log.click[c] + log.conversion[c];
    }
  }
  space.item_popularity.assign(sums.begin(), sums.end());
}

// Kinds of conversion that happened in the training lists.
std::vector<std::string> fit_kinds(const RawColumns& log, const RawStrings& strings) {
  std::vector<std::string> kinds;
  for (std::size_t k = 0; k < strings.kinds.size(); ++k) {
    bool happened = false;
    for (std::size_t r = 0; r < log.split.size(); ++r) {
      if (!is_training(log, r)) continue;
      for (std::int64_t c = log.candidates[r]; c < log.candidates[r + 1]; ++c) happened = happened || log.conversions[k][static_cast<std::size_t>(c)] == 1;
    }
    if (happened) kinds.push_back(strings.kinds[k]);
  }
  return kinds;
}

}  // namespace

FeatureSpace fit_feature_space(const RawColumns& log, const RawStrings& strings, std::int64_t derived_events, const WriterOptions& options) {
  LogCounts counts(strings);
  for (std::size_t r = 0; r < log.split.size(); ++r)
    if (is_training(log, r)) count_request(log, r, counts);
  count_histories(log, derived_events, counts);

  FeatureSpace space;
  space.schema.ngrams = options.ngrams;
  space.item_vectors = options.item_vectors;
  space.schema.item_vector = options.item_vectors.width();
  const int least = std::max(1, options.min_count);
  const auto vocabulary = [&](const StringTable& texts, const Counts& c) { return Vocabulary::build(frequent(texts, c, least)); };
  space.user = vocabulary(strings.users, counts.user);
  space.query = vocabulary(strings.queries, counts.query);
  space.term = options.ngrams.on() ? Vocabulary::build(frequent_words(strings.terms, counts.term, least)) : vocabulary(strings.terms, counts.term);
  space.item = vocabulary(strings.items, counts.item);
  space.action = vocabulary(strings.actions, counts.action);
  fit_fields(strings.user_fields, counts.user_fields, least, space.schema.user_fields, space.user_fields);
  fit_fields(strings.context_fields, counts.context_fields, least, space.schema.context_fields, space.context_fields);
  fit_fields(strings.item_fields, counts.item_fields, least, space.schema.item_fields, space.item_fields);
  for (std::size_t f = 0; f < strings.item_fields.names.size(); ++f)
    if (counts.candidate_has[f] && counts.event_has[f]) space.schema.match_fields.push_back(strings.item_fields.names[f]);

  space.schema.match_set = 3;
  space.schema.match_actions = frequent(strings.actions, counts.acted, 1);
  if (space.schema.match_actions.size() > kMaxMatchActions) space.schema.match_actions.resize(kMaxMatchActions);
  space.schema.conversions = fit_kinds(log, strings);
  fit_dense(log, space);
  space.interactions = Interactions::build(log, strings, kMostInteractions);
  fit_match(log, strings, options.cosine_work, space);
  fit_popularity(log, strings, space);
  return space;
}

}  // namespace piano::data
