// Words in pieces: which pieces, whatever the bytes; and what a query is in a batch with them and without.
#include <doctest/doctest.h>

#include <locale.h>
#include <wctype.h>

#include <algorithm>
#include <set>
#include <utility>

#include "data/dataset.h"
#include "data/dataset_writer.h"
#include "data/ngrams.h"
#include "tests/data/batch_equal.h"
#include "tests/data/log_maker.h"

using namespace piano;
using namespace piano::data;
using namespace piano::data::test;

namespace {

std::string marked(std::string_view word) {
  std::string out;
  mark_word(word, out);
  return out;
}

std::vector<std::int32_t> buckets_of(std::string_view word, const Ngrams& ngrams) {
  std::vector<std::int32_t> out;
  for_each_ngram(marked(word), ngrams, [&](std::int32_t bucket) { out.push_back(bucket); });
  return out;
}

std::vector<std::int32_t> buckets_of_texts(const std::vector<std::string>& texts, const Ngrams& ngrams) {
  std::vector<std::int32_t> out;
  for (const std::string& t : texts) out.push_back(static_cast<std::int32_t>(hash64(t) % static_cast<std::uint64_t>(ngrams.buckets)));
  return out;
}

OwnedRequest asking(const std::string& query) {
  OwnedRequest r;
  r.query = query;
  r.candidates.resize(1);
  r.candidates[0].id = "t";
  r.candidates[0].click = true;
  return r;
}

// All for training, every string with a row.
FeatureSpace space_of(const TemporaryPath& file, const std::vector<std::string>& queries, const Ngrams& ngrams, int min_count = 1) {
  WriterOptions options;
  options.test_fraction = options.valid_fraction = 0;
  options.min_count = min_count;
  options.ngrams = ngrams;
  DatasetWriter writer(file.path(), options);
  for (std::size_t i = 0; i < queries.size(); ++i) writer.add_request(*View(asking(queries[i])), static_cast<std::int64_t>(i), false);
  writer.commit();
  return Dataset(file.path()).features();
}

std::vector<std::int32_t> terms_of(const FeatureSpace& space, const OwnedRequest& request, std::int32_t max_terms = 16) {
  BatchBuilder builder(space, {50, max_terms, true});
  Batch batch;
  builder.build(*View(request), batch);
  return batch.query.terms.ids;
}

constexpr Ngrams kNgrams{3, 5, 1000};

}  // namespace

TEST_CASE("n-grams: those of fastText, counted in characters") {
  const Ngrams three_four{3, 4, 1 << 20};
  CHECK(buckets_of("love", three_four) == buckets_of_texts({"<lo", "<lov", "lov", "love", "ove", "ove>", "ve>"}, three_four));
  CHECK(buckets_of("Été", three_four) == buckets_of_texts({"<ét", "<été", "été", "été>", "té>"}, three_four));
  CHECK(buckets_of("a", three_four) == buckets_of_texts({"<a>"}, three_four));
  const Ngrams one_two{1, 2, 1 << 20};
  CHECK(buckets_of("ab", one_two) == buckets_of_texts({"<a", "a", "ab", "b", "b>"}, one_two));  // no lone mark
  CHECK(buckets_of("周杰伦", one_two) == buckets_of_texts({"<周", "周", "周杰", "杰", "杰伦", "伦", "伦>"}, one_two));
  CHECK(buckets_of("𝄞", one_two) == buckets_of_texts({"<𝄞", "𝄞", "𝄞>"}, one_two));  // four bytes
}

TEST_CASE("n-grams: a word has at most so many, from its beginning") {
  const std::string long_word(10'000, 'x');
  CHECK(buckets_of(long_word, kNgrams).size() == static_cast<std::size_t>(Ngrams::kMostOfWord));
  CHECK(buckets_of("abcdefghijklmn", kNgrams).size() == 39);  // of 14 characters: all of them
  CHECK(buckets_of("begins-alike-and-ends-so", kNgrams) == buckets_of("begins-alike-and-ends-otherwise", kNgrams));
  for (const std::int32_t bucket : buckets_of("some-longer-words", {1, 10, 7})) CHECK((bucket >= 0 && bucket < 7));
}

TEST_CASE("n-grams: lower case by Unicode") {
  for (const auto& [word, small] : std::vector<std::pair<std::string, std::string>>{
           {"BEYONCÉ", "beyoncé"}, {"Sigur RÓS", "sigur rós"}, {"ŽLUŤOUČKÝ", "žluťoučký"}, {"ΜΟΥΣΙΚΉ", "μουσική"}, {"МУЗЫКА Ё", "музыка ё"},
           {"TIẾNG VIỆT ƠƯ", "tiếng việt ơư"}, {"ＡＢＺ", "ａｂｚ"}, {"ՀԱՅ", "հայ"}, {"×÷ ß 東京 한국", "×÷ ß 東京 한국"}, {"İST Ÿ", "ist ÿ"}})
    CHECK(marked(word) == "<" + small + ">");
}

TEST_CASE("n-grams: lower case is that of the C library, in whole blocks") {
  const locale_t unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  if (unicode == nullptr) {
    MESSAGE("not run: the C library has no locale C.UTF-8");
    return;
  }
  const auto utf8 = [](char32_t c) {
    std::string text;
    if (c < 0x80) return std::string(1, static_cast<char>(c));
    if (c < 0x800) text = static_cast<char>(0xC0 | c >> 6);
    else text = {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F))};
    return text + static_cast<char>(0x80 | (c & 0x3F));
  };
  constexpr std::pair<char32_t, char32_t> kBlocks[] = {{0x21, 0x24F}, {0x370, 0x58F}, {0x1E00, 0x1FFF}, {0x2126, 0x212B}, {0xFF01, 0xFF5E}};
  int folded = 0;
  for (const auto& [first, last] : kBlocks) {
    for (char32_t c = first; c <= last; ++c) {
      const auto small = static_cast<char32_t>(towlower_l(static_cast<wint_t>(c), unicode));
      folded += small != c;
      if (marked(utf8(c)) != "<" + utf8(small) + ">") FAIL_CHECK("U+" << std::hex << static_cast<std::uint32_t>(c) << " should become U+" << static_cast<std::uint32_t>(small));
    }
  }
  CHECK(folded > 600);
  CHECK(marked("\xe1\x82\xa0") == "<\xe1\x82\xa0>");  // Georgian keeps its capitals
  freelocale(unicode);
}

TEST_CASE("n-grams: bytes that are no characters stand for themselves") {
  for (const std::string& bytes : {std::string("\xff"), std::string("a\xc3"), std::string("\xc3z"), std::string("\xe3\x81"), std::string("\xf0\x9f\x8e"),
                                   std::string("\x80\x80"), std::string("\0x", 2), std::string("\xf8\x88\x80\x80\x80")}) {
    CHECK(marked(bytes) == "<" + bytes + ">");
    CHECK(!buckets_of(bytes, {1, 3, 100}).empty());
  }
}

TEST_CASE("n-grams: a query's rows are its terms', each with its n-grams, and case counts for nothing") {
  const TemporaryPath file("ngrams.safetensors");
  const FeatureSpace space = space_of(file, {"Love Story", "LOVE", "Été"}, kNgrams);
  CHECK(space.schema.ngrams == kNgrams);
  CHECK(space.term.rows() == kFirstId + 3);  // love, story, été
  CHECK(space.term_rows() == space.term.rows() + 1000);
  CHECK(space.fingerprint() != space_of(file, {"Love Story", "LOVE", "Été"}, {3, 4, 1000}).fingerprint());

  const auto rows = [&](const std::string& word) {
    std::vector<std::int32_t> out{space.term.find(word)};
    for (const std::int32_t bucket : buckets_of(word, kNgrams)) out.push_back(space.term.rows() + bucket);
    return out;
  };
  std::vector<std::int32_t> love_story = rows("love"), story = rows("story");
  love_story.insert(love_story.end(), story.begin(), story.end());
  CHECK(terms_of(space, asking("love STORY")) == love_story);
  CHECK(terms_of(space, asking("love story"), 1) == rows("love"));  // terms are counted, not rows
  CHECK(terms_of(space, asking("ÉTÉ")) == rows("été"));
  CHECK(terms_of(space, asking("ÉTÉ")).front() >= kFirstId);
  CHECK(terms_of(space, asking("")) == std::vector<std::int32_t>{kMissing});
  CHECK(terms_of(space, asking(" \t ")) == std::vector<std::int32_t>{kMissing});

  const std::vector<std::int32_t> typo = terms_of(space, asking("stoory")), other = terms_of(space, asking("jazz"));
  CHECK(typo.front() == kOutOfVocabulary);
  const auto shared = [&](const std::vector<std::int32_t>& a) {
    return std::count_if(a.begin() + 1, a.end(), [&](std::int32_t row) { return std::find(story.begin(), story.end(), row) != story.end(); });
  };
  CHECK(shared(typo) >= 5);  // <st <sto sto ory ory> ry>
  CHECK(shared(other) == 0);

  // Term ids are strings like any other: the query called the same is the same.
  OwnedRequest ids = asking("");
  ids.query_terms = {"love", "story"};
  CHECK(terms_of(space, ids) == love_story);
}

TEST_CASE("n-grams: spellings are counted together") {
  const TemporaryPath file("ngrams.safetensors");
  const std::vector<std::string> queries{"Été", "ÉTÉ", "solo"};
  CHECK(space_of(file, queries, kNgrams, 2).term.find("été") == kFirstId);
  CHECK(space_of(file, queries, {}, 2).term.rows() == kFirstId);
}

TEST_CASE("n-grams: off, a file is what it was") {
  const TemporaryPath file("ngrams.safetensors");
  const FeatureSpace off = space_of(file, {"Love Story", "Été"}, {});
  CHECK(off.term_rows() == off.term.rows());
  const Dataset d(file.path());
  CHECK(d.file()->metadata().at("format_version") == "5");
  CHECK(d.file()->metadata().at("min_reader_version") == "5");
  CHECK(d.file()->metadata().at("schema").find("ngrams") == std::string::npos);
  CHECK(off.term.find("\xC3\x89t\xC3\xA9") >= kFirstId);  // Ét\u00e9: lower case is ASCII's
  CHECK(terms_of(off, asking("love STORY")) == std::vector<std::int32_t>{off.term.find("love"), off.term.find("story")});
  CHECK(terms_of(off, asking("stoory")) == std::vector<std::int32_t>{kOutOfVocabulary});

  space_of(file, {"Love Story"}, kNgrams);
  CHECK(Dataset(file.path()).file()->metadata().at("min_reader_version") == "5");
}

TEST_CASE("n-grams: the same request through a file and from outside is the same batch") {
  RandomStream random(3, "ngrams");
  LogShape shape;
  shape.explicit_history = true;
  const std::vector<OwnedRequest> log = random_log(random, shape);
  const TemporaryPath file("ngrams.safetensors"), plain("plain.safetensors");
  WriterOptions options;
  for (const bool on : {false, true}) {
    if (on) options.ngrams = kNgrams;
    DatasetWriter writer(on ? file.path() : plain.path(), options);
    for (std::size_t i = 0; i < log.size(); ++i) writer.add_request(*View(log[i]), static_cast<std::int64_t>(i), false);
    writer.commit();
  }
  const Dataset dataset(file.path()), without(plain.path());
  BatchBuilder from_file(dataset.features(), {6, 3, true}), from_plain(dataset.features(), {6, 3, true}), live(dataset.features(), {6, 3, true});
  from_file.attach(dataset);
  from_plain.attach(without);  // a model with n-grams reads a file that has none
  Batch a, b;
  std::size_t widest = 0;
  for (std::int64_t r = 0; r < dataset.size(); ++r) {
    if (!log[static_cast<std::size_t>(r)].has_history) continue;
    from_file.build(std::vector<std::int64_t>{r}, a);
    live.build(*View(log[static_cast<std::size_t>(r)]), b);
    CHECK(difference(a, b) == "");
    from_plain.build(std::vector<std::int64_t>{r}, b);
    CHECK(difference(a, b) == "");
    for (std::size_t q = 0; q + 1 < a.history_query.terms.offsets.size(); ++q)
      widest = std::max(widest, static_cast<std::size_t>(a.history_query.terms.offsets[q + 1] - a.history_query.terms.offsets[q]));
  }
  CHECK(widest > 3);
  const std::vector<std::int64_t> all = dataset.requests(Split::train);
  CHECK(from_file.largest(all).terms_per_query >= static_cast<std::int32_t>(widest));
}

TEST_CASE("n-grams: settings that cannot be are refused") {
  const TemporaryPath file("ngrams.safetensors");
  for (const Ngrams& bad : {Ngrams{0, 5, 100}, Ngrams{4, 3, 100}, Ngrams{3, 11, 100}, Ngrams{3, 5, (1 << 24) + 1}}) {
    WriterOptions options;
    options.ngrams = bad;
    CHECK_THROWS_AS(DatasetWriter(file.path(), options), Error);
  }
}
