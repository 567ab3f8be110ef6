#include "data/dataset_writer_split.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "data/hash.h"

namespace piano::data {

namespace {

constexpr std::uint64_t kValidSeed = 1;  // a second hash, so that valid is a sample of what test leaves over

// The time from which on the last `count` of the sorted times lie; equal times stay together, on the later side.
std::int64_t cut(std::span<const std::int64_t> sorted, std::int64_t count) {
  if (count <= 0) return std::numeric_limits<std::int64_t>::max();
  return sorted[sorted.size() - std::min(sorted.size(), static_cast<std::size_t>(count))];
}

void split_by_time(LogTables& log, const WriterOptions& options, SplitResult& result) {
  const std::span<const std::int64_t> times = log.time.view();
  SpillColumn<std::int64_t> known;
  for (const std::int64_t t : times)
    if (t != kNoTime) known.push(t);
  const std::span<std::int64_t> sorted = known.view();
  std::sort(sorted.begin(), sorted.end());

  constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  std::int64_t test_from = kNever, valid_from = kNever;
  if (!sorted.empty()) {
    const auto n = static_cast<double>(sorted.size());
    test_from = cut(sorted, std::llround(n * options.test_fraction));
    valid_from = std::min(test_from, cut(sorted, std::llround(n * (options.test_fraction + options.valid_fraction))));
  }
  // A request without a time has no place in the order; its labels came from no later than the others, so it is for training.
  for (const std::int64_t t : times) result.part.push(static_cast<std::uint8_t>(t >= test_from ? Split::test : t >= valid_from ? Split::valid : Split::train));
  if (test_from != kNever) result.test_from = test_from;
  if (valid_from != kNever) result.valid_from = valid_from;
}

void split_by_user(LogTables& log, const WriterOptions& options, SplitResult& result) {
  const StringTable ids{log.id_text.view(), log.id_offsets.view()};
  const std::span<const std::int32_t> user = log.user.view();
  for (std::size_t r = 0; r < user.size(); ++r) {
    const std::string_view who = user[r] >= 0 ? log.users.text(user[r]) : ids[static_cast<std::int64_t>(r)];
    result.part.push(static_cast<std::uint8_t>(split_of_user(who, options)));
  }
}

bool any_time(LogTables& log) {
  const std::span<const std::int64_t> times = log.time.view();
  return std::any_of(times.begin(), times.end(), [](std::int64_t t) { return t != kNoTime; });
}

}  // namespace

Split split_of_user(std::string_view user, const WriterOptions& options) {
  const auto folds = static_cast<std::uint64_t>(options.folds);
  if (hash64(user) % folds == static_cast<std::uint64_t>(options.fold - 1)) return Split::test;
  const double u = static_cast<double>(hash64(user, kValidSeed) >> 11) * 0x1p-53;  // [0, 1)
  return u < options.valid_fraction ? Split::valid : Split::train;
}

SplitResult split_requests(LogTables& log, const WriterOptions& options) {
  SplitResult result;
  result.kind = options.split != SplitKind::automatic ? options.split : any_time(log) ? SplitKind::time : SplitKind::user;
  switch (result.kind) {
    case SplitKind::time: split_by_time(log, options, result); break;
    case SplitKind::user: split_by_user(log, options, result); break;
    case SplitKind::none:
      for (std::int64_t r = 0; r < log.user.size(); ++r) result.part.push(static_cast<std::uint8_t>(Split::test));
      break;
    case SplitKind::given: result.part.push(log.part.view()); break;
    case SplitKind::automatic: break;  // it is one of the others by now
  }
  for (const std::uint8_t part : result.part.view()) ++result.counts[part];
  return result;
}

}  // namespace piano::data
