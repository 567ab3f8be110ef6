// What the rest of the code must know of a model without knowing the model: what it gives, what it is trained for, which options it reads.
// docs/models.md has the same as a table, with the reasons.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "piano/config.h"

namespace piano {

struct ModelTraits {
  ModelName name;
  const char* key;               // "prm"
  const char* title;             // in tables
  bool probabilities = false;    // s(click) is P(click), and the items' terms of the loss train it; else the click logit is a score, trained by
                                 // a listwise loss: its order within a list is all it says
  bool conversion = false;       // gives a conversion logit; without one rank.beta is 0
  bool list_click = false, list_conversion = false;
  bool clicked_items = false;    // the conversion term looks at clicked items alone (else at click-and-convert of all items)
  bool attention_rank = false;   // of the listwise losses, DLCM's (else softmax cross-entropy)
};

const ModelTraits& traits(ModelName name);
inline const ModelTraits& traits(const Config& config) { return traits(config.model.name); }

// Whether a model reads an option.
bool reads(ModelName name, std::string_view key);
// The models that read an option, as "piano, din"; empty: all of them.
std::string readers(std::string_view key);

// Throws ErrorCode::usage when an option that the model does not read was changed: "qdir.mode: model.name = prm does not read it; ...".
void check_options_are_read(const Config& config);

// The configuration with what is not read set to what the model does anyway (no positions: encoder.position = none; no history:
// model.max_history = 0; no conversion logit: rank.beta = 0), so that a model file tells no tales.
Config as_read(Config config);

}  // namespace piano
