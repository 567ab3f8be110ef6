// piano prepare: a log in, a packed data set out.
#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "data/raw_columns.h"
#include "data/readers.h"
#include "engine/base/json_text.h"
#include "engine/base/log.h"
#include "tools/command_line.h"
#include "tools/output.h"

namespace piano::tools {
namespace {

struct Format {
  const char* name;
  data::ReadReport (*read)(const std::vector<std::string>&, const data::ReadOptions&, data::DatasetWriter&);
  data::SplitKind split;  // where --split is not given
};
constexpr std::array kFormats{Format{"jsonl", data::read_jsonl, data::SplitKind::automatic},
                              Format{"trivago", data::read_trivago, data::SplitKind::time},
                              Format{"lastfm", data::read_lastfm, data::SplitKind::given},
                              Format{"jdsearch", data::read_jdsearch, data::SplitKind::user},
                              Format{"letor", data::read_letor, data::SplitKind::user},
                              Format{"kuaisar", data::read_kuaisar, data::SplitKind::time}};

const Format& format_of(const CommandLine& line) {
  std::vector<std::string> names;
  for (const Format& format : kFormats) names.emplace_back(format.name);
  return kFormats[line.choice("format", names)];
}

bool has_text(const CommandLine& line) { return line.text("format") == "jsonl" || line.text("format") == "lastfm"; }

// --ngrams "3-5".
data::Ngrams ngrams_of(const CommandLine& line) {
  data::Ngrams ngrams;
  if (!line.given("ngrams")) {
    if (line.given("ngram-buckets")) throw Error(ErrorCode::usage, "--ngram-buckets means nothing without --ngrams");
    return ngrams;
  }
  if (!has_text(line)) throw Error(ErrorCode::usage, "--ngrams means nothing with --format " + line.text("format") + ": its queries are ids, no words");
  const std::string text = line.text("ngrams");
  const char *begin = text.data(), *end = begin + text.size();
  const auto least = std::from_chars(begin, end, ngrams.least);
  const bool dash = least.ec == std::errc() && least.ptr != end && *least.ptr == '-';
  const auto most = std::from_chars(dash ? least.ptr + 1 : end, end, ngrams.most);
  ngrams.buckets = static_cast<std::int32_t>(line.integer("ngram-buckets", 1, data::Ngrams::kMostBuckets));
  if (!dash || most.ec != std::errc() || most.ptr != end || !ngrams.valid())
    throw Error(ErrorCode::usage, "--ngrams: expected two lengths of 1 to " + std::to_string(data::Ngrams::kLongest) + " characters, as 3-5, got \"" +
                                      text + "\"");
  return ngrams;
}

data::WriterOptions writer_options(const CommandLine& line) {
  data::WriterOptions options;
  options.split = format_of(line).split;
  const bool timeless = options.split == data::SplitKind::user;
  if (line.given("split"))
    options.split = std::array{data::SplitKind::time, data::SplitKind::user, data::SplitKind::none}[line.choice("split", {"time", "user", "none"})];
  if (timeless && options.split == data::SplitKind::time)
    throw Error(ErrorCode::usage, "--split time means nothing with --format " + line.text("format") + ": its requests have no times to compare");
  if (!line.all("valid").empty() || !line.all("test").empty()) {
    if (line.given("split")) throw Error(ErrorCode::usage, "--valid and --test say what --split would; leave it out");
    options.split = data::SplitKind::given;
  }
  for (const char* flag : {"folds", "fold"}) {
    if (line.given(flag) && options.split != data::SplitKind::user) {
      throw Error(ErrorCode::usage, std::string("--") + flag + " means nothing without --split user");
    }
  }
  options.folds = static_cast<int>(line.integer("folds", 2, 1000));
  options.fold = static_cast<int>(line.integer("fold", 1, options.folds));
  options.min_count = static_cast<int>(line.integer("min-count", 1, INT32_MAX));
  options.ngrams = ngrams_of(line);
  if (line.given("item-vectors")) options.item_vectors = data::read_item_vectors(line.required("item-vectors"), line.text("item-ids"));
  else if (line.given("item-ids")) throw Error(ErrorCode::usage, "--item-ids means nothing without --item-vectors");
  options.format = line.text("format");
  if (options.format == "lastfm") options.format += ", seed " + line.text("seed");
  return options;
}

bool has_no_times(const data::Dataset& dataset) {
  for (std::int64_t r = 0; r < dataset.size(); ++r)
    if (dataset.time(r) != data::kNoTime) return false;
  return true;
}

std::string report(const std::string& out, const data::ReadReport& read, bool json) {
  const data::Dataset dataset(out);
  const auto part = [&](data::Split split) { return static_cast<std::int64_t>(dataset.requests(split).size()); };
  const std::int64_t train = part(data::Split::train), valid = part(data::Split::valid), test = part(data::Split::test);
  if (dataset.metadata("split") == "time" && has_no_times(dataset))
    log_warning("no request has a time, so --split time leaves all of them for training, none to choose by or to test on; --split user needs no times");
  if (json) {
    nlohmann::ordered_json object{{"out", out}, {"rows", read.rows}, {"requests", read.requests}, {"rejected", read.rejected},
                                  {"train", train}, {"valid", valid}, {"test", test}};
    if (read.rejected > 0) object["first_rejection"] = read.first_rejection;
    return json_text(object) + "\n";
  }
  std::string text = out + ": " + counted(read.requests, "request") + " (train " + count_text(train) + ", valid " + count_text(valid) +
                     ", test " + count_text(test) + ") from " + counted(read.rows, "row") + ", " + count_text(read.rejected) + " rejected\n";
  if (read.rejected > 0) text += "first rejection: " + read.first_rejection + "\n";
  return text;
}

}  // namespace

void prepare(const Arguments& arguments) {
  const data::WriterOptions defaults;
  CommandLine line("prepare", "--out FILE [flags] LOG...", "turns a log into a packed data set; - is stdin, and either may be gzipped");
  line.value("format", "NAME", "jsonl", "jsonl (docs/requests.md) | trivago | lastfm | jdsearch | letor | kuaisar; each takes the published files (docs/datasets.md)")
      .value("out", "FILE", "", "the packed data set")
      .value("split", "KIND", "", "time: the last requests are valid and test; user: whole users; none: everything is test (default: time, or user where requests have no times; lastfm says itself)")
      .repeatable("valid", "FILE", "jsonl, letor: a log whose requests are for choosing; those without --valid and --test are then for training")
      .repeatable("test", "FILE", "jsonl, letor: a log whose requests are for testing")
      .value("folds", "N", std::to_string(defaults.folds), "with --split user: parts into which users fall")
      .value("fold", "N", std::to_string(defaults.fold), "with --split user: the part that is test")
      .value("on-error", "WHAT", "stop", "stop at a bad row | skip it")
      .value("rejects", "FILE", "", "where skipped rows go, with the reason (default: OUT.rejects)")
      .value("min-count", "N", std::to_string(defaults.min_count), "strings seen less often in the training part get no embedding of their own")
      .value("ngrams", "A-B", "", "jsonl, lastfm: words of queries also count as their character n-grams of A to B, e.g. 3-5, so that a typo or a rare word has a meaning")
      .value("ngram-buckets", "N", "50000", "with --ngrams: rows of the term table that n-grams share by hash")
      .value("item-vectors", "FILE", "", "a vector for each item (audio, text): .npy of shape (items, width), or .safetensors with a tensor \"vectors\"; it travels with the model")
      .value("item-ids", "FILE", "", "with --item-vectors: the id of one row a line (a .safetensors file may bring a U8 tensor \"ids\" instead)")
      .value("seed", "N", "1", "lastfm: which plays are visible, which are answers, which users are kept apart")
      .flag("json", "the report as JSON")
      .example("piano prepare --format jsonl --out data.safetensors sim.jsonl")
      .example("piano prepare --ngrams 3-5 --item-vectors audio.npy --item-ids ids.txt --out data.safetensors log.jsonl")
      .example("piano prepare --format lastfm --out lastfm.safetensors tags.dat user_artists.dat user_taggedartists.dat")
      .example("piano prepare --format trivago --split user --folds 5 --fold 1 --out trivago.safetensors sessions.csv.gz");
  if (!line.parse(arguments)) return;

  const Format& format = format_of(line);
  const std::string out = line.required("out");
  if (line.files().empty()) throw Error(ErrorCode::usage, "expected a log to read, or - for stdin; see piano help prepare");
  data::ReadOptions read_options;
  read_options.on_error = line.choice("on-error", {"stop", "skip"}) == 1 ? data::OnError::skip : data::OnError::stop;
  if (read_options.on_error == data::OnError::skip) read_options.rejects = line.given("rejects") ? line.text("rejects") : out + ".rejects";
  if (line.given("seed") && std::string_view(format.name) != "lastfm") throw Error(ErrorCode::usage, "--seed means nothing with --format " + line.text("format"));
  read_options.seed = static_cast<std::uint64_t>(line.integer("seed", 0, INT64_MAX));
  std::vector<std::string> files = line.files();
  const bool parts = !line.all("valid").empty() || !line.all("test").empty();
  if (parts) {
    if (std::string_view(format.name) != "jsonl" && std::string_view(format.name) != "letor")
      throw Error(ErrorCode::usage, "--valid and --test mean nothing with --format " + line.text("format"));
    read_options.parts.assign(files.size(), data::Split::train);
    for (const auto& [flag, part] : {std::pair{"valid", data::Split::valid}, std::pair{"test", data::Split::test}})
      for (const std::string& file : line.all(flag)) files.push_back(file), read_options.parts.push_back(part);
  }
  std::vector<NamedPath> inputs;
  for (const std::string& file : files) inputs.push_back({"the input", file});
  for (const char* flag : {"item-vectors", "item-ids"}) inputs.push_back({std::string("--") + flag, line.text(flag)});
  require_distinct({{"--out", out}, {"--rejects", read_options.rejects}}, inputs);

  ProgressLine progress;
  const auto started = std::chrono::steady_clock::now();
  read_options.progress = [&](std::int64_t done, std::int64_t total, std::int64_t requests) {
    const std::string count = counted(requests, "request");
    if (total <= 0) return progress.show("read " + count);
    const double fraction = static_cast<double>(done) / static_cast<double>(total);
    const double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    progress.show("read " + bar(fraction) + " " + count + ", " + duration_text(elapsed / fraction - elapsed) + " left");
  };
  data::DatasetWriter writer(out, writer_options(line));
  const data::ReadReport read = format.read(files, read_options, writer);
  progress.clear();
  if (read.rejected > 0) {
    const std::string skipped = counted(read.rejected, "row") + (read.rejected == 1 ? " was" : " were") + " skipped; see " + read_options.rejects;
    if (read.requests == 0) throw Error(ErrorCode::data, "no request is left: " + skipped + "; the first: " + read.first_rejection);
    log_warning(skipped);
  }
  writer.commit([&](std::int64_t done, std::int64_t total) {
    progress.show("pack " + bar(static_cast<double>(done) / static_cast<double>(total)));
  });
  progress.clear();
  print(report(out, read, line.given("json")));
}

}  // namespace piano::tools
