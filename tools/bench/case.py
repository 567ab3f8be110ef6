"""A case that `piano bench --export` wrote, for PyTorch: parameters, plan, model and loss."""

import numpy as np
import torch

from files import Safetensors, case_file, case_info
from model_torch import Loss, Model
from parameters import Parameters
from plan import Plan

LOSSES = ("loss.click", "loss.conversion", "loss.list_click", "loss.list_conversion")
# The peer is this architecture and no other; a case that asks for something else is refused.
BUILT = {"qdir.mode": "attend", "qdir.query": "query", "qdir.value": "both", "qdir.null_slot": "true", "qdir.match": "true", "model.match": "true",
         "ian.condition": "true", "ian.feedback": "true", "ian.pool": "token", "encoder.position": "initial_rank", "encoder.attention": "full", "list.label": "any",
         "model.dropout": 0.0, "model.oov_dropout": 0.0, "loss.listwise": 0.0, "train.schedule": "constant"}


def repeated(batch, copies):
    """The batch's lists, `copies` times one after the other."""
    out, rows, events = {}, int(batch["offsets"][-1]), int(batch["history_offsets"][-1])
    for k, v in batch.items():
        if k.endswith("offsets"):
            out[k] = np.concatenate([[0], *[v[1:].astype(np.int64) + c * int(v[-1]) for c in range(copies)]])
        else:
            step = {"history_match.candidate": rows, "history_match.event": events}.get(k, 0)
            out[k] = np.concatenate([v + c * step for c in range(copies)]) if step else np.concatenate([v] * copies)
    return out


def moved(thing, device, done=None):
    """The same with every tensor in it, however deep, on `device`; what is shared stays shared. Nothing is done for the CPU, where all is made."""
    if device == "cpu":
        return thing
    done = {} if done is None else done  # id -> (the old, kept alive so that its id stays its own, the new)
    if id(thing) in done:
        return done[id(thing)][1]
    ours = hasattr(thing, "__dict__") and type(thing).__module__ in ("parameters", "plan")
    new = thing
    if torch.is_tensor(thing):
        new = thing.detach().to(device).requires_grad_(thing.requires_grad)
    elif isinstance(thing, (list, tuple)):
        new = type(thing)(moved(x, device, done) for x in thing)
    done[id(thing)] = (thing, new)
    if ours:
        for k, v in vars(thing).items():
            setattr(thing, k, moved(v, device, done))
    return new


class Case:
    def __init__(self, folder, name, copies=1, device="cpu"):
        self.device, self.copies = device, copies
        self.name, self.config = name, case_info(folder, name)["config"]
        for key, value in BUILT.items():
            given = self.config.get(key, value)
            if (float(given) if isinstance(value, float) else given) != value:
                raise ValueError(f"{name}: {key} = {given} is not built here, only {value}")
        self.model_file, self.batch_file = (Safetensors(case_file(folder, name, what)) for what in ("model", "batch"))
        self.heads, self.layers = int(self.config["model.heads"]), int(self.config["model.layers"])
        ours = ("logits.", "grad.", "loss")
        self.batch = {k: self.batch_file.read(k) for k in self.batch_file.names() if not k.startswith(ours)}
        if copies > 1:
            self.batch = repeated(self.batch, copies)

    def parameters(self):
        return moved(Parameters(self.model_file), self.device)

    def plan(self, parameters, layout="packed"):
        return moved(Plan(self.batch, parameters, self.heads, layout), self.device)

    def model(self, **ways):
        return Model(self.heads, self.layers, **ways)

    def loss(self, plan):
        return Loss(plan, [float(self.config[k]) for k in LOSSES])
