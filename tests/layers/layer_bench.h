// What a test of one layer needs: a store, a device, a tape, an accumulator.
#pragma once

#include <string>

#include "tests/golden/golden_file.h"

#include "engine/core/context.h"
#include "layers/initialise.h"

struct LayerBench {
  piano::Arena arena;
  piano::Tape tape;
  piano::ParameterStore store;
  piano::Gradients gradients;
  piano::Context ctx;

  explicit LayerBench(const piano::Device& device) : store(device.dtype) {
    ctx.device = &device;
    ctx.arena = &arena;
    ctx.tape = &tape;
    ctx.parameters = &store;
    ctx.gradients = &gradients;
  }

  // After the layers have declared their parameters.
  void allocate() {
    store.allocate();
    store.prepare(gradients);
  }

  const piano::Parameter& find(const std::string& name) const {
    for (const piano::Parameter& p : store.parameters()) {
      if (p.name == name) return p;
    }
    throw piano::Error(piano::ErrorCode::internal, "no parameter " + name);
  }
};
