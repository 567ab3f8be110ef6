#include "piano/config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "engine/base/error.h"
#include "piano/models.h"

namespace piano {
namespace {

template <class T> using Range = std::pair<T, T>;
template <class E> using Choices = std::vector<std::pair<const char*, E>>;

// The one list of options. `v` is called as v(key, field, allowed, help, in_model): integers and floats come with an inclusive range,
// choices with their names.
template <class C, class Visitor>
void visit_options(C& c, Visitor&& v) {
  constexpr std::int64_t many = std::int64_t{1} << 40;
  using I = Range<std::int64_t>;
  using F = Range<double>;
  v("model.name", c.model.name,
    Choices<ModelName>{{"piano", ModelName::piano}, {"dnn", ModelName::dnn}, {"din", ModelName::din}, {"esmm", ModelName::esmm},
                       {"mmoe", ModelName::mmoe}, {"ple", ModelName::ple}, {"dlcm", ModelName::dlcm}, {"prm", ModelName::prm},
                       {"setrank", ModelName::setrank}, {"mir", ModelName::mir}, {"pear", ModelName::pear}},
    "which model: PIANO, or a baseline (docs/models.md); --set model=NAME is short for it", true);
  v("model.d", c.model.d, I{1, 4096}, "width of every embedding and hidden state", true);
  v("model.heads", c.model.heads, I{1, 64}, "attention heads; must divide model.d", true);
  v("model.layers", c.model.layers, I{0, 32}, "transformer blocks of the list encoder; of dnn, din, esmm: hidden layers; of ple: levels", true);
  v("model.ffn", c.model.ffn, I{1, 16}, "hidden width of feed-forward blocks, as a multiple of model.d", true);
  v("model.experts", c.model.experts, I{2, 16}, "mmoe: experts; ple: experts of each task and as many shared ones, on each level", true);
  v("model.dropout", c.model.dropout, F{0, 0.95}, "dropout rate in training", true);
  v("model.oov_dropout", c.model.oov_dropout, F{0, 0.95}, "rate at which training replaces an id by the out-of-vocabulary row", true);
  v("model.max_history", c.model.max_history, I{0, 100000}, "most recent past events that the model attends to", true);
  v("model.max_terms", c.model.max_terms, I{0, 10000}, "terms of a query that are read", true);
  v("model.match", c.model.match, 0, "match features (counts and recency of the item and its fields in the history)", true);
  v("model.cosine", c.model.cosine, 0, "with model.match: item-item cosine between the candidate and the past, by who had both in the training part; costs a request as much as its items have users", true);
  v("qdir.mode", c.qdir.mode,
    Choices<QdirMode>{{"attend", QdirMode::attend}, {"mean", QdirMode::mean}, {"item_only", QdirMode::item_only}, {"off", QdirMode::off}},
    "attend: cross-attention over past queries; mean: uniform weights; item_only: keys and values from past items alone; off: no refined "
    "interest", true);
  v("qdir.query", c.qdir.query, Choices<QdirQuery>{{"query", QdirQuery::query}, {"query+user", QdirQuery::query_user}},
    "what asks: the current query, or query and user", true);
  v("qdir.value", c.qdir.value, Choices<QdirValue>{{"query", QdirValue::query}, {"item", QdirValue::item}, {"both", QdirValue::both}},
    "what a past event answers with: its query, its item, or both", true);
  v("qdir.match", c.qdir.match, 0,
    "each candidate sees how much attention goes to the past events that share its item, or one of its fields", true);
  v("qdir.null_slot", c.qdir.null_slot, 0, "a learnable extra key and value, so that 'nothing in the past matches' can be said", true);
  v("encoder.attention", c.encoder.attention, Choices<EncoderAttention>{{"full", EncoderAttention::full}, {"induced", EncoderAttention::induced}},
    "full: every candidate sees every other, at a cost that grows with the square of the list; induced: through encoder.points learnt points, "
    "for very long lists", true);
  v("encoder.points", c.encoder.points, I{1, 4096}, "with encoder.attention = induced: points of a block", true);
  v("encoder.position", c.encoder.position,
    Choices<PositionMode>{{"none", PositionMode::none}, {"initial_rank", PositionMode::initial_rank}, {"displayed", PositionMode::displayed}},
    "position embedding added to each candidate: none; its initial rank; displayed: where it was shown (what was not shown has a row of its own), "
    "and in serving where it would be", true);
  v("encoder.positions", c.encoder.positions, I{1, 100000}, "rows of the position table; later ranks share the last one", true);
  v("ian.condition", c.ian.condition, 0, "the list token starts from the refined interest and the query", true);
  v("ian.pool", c.ian.pool, Choices<IanPool>{{"token", IanPool::token}, {"mean", IanPool::mean}, {"attention", IanPool::attention}},
    "how the list is summed up: the information aggregation token, the mean of the candidates, or attention with one learned query", true);
  v("ian.feedback", c.ian.feedback, 0, "the item heads see the list's summary", true);
  v("list.label", c.list.label,
    Choices<ListLabel>{{"any", ListLabel::any}, {"fraction", ListLabel::fraction}, {"count", ListLabel::count}},
    "the list's labels: any click / any conversion; the clicked / converted fraction; their counts (Poisson)", true);
  v("rank.by", c.rank.by, Choices<RankBy>{{"score", RankBy::score}, {"list_search", RankBy::list_search}},
    "what orders the answer: the items' own scores; list_search: from that order, swaps as long as the list heads like the whole order better "
    "(needs encoder.position = displayed)", true);
  v("rank.alpha", c.rank.alpha, F{-100, 100}, "weight of log pctr in the score", true);
  v("rank.beta", c.rank.beta, F{-100, 100}, "weight of log pcvr in the score", true);
  v("rank.gamma", c.rank.gamma, F{-100, 100}, "weight of log value in the score", true);
  v("rank.conversion_weights", c.rank.conversion_weights, F{0, 1e9},
    "of several kinds of conversion, in order of name: what each counts in the score, in what list_search judges an order by and in the listwise "
    "loss, separated by spaces; none given: 1 each", true);
  v("rank.swaps", c.rank.swaps, I{1, 1000}, "list_search: swaps, at most", true);
  v("rank.places", c.rank.places, I{2, 100}, "list_search: the first places, any two of which may be swapped", true);
  v("rank.list_click", c.rank.list_click, F{0, 1000}, "list_search: weight of P_ctr in what an order is worth", true);
  v("rank.list_conversion", c.rank.list_conversion, F{0, 1000}, "list_search: weight of P_ctr * P_cvr in what an order is worth", true);
  v("loss.click", c.loss.click, F{0, 1000}, "weight of the items' click loss", false);
  v("loss.conversion", c.loss.conversion, F{0, 1000}, "weight of the items' click-and-convert loss (entire space)", false);
  v("loss.list_click", c.loss.list_click, F{0, 1000}, "weight of the list's click loss", false);
  v("loss.list_conversion", c.loss.list_conversion, F{0, 1000}, "weight of the list's conversion loss", false);
  v("loss.listwise", c.loss.listwise, F{0, 1000}, "weight of the listwise loss against (click + lambda * conversion)", false);
  v("loss.listwise_kind", c.loss.listwise_kind,
    Choices<ListwiseLoss>{{"softmax", ListwiseLoss::softmax}, {"lambda", ListwiseLoss::lambda}},
    "the listwise loss: softmax cross-entropy, or LambdaLoss for NDCG (NDCG-Loss2)", false);
  v("loss.weighting", c.loss.weighting, Choices<LossWeighting>{{"fixed", LossWeighting::fixed}, {"uncertainty", LossWeighting::uncertainty}},
    "fixed: the terms' weights as given; uncertainty: times exp(-s), plus s / 2, s learnt for each term within -3 .. 3 (Kendall et al. 2018)", false);
  v("loss.lambda", c.loss.lambda, F{0, 1000}, "what a conversion adds to a click in the listwise target", false);
  v("loss.listwise_value", c.loss.listwise_value, 0,
    "a conversion adds lambda times what it is worth (the candidate's value, if above 0) to the listwise target", false);
  v("loss.examination", c.loss.examination,
    Choices<LossExamination>{{"none", LossExamination::none}, {"likelihood", LossExamination::likelihood}, {"weighted", LossExamination::weighted}},
    "none: a click is a click; likelihood: P(click at position r) = theta_r * sigmoid(a); weighted: a click counts 1 / max(theta_r, clip) times. "
    "With either, the conversion head learns from clicked items", false);
  v("loss.theta", c.loss.theta, F{1e-9, 1}, "chances that position 1, 2, .. was looked at, separated by spaces (piano ope --theta-out)", false);
  v("loss.clip", c.loss.clip, F{0, 1}, "with loss.examination = weighted: smaller thetas count as this", false);
  v("train.epochs", c.train.epochs, I{1, many}, "passes over the training part, at most", false);
  v("train.max_steps", c.train.max_steps, I{0, many}, "stop after so many steps; 0: no limit", false);
  v("train.batch", c.train.batch, I{1, 1 << 20}, "lists a step", false);
  v("train.patience", c.train.patience, I{0, many}, "epochs without a better validation before training stops; 0: never", false);
  v("train.seed", c.train.seed, I{0, many}, "seed of initial values, order and dropout", false);
  v("train.select", c.train.select,
    Choices<SelectBy>{{"ndcg", SelectBy::ndcg}, {"target_mrr", SelectBy::target_mrr}, {"loss", SelectBy::loss},
                      {"revenue", SelectBy::revenue}},
    "what chooses the best epoch, on the validation part: NDCG@10 of click + conversion, MRR of the request's target, the loss, or revenue@10 "
    "(conversions times their values)", false);
  v("train.learning_rate", c.train.learning_rate, F{0, 10}, "AdamW's step size", false);
  v("train.schedule", c.train.schedule, Choices<Schedule>{{"constant", Schedule::constant}, {"linear", Schedule::linear}},
    "the step size over time: constant, or falling linearly to 0 at the end of train.epochs", false);
  v("train.weight_decay", c.train.weight_decay, F{0, 10}, "decoupled, on matrices only (no biases, norms or embedding rows)", false);
  v("train.beta1", c.train.beta1, F{0, 0.999999}, "AdamW's decay of the first moment", false);
  v("train.beta2", c.train.beta2, F{0, 0.999999}, "AdamW's decay of the second moment", false);
  v("train.epsilon", c.train.epsilon, F{1e-16, 1}, "AdamW's epsilon", false);
  v("train.clip", c.train.clip, F{0, 1e9}, "largest norm of the whole gradient; 0: no clipping", false);
  v("train.rows", c.train.rows,
    Choices<RowUpdates>{{"lazy", RowUpdates::lazy}, {"dense", RowUpdates::dense}, {"catchup", RowUpdates::catchup}},
    "AdamW on embedding rows: lazy: only touched rows move; dense: every row, every step; catchup: a row's skipped steps are replayed "
    "when it is next needed", false);
  v("train.micro_tokens", c.train.micro_tokens, I{0, 1 << 24},
    "about how many tokens (candidates + past events + 1 a list) a micro-batch has, in whole lists; 0: 150, or 800 for a model with more than "
    "2 MiB of dense parameters", false);
  v("train.accumulators", c.train.accumulators, I{1, 256}, "gradient accumulators, at most: small batches use fewer, but 4; results depend on it, never on the threads", false);
}

std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(std::int64_t value) { return std::to_string(value); }
std::string text_of(double value) {
  std::array<char, 40> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;  // the shortest text that reads back the same
  return {buffer.data(), end};
}

std::string text_of(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) text += (text.empty() ? "" : " ") + text_of(value);
  return text;
}

[[noreturn]] void reject(std::string_view key, const std::string& expected, std::string_view got) {
  throw Error(ErrorCode::usage, std::string(key) + ": expected " + expected + ", got '" + std::string(got) + "'");
}

template <class T, class Allowed>
std::string type_name(const T&, const Allowed& allowed) {
  if constexpr (std::is_same_v<T, bool>) return "true | false";
  else if constexpr (std::is_same_v<T, std::int64_t>) return "int";
  else if constexpr (std::is_same_v<T, double>) return "float";
  else if constexpr (std::is_same_v<T, std::vector<double>>) return "numbers";
  else {
    std::string names;
    for (const auto& [name, value] : allowed) names += (names.empty() ? "" : " | ") + std::string(name);
    return names;
  }
}

template <class T, class Allowed>
std::string value_text(const T& field, const Allowed& allowed) {
  if constexpr (std::is_enum_v<T>) {
    for (const auto& [name, value] : allowed) {
      if (value == field) return name;
    }
    return "";
  } else {
    return text_of(field);
  }
}

template <class T, class Allowed>
void parse_value(std::string_view key, std::string_view text, T& field, const Allowed& allowed);

void parse_numbers(std::string_view key, std::string_view text, std::vector<double>& field, const Range<double>& allowed) {
  std::vector<double> parsed;
  for (std::size_t begin = text.find_first_not_of(' '); begin < text.size(); begin = text.find_first_not_of(' ', begin)) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    parse_value(key, text.substr(begin, end - begin), parsed.emplace_back(), allowed);
    begin = end;
  }
  field = std::move(parsed);
}

template <class T, class Allowed>
void parse_value(std::string_view key, std::string_view text, T& field, const Allowed& allowed) {
  if constexpr (std::is_same_v<T, bool>) {
    if (text == "true" || text == "on") field = true;
    else if (text == "false" || text == "off") field = false;
    else reject(key, "true or false", text);
  } else if constexpr (std::is_same_v<T, std::vector<double>>) {
    parse_numbers(key, text, field, allowed);
  } else if constexpr (std::is_enum_v<T>) {
    std::vector<std::string> names;
    for (const auto& [name, value] : allowed) {
      if (text == name) {
        field = value;
        return;
      }
      names.emplace_back(name);
    }
    const std::string near = nearest(text, names);
    throw Error(ErrorCode::usage, std::string(key) + ": expected " + type_name(field, allowed) + ", got '" + std::string(text) + "'" +
                                      (near.empty() ? "" : ": did you mean '" + near + "'?"));
  } else {
    T parsed{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
    const bool whole = error == std::errc{} && end == text.data() + text.size();
    if (!whole || !(parsed >= allowed.first && parsed <= allowed.second)) {  // written so that NaN is refused
      reject(key, (std::is_same_v<T, double> ? "a number from " : "an integer from ") + text_of(allowed.first) + " to " +
                      text_of(allowed.second), text);
    }
    field = parsed;
  }
}

}  // namespace

std::vector<Option> options(const Config& config) {
  std::vector<Option> list;
  visit_options(config, [&](const char* key, const auto& field, const auto& allowed, const char* help, bool in_model) {
    list.push_back({key, type_name(field, allowed), value_text(field, allowed), help, in_model});
  });
  return list;
}

void set_option(Config& config, std::string_view key, std::string_view value) {
  if (key == "model") key = "model.name";  // a TOML file cannot have both the key and the table
  bool found = false;
  std::vector<std::string> keys;
  visit_options(config, [&](const char* name, auto& field, const auto& allowed, const char*, bool) {
    keys.emplace_back(name);
    if (key != name) return;
    found = true;
    parse_value(key, value, field, allowed);
  });
  if (found) return;
  const std::string near = nearest(key, keys);
  throw Error(ErrorCode::usage, "unknown option '" + std::string(key) + "'" +
                                    (near.empty() ? "; docs/options.md lists them" : ": did you mean '" + near + "'?"));
}

void set_option(Config& config, std::string_view assignment) {
  const auto equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    throw Error(ErrorCode::usage, "--set: expected key=value, got '" + std::string(assignment) + "'");
  }
  set_option(config, assignment.substr(0, equals), assignment.substr(equals + 1));
}

void check(const Config& c) {
  check_options_are_read(c);
  if (reads(c.model.name, "model.heads") && c.model.d % c.model.heads != 0) {
    throw Error(ErrorCode::usage, "model.heads: expected a divisor of model.d = " + std::to_string(c.model.d) + ", got " +
                                      std::to_string(c.model.heads));
  }
  const auto weight = [&](const char* key, double value) { return reads(c.model.name, key) ? value : 0.0; };
  if (traits(c).probabilities && c.loss.click + c.loss.conversion + weight("loss.list_click", c.loss.list_click) +
                                     weight("loss.list_conversion", c.loss.list_conversion) + weight("loss.listwise", c.loss.listwise) <= 0) {
    throw Error(ErrorCode::usage, "loss: all weights are 0, there is nothing to learn; set at least one");
  }
  const bool examination = c.loss.examination != LossExamination::none;
  if (examination == c.loss.theta.empty()) {
    throw Error(ErrorCode::usage, examination ? "loss.examination: expected loss.theta, the chances that positions 1, 2, .. were looked at"
                                              : "loss.theta: expected loss.examination = likelihood | weighted, which alone looks at it");
  }
  if (c.loss.examination == LossExamination::likelihood && c.loss.listwise > 0) {
    throw Error(ErrorCode::usage, "loss.listwise: expected 0 with loss.examination = likelihood, which has no listwise term; use weighted");
  }
  const std::vector<double>& kinds = c.rank.conversion_weights;
  if (!kinds.empty() && std::all_of(kinds.begin(), kinds.end(), [](double w) { return w == 0; })) {
    throw Error(ErrorCode::usage, "rank.conversion_weights: all are 0, no conversion counts; set at least one, or rank.beta = 0 to rank by clicks alone");
  }
  if (c.rank.by == RankBy::list_search) {
    if (c.encoder.position != PositionMode::displayed) {
      throw Error(ErrorCode::usage, "rank.by: list_search compares whole orders, which only a model with encoder.position = displayed can tell apart; "
                                    "train it with that");
    }
    if (c.list.label == ListLabel::count) {
      throw Error(ErrorCode::usage, "rank.by: list_search compares probabilities, and list.label = count predicts none; use any or fraction");
    }
    if (c.rank.list_click + c.rank.list_conversion <= 0) {
      throw Error(ErrorCode::usage, "rank.list_click, rank.list_conversion: both are 0, no order is worth more than another; set at least one");
    }
    if (c.loss.list_click <= 0) {
      throw Error(ErrorCode::usage, "loss.list_click: expected more than 0 with rank.by = list_search, which asks the list heads, got 0");
    }
  }
  if (c.model.layers == 0 && (c.model.name == ModelName::ple || c.model.name == ModelName::pear)) {
    throw Error(ErrorCode::usage, std::string("model.layers: model.name = ") + traits(c).key + " is nothing without layers; expected 1 or more, got 0");
  }
  if (traits(c).attention_rank && c.loss.lambda > 10) {
    throw Error(ErrorCode::usage, std::string("loss.lambda: model.name = ") + traits(c).key + " has exp(click + lambda * conversion) in its loss; "
                                      "expected 10 or less");
  }
  if (c.train.select == SelectBy::loss && !traits(c).probabilities) {
    throw Error(ErrorCode::usage, std::string("train.select: 'loss' is that of the items' terms, and model.name = ") + traits(c).key +
                                      " has none; use ndcg or target_mrr");
  }
}

std::string to_toml(const Config& config, bool model_only) {
  std::string out, table;
  for (const Option& o : options(config)) {
    if ((model_only && !o.in_model) || o.value.empty()) continue;  // no numbers: the default
    const auto dot = o.key.find('.');
    if (o.key.substr(0, dot) != table) {
      table = o.key.substr(0, dot);
      out += (out.empty() ? "[" : "\n[") + table + "]\n";
    }
    const bool quoted = o.type != "int" && o.type != "float" && o.type != "true | false";
    out += o.key.substr(dot + 1) + " = " + (quoted ? '"' + o.value + '"' : o.value) + "\n";
  }
  return out;
}

std::string options_markdown() {
  std::string out =
      "# Options\n\nGenerated from `piano/config.cpp` by `piano train --list-options`; do not edit.\n"
      "Set them in a TOML file (`--config c.toml`, `[qdir]` then `mode = \"mean\"`) or with `--set qdir.mode=mean`; `--set` wins.\n"
      "Options marked *model* are saved in the model file and rule `evaluate` and `rerank` too; the others belong to one training run.\n\n"
      "| key | default | values | of | meaning |\n|---|---|---|---|---|\n";
  for (const Option& o : options(Config{})) {
    std::string type = o.type;
    for (std::size_t at = 0; (at = type.find('|', at)) != std::string::npos; at += 2) type.replace(at, 1, "\\|");
    const std::string models = readers(o.key);
    out += "| `" + o.key + "` | " + o.value + " | " + type + " | " + (o.in_model ? "model" : "training") + " | " + o.help +
           (models.empty() ? "" : " (read by " + models + ")") + " |\n";
  }
  return out;
}

std::string nearest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {  // Levenshtein, one row at a time
    std::vector<std::size_t> row(candidate.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j < row.size(); ++j) {
        const std::size_t substitute = diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
      }
    }
    if (row.back() < best_distance) best_distance = row.back(), best = candidate;
  }
  return best;
}

}  // namespace piano
