// Every option of the model and of training, once: key, default, meaning, allowed values. docs/options.md is generated from this list
// (`piano train --list-options`), a TOML file and `--set key=value` write to it, the model file carries it.
//
// To add an option: a field below and a line in visit_options().
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace piano {

enum class ModelName { piano, dnn, din, esmm, mmoe, ple, dlcm, prm, setrank, mir, pear };
enum class QdirMode { attend, mean, item_only, off };
enum class QdirQuery { query, query_user };
enum class QdirValue { query, item, both };
enum class IanPool { token, mean, attention };
enum class PositionMode { none, initial_rank, displayed };
enum class EncoderAttention { full, induced };
enum class ListLabel { any, fraction, count };
enum class LossExamination { none, likelihood, weighted };
enum class ListwiseLoss { softmax, lambda };
enum class LossWeighting { fixed, uncertainty };
enum class RankBy { score, list_search };
enum class RowUpdates { lazy, dense, catchup };
enum class SelectBy { ndcg, target_mrr, loss, revenue };
enum class Schedule { constant, linear };

struct Config {
  struct {
    ModelName name = ModelName::piano;
    std::int64_t d = 64, heads = 4, layers = 2, ffn = 4, experts = 4;
    double dropout = 0.1, oov_dropout = 0.02;
    std::int64_t max_history = 50, max_terms = 16;
    bool match = true, cosine = false;
  } model;
  struct {
    QdirMode mode = QdirMode::attend;
    QdirQuery query = QdirQuery::query;
    QdirValue value = QdirValue::both;
    bool null_slot = true, match = true;
  } qdir;
  struct {
    bool condition = true, feedback = true;
    IanPool pool = IanPool::token;
  } ian;
  struct {
    EncoderAttention attention = EncoderAttention::full;
    std::int64_t points = 32;
    PositionMode position = PositionMode::initial_rank;
    std::int64_t positions = 128;
  } encoder;
  struct {
    ListLabel label = ListLabel::any;
  } list;
  struct {
    double click = 1, conversion = 1, list_click = 0.5, list_conversion = 0.5, listwise = 0, lambda = 1;
    LossExamination examination = LossExamination::none;
    std::vector<double> theta;
    double clip = 0.05;
    ListwiseLoss listwise_kind = ListwiseLoss::softmax;
    LossWeighting weighting = LossWeighting::fixed;
    bool listwise_value = false;
  } loss;
  struct {
    RankBy by = RankBy::score;
    double alpha = 1, beta = 1, gamma = 0;
    std::int64_t swaps = 10, places = 10;
    double list_click = 1, list_conversion = 1;
    std::vector<double> conversion_weights;
  } rank;
  struct {
    std::int64_t epochs = 20, max_steps = 0, batch = 256, patience = 3, seed = 1;
    SelectBy select = SelectBy::ndcg;
    double learning_rate = 1e-3, weight_decay = 1e-5, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, clip = 5;
    Schedule schedule = Schedule::constant;
    RowUpdates rows = RowUpdates::lazy;
    std::int64_t micro_tokens = 0, accumulators = 8;
  } train;
};

// One option, as seen by the parser, the docs and the help.
struct Option {
  std::string key;          // "qdir.mode"
  std::string type;         // "int", "float", "numbers", "bool" or the choices: "attend | mean | item_only | off"
  std::string value;        // current value as text
  std::string help;
  bool in_model = true;     // part of the model (must agree with a saved one), not of one training run
};

// All options with the values of `config`, in the order of the docs.
std::vector<Option> options(const Config& config);

// Sets one option from text. Throws ErrorCode::usage: "unknown option 'qdir.mod': did you mean 'qdir.mode'?",
// "train.batch: expected an integer >= 1, got '0'". The key "model" is short for "model.name".
void set_option(Config& config, std::string_view key, std::string_view value);
void set_option(Config& config, std::string_view assignment);  // "key=value"

// Throws ErrorCode::usage for combinations that make no sense (heads must divide d, an option that the model does not read, ...).
void check(const Config& config);

// Reads a TOML file (tables are the first part of a key: [qdir] mode = "mean"). Throws ErrorCode::usage with file:line:column.
void read_toml(const std::string& path, Config& config);

// Every option as TOML; read_toml understands it. `model_only`: without the training run's own.
std::string to_toml(const Config& config, bool model_only = false);
void parse_toml(std::string_view text, const std::string& name, Config& config);

std::string options_markdown();  // docs/options.md

// The candidate nearest to `word` by edit distance, or "" when none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace piano
