#!/usr/bin/env python3
"""Writes tests/golden/*.safetensors: what every layer, the whole model and AdamW compute, from PyTorch in float64.

Needs torch and safetensors; the tests need neither, they read the files. Parameters and inputs are float32 values, so that a float device
starts from the very same numbers. Dropout is off. Run it again only when a formula or a name changes on purpose:

    python3 tools/golden/make_golden.py [folder]
"""

import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import save_file

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import plain_baselines as baselines
import plain_layers as layers
import plain_model as model

BASE = {
    "model.d": 8, "model.heads": 2, "model.layers": 1, "model.ffn": 2, "model.match": True,
    "qdir.mode": "attend", "qdir.query": "query", "qdir.value": "both", "qdir.null_slot": True, "qdir.match": True,
    "ian.condition": True, "ian.feedback": True, "ian.pool": "token", "encoder.position": "initial_rank", "encoder.positions": 4,
    "list.label": "any",
    "loss.click": 1.0, "loss.conversion": 1.0, "loss.list_click": 0.5, "loss.list_conversion": 0.5, "loss.listwise": 0.25, "loss.lambda": 1.0,
}

# Table sizes count the out-of-vocabulary row 0 and the missing row 1; widths do not count the "present" column.
WORLD = {
    "user": 5, "query": 6, "term": 7, "item": 9, "action": 4,
    "user_fields": {"country": 4}, "context_fields": {"hour": 4}, "item_fields": {"artist": 5, "tags": 6},
    "user_dense": 2, "item_dense": 2, "item_vector": 3, "match": 10, "match_fields": 1, "score": True,
}
BARE_WORLD = WORLD | {"user_fields": {}, "context_fields": {}, "item_fields": {}, "user_dense": 0, "item_dense": 0, "item_vector": 0,
                      "match": 7, "match_fields": 0, "score": False}

# (candidates, past events) of each list
LISTS = ((5, 3), (1, 0), (2, 1), (5, 2))
OTHER_LISTS = ((2, 2), (5, 0), (1, 1))
NO_HISTORY = ((3, 0), (1, 0))
ONE_BY_ONE = ((1, 1),)

# name -> (options that differ from BASE, world, lists)
CASES = {
    "default": ({"model.layers": 2}, WORLD, LISTS),
    "query_user": ({"qdir.query": "query+user", "qdir.value": "query", "qdir.match": False, "list.label": "fraction", "loss.lambda": 0.5}, WORLD, LISTS),
    "count_mean": ({"ian.pool": "mean", "qdir.value": "item", "list.label": "count"}, WORLD, LISTS),
    "mode_mean": ({"qdir.mode": "mean", "ian.pool": "attention", "ian.feedback": False, "loss.listwise": 0.0}, WORLD, LISTS),
    "item_only": ({"qdir.mode": "item_only", "ian.condition": False, "qdir.null_slot": False}, WORLD, OTHER_LISTS),
    "qdir_off": ({"qdir.mode": "off", "encoder.position": "none", "model.match": False}, WORLD, OTHER_LISTS),
    "no_null": ({"qdir.null_slot": False, "encoder.position": "none", "ian.feedback": False}, WORLD, LISTS),
    "bare": ({}, BARE_WORLD, OTHER_LISTS),
    "no_history": ({"qdir.query": "query+user"}, WORLD, NO_HISTORY),
    "one_by_one": ({"encoder.position": "none"}, BARE_WORLD, ONE_BY_ONE),
    "lambda": ({"loss.listwise_kind": "lambda", "loss.lambda": 0.5}, BARE_WORLD, LISTS),
    "displayed": ({"encoder.position": "displayed"}, WORLD, LISTS),
    "uncertainty": ({"loss.weighting": "uncertainty", "loss.listwise": 0.0}, BARE_WORLD, OTHER_LISTS),
    "kinds": ({"loss.listwise_value": True, "rank.conversion_weights": "1 0.5"}, WORLD | {"kinds": 2}, LISTS),
}

# The baselines: name -> (options, world, lists). They read no option of QDIR, IAN and the lists' losses.
BASELINE_BASE = {k: v for k, v in BASE.items() if not k.startswith(("qdir.", "ian.", "list.", "loss.list", "model.heads"))}
BASELINE_CASES = {
    "dnn": ({"model.name": "dnn", "model.layers": 2}, WORLD, LISTS),
    "din": ({"model.name": "din"}, WORLD, LISTS),
    "din_no_history": ({"model.name": "din", "encoder.position": "none"}, BARE_WORLD, NO_HISTORY),
    "esmm": ({"model.name": "esmm", "loss.conversion": 0.5}, WORLD, OTHER_LISTS),
    "mmoe": ({"model.name": "mmoe", "model.experts": 3}, WORLD, LISTS),
    "ple": ({"model.name": "ple", "model.experts": 2, "model.layers": 2}, WORLD, LISTS),
    "dlcm": ({"model.name": "dlcm"}, WORLD, LISTS),
    "mir": ({"model.name": "mir", "model.heads": 2}, WORLD, LISTS),
    "pear": ({"model.name": "pear", "model.heads": 2, "model.layers": 2, "loss.list_click": 0.5}, WORLD, LISTS),
    "prm": ({"model.name": "prm", "model.heads": 2}, WORLD, LISTS),
    "setrank": ({"model.name": "setrank", "model.heads": 2, "loss.lambda": 0.5}, WORLD, LISTS),
    "setrank_induced": ({"model.name": "setrank", "model.heads": 2, "encoder.attention": "induced", "encoder.points": 3}, WORLD, LISTS),
}


def baseline_options(name):
    """What of BASE the model reads."""
    unread = {"dlcm": ("model.layers", "model.ffn"), "mmoe": ("model.layers", "model.ffn"), "ple": ("model.ffn",)}.get(name, ())
    unread += ("encoder.position",) if name not in baselines.POSITIONS else ()
    return {k: v for k, v in BASELINE_BASE.items() if not k.startswith(unread)}


def float32(rng, *shape, scale=1.0):
    return (rng.normal(size=shape) * scale).astype(np.float32)


def draw_bag(rng, rows, most):
    """Ids of a bag, 0 .. most of them, unknown and missing ones included; repeats allowed."""
    return [int(i) for i in rng.integers(0, rows, rng.integers(0, most + 1))]


def draw_request(rng, w, n, t):
    numbers = lambda width: [float(v) for v in float32(rng, width)] + [1.0]
    fields = lambda sizes: {f: draw_bag(rng, size, 2) for f, size in sizes.items()}
    query = lambda: (int(rng.integers(w["query"])), draw_bag(rng, w["term"], 3))
    candidates = []
    for i in range(n):
        click = float(rng.random() < 0.5)
        candidates.append({
            "id": int(rng.integers(w["item"])), "fields": fields(w["item_fields"]), "vector": numbers(w["item_vector"]),
            "dense": numbers(w["item_dense"]), "match": [float(v) for v in float32(rng, w["match"])], "score": numbers(1),
            "click": click, "conversion": click * float(rng.random() < 0.5),
            # Four labelled candidates of five, so that the fractions of list.label = fraction are exact floats.
            "labelled": float(i != 2 or n != 5),
        })
    if n == 5:
        candidates[1] |= {"click": 1.0, "conversion": 1.0}
        candidates[3] |= {"vector": [0.0] * (w["item_vector"] + 1), "dense": [0.0] * (w["item_dense"] + 1)}  # absent
    history = [{"query": query(), "item": int(rng.integers(w["item"])), "fields": fields(w["item_fields"]),
                "action": int(rng.integers(w["action"])), "age": int(rng.integers(26))} for _ in range(t)]
    return {"query": query(), "user": int(rng.integers(w["user"])), "user_fields": fields(w["user_fields"]),
            "user_dense": numbers(w["user_dense"]), "context_fields": fields(w["context_fields"]), "history": history,
            "matches": [(i, e, k) for i in range(n) for e in range(t) for k in range(1 + w["match_fields"]) if rng.random() < 0.4],
            "candidates": candidates}


def draw_kinds(rng, batch):
    """Two kinds of conversion in place of one: labels, of which None is not known, and values."""
    for r, request in enumerate(batch):
        for i, item in enumerate(request["candidates"]):
            second = None if (r, i) in ((0, 0), (3, 1)) else item["click"] * float(rng.random() < 0.5)
            item |= {"conversion": [item["conversion"], second], "value": [float(v) for v in 1 + 0.5 * float32(rng, 2)]}


def draw_parameters(rng, shapes):
    out = {}
    for name, shape in shapes.items():
        if name.endswith(".gamma"):
            out[name] = 1 + float32(rng, *shape, scale=0.1)
        else:
            # Matrices keep the size of what goes through them; biases and tables are of the order of one half.
            dense_matrix = name.endswith((".weight", ".wq", ".wk", ".wv", ".wo"))
            out[name] = float32(rng, *shape, scale=shape[-1] ** -0.5 if dense_matrix else 0.5)
        out[name] = out[name].astype(np.float32)
    return out


def as_leaves(values):
    return {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in values.items()}


def gradient(leaf):
    return (torch.zeros_like(leaf) if leaf.grad is None else leaf.grad).numpy()


def batch_tensors(prefix, w, batch):
    """The columns of data::Batch (data/batch.h)."""
    out = {}
    ints = lambda name, values: out.__setitem__(f"{prefix}.{name}", np.array(values, dtype=np.int32))
    floats = lambda name, values: out.__setitem__(f"{prefix}.{name}", np.array(values, dtype=np.float32))

    def bags(name, rows):
        ints(name + ".offsets", np.cumsum([0] + [len(r) for r in rows]))
        ints(name + ".ids", [i for r in rows for i in r])

    events = [e for r in batch for e in r["history"]]
    items = [i for r in batch for i in r["candidates"]]
    ints("user", [r["user"] for r in batch])
    for owner, key in (("user_fields", "user_fields"), ("context_fields", "context_fields")):
        for f in w[owner]:
            bags(f"{owner}.{f}", [r[key][f] for r in batch])
    for name, rows in (("item", items), ("history_item", events)):
        ints(name + ".id", [i["id" if name == "item" else "item"] for i in rows])
        for f in w["item_fields"]:
            bags(f"{name}.fields.{f}", [i["fields"][f] for i in rows])
    for name, queries in (("query", [r["query"] for r in batch]), ("history_query", [e["query"] for e in events])):
        ints(name + ".id", [q[0] for q in queries])
        bags(name + ".terms", [q[1] for q in queries])
    ints("history_offsets", np.cumsum([0] + [len(r["history"]) for r in batch]))
    ints("history_action", [e["action"] for e in events])
    ints("history_age", [e["age"] for e in events])
    ints("history_match.offsets", np.cumsum([0] + [len(r["matches"]) for r in batch]))
    before = lambda key: np.cumsum([0] + [len(r[key]) for r in batch])[:-1]
    ints("history_match.candidate", [first + m[0] for first, r in zip(before("candidates"), batch) for m in r["matches"]])
    ints("history_match.event", [first + m[1] for first, r in zip(before("history"), batch) for m in r["matches"]])
    ints("history_match.column", [m[2] for r in batch for m in r["matches"]])
    ints("offsets", np.cumsum([0] + [len(r["candidates"]) for r in batch]))
    ints("rank", [rank for r in batch for rank in range(len(r["candidates"]))])
    if w["user_dense"]:
        floats("user_dense", [r["user_dense"] for r in batch])
    for name, wanted in (("dense", w["item_dense"]), ("vector", w["item_vector"]), ("match", w["match"]), ("score", w["score"])):
        if wanted:
            floats(name, [i[name] for i in items])
    for name in ("click", "labelled"):
        floats(name, [i[name] for i in items])
    if "value" in items[0]:  # several kinds of conversion; 2: not known
        floats("conversion", [[2.0 if z is None else z for z in i["conversion"]] for i in items])
        floats("value", [i["value"] for i in items])
    else:
        floats("conversion", [i["conversion"] for i in items])
    if "position" in items[0]:
        ints("position", [i["position"] for i in items])
    return out


def code_of(c):
    """The module with shapes(), forward() and loss() of the configured model."""
    return baselines if "model.name" in c else model


def forward_batch(p, c, w, batch):
    logits = [code_of(c).forward(p, c, w, request) for request in batch]
    total, terms = code_of(c).loss(c, batch, logits)
    if c.get("loss.weighting") == "uncertainty":  # Kendall, Gal & Cipolla 2018, eq. 10: L / sigma^2 + log sigma, s = log sigma^2
        s = {k: p["loss.log_variance." + k][0, 0] for k in terms if c["loss." + k] > 0}
        total = sum(torch.exp(-s[k]) * c["loss." + k] * terms[k] + s[k] / 2 for k in s)
    joined = {k: torch.cat([out[k].reshape(-1) for out in logits]) for k in logits[0]}
    return total, terms, joined


def config_text(options):
    text = lambda v: str(v).lower() if isinstance(v, bool) else str(v)
    return "\n".join(f"{k}={text(v)}" for k, v in options.items())


def write(path, tensors, metadata=None):
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata or {})
    print(f"{path.name}: {path.stat().st_size} bytes, {len(tensors)} tensors")


def make_model(folder, name, seed):
    options, w, extents = (CASES | BASELINE_CASES)[name]
    c, rng = (baseline_options(options["model.name"]) if name in BASELINE_CASES else BASE) | options, np.random.default_rng(seed)
    batch = [draw_request(rng, w, n, t) for n, t in extents]
    if name == "item_only":  # a list without any label
        batch[2]["candidates"][0]["labelled"] = 0.0
    if name == "displayed":  # in an order of their own, one of them not shown, one beyond the table
        for request in batch:
            for item, position in zip(request["candidates"], [2, 9, 1, 0, 3] if len(request["candidates"]) == 5 else [2, 1]):
                item |= {"position": position} | ({"labelled": 0.0} if position == 0 else {})
    if w.get("kinds", 1) > 1:
        draw_kinds(rng, batch)
    values = draw_parameters(rng, code_of(c).shapes(c, w))
    p = as_leaves(values)
    total, terms, logits = forward_batch(p, c, w, batch)
    total.backward()
    if w.get("kinds", 1) > 1:  # kind after kind
        for k in ("conversion", "list_conversion"):
            logits[k] = torch.cat([logits[k], logits.pop(k + ".1")])
    tensors = batch_tensors("batch", w, batch)
    tensors |= {"param." + k: v for k, v in values.items()}
    tensors |= {"grad." + k: gradient(v) for k, v in p.items()}
    tensors |= {"out." + k: v.detach().numpy() for k, v in logits.items()}
    tensors |= {"loss": total.detach().numpy().reshape(1)} | {"term." + k: v.detach().numpy().reshape(1) for k, v in terms.items()}
    write(folder / f"model_{name}.safetensors", tensors, {"config": config_text(c)})


def make_adamw(folder, seed):
    """20 steps of AdamW on two alternating batches; every embedding row moves in every step (train.rows = dense)."""
    c, w, rng = BASE, WORLD, np.random.default_rng(seed)
    train = {"train.learning_rate": 0.01, "train.weight_decay": 0.1, "train.beta1": 0.9, "train.beta2": 0.99, "train.epsilon": 1e-6,
             "train.clip": 1.0}
    batches = [[draw_request(rng, w, n, t) for n, t in extents] for extents in (LISTS, OTHER_LISTS)]
    values = draw_parameters(rng, model.shapes(c, w))
    p = as_leaves(values)
    decays = lambda k: k.endswith((".weight", ".wq", ".wk", ".wv", ".wo"))
    groups = [{"params": [v for k, v in p.items() if decays(k)], "weight_decay": train["train.weight_decay"]},
              {"params": [v for k, v in p.items() if not decays(k)], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=train["train.learning_rate"], betas=(train["train.beta1"], train["train.beta2"]),
                                  eps=train["train.epsilon"])
    norms = []
    for step in range(20):
        optimiser.zero_grad(set_to_none=False)
        total, _, _ = forward_batch(p, c, w, batches[step % 2])
        total.backward()
        for v in p.values():
            v.grad = torch.zeros_like(v) if v.grad is None else v.grad  # a parameter without a gradient still has momentum
        norm = torch.sqrt(sum((v.grad ** 2).sum() for v in p.values()))
        norms.append(norm.item())
        if norm > train["train.clip"]:
            for v in p.values():
                v.grad *= train["train.clip"] / norm
        optimiser.step()
    print("gradient norms:", " ".join(f"{n:.2f}" for n in norms))
    assert min(norms) < train["train.clip"] < max(norms), "some steps should clip and some should not"
    tensors = batch_tensors("batch", w, batches[0]) | batch_tensors("batch2", w, batches[1])
    tensors |= {"param." + k: v for k, v in values.items()} | {"final." + k: v.detach().numpy() for k, v in p.items()}
    tensors["norms"] = np.array(norms)
    write(folder / "adamw.safetensors", tensors, {"config": config_text(c | train | {"train.rows": "dense"})})


def make_layers(folder, seed):
    """Each layer by itself, over ragged rows: out, and the gradients of sum(seed * out)."""
    rng, tensors, d, heads = np.random.default_rng(seed), {}, 8, 2
    rows, keys = (3, 1, 4), (2, 0, 3)  # lists of queries, and of the keys that they see
    offsets = lambda sizes: np.cumsum((0,) + sizes)
    cut = lambda x, sizes: torch.split(x, list(sizes))

    def case(name, shapes, inputs, run, **ints):
        values = {"param." + k: v for k, v in draw_parameters(rng, shapes).items()}
        values |= {"in." + k: float32(rng, *shape) for k, shape in inputs.items()}
        leaves = as_leaves(values)
        p = {k[len("param."):]: v for k, v in leaves.items() if k.startswith("param.")}
        out = run(p, {k: leaves["in." + k] for k in inputs})
        seed_values = float32(rng, *out.shape)
        (out * torch.tensor(seed_values, dtype=torch.float64)).sum().backward()
        results = values | {"grad." + k: gradient(v) for k, v in leaves.items()} | {"out": out.detach().numpy(), "seed": seed_values}
        results |= {k: np.array(v, dtype=np.int32) for k, v in ints.items()}
        tensors.update({f"{name}/{k}": v for k, v in results.items()})

    n, m = sum(rows), sum(keys)
    case("linear", model.linear_shapes("layer", 5, 7), {"x": (n, 5)}, lambda p, i: layers.linear(p, "layer", i["x"]))
    case("linear_no_bias", model.linear_shapes("layer", 5, 7, False), {"x": (n, 5)}, lambda p, i: layers.linear(p, "layer", i["x"]))
    case("linear_gelu", model.linear_shapes("layer", 5, 7), {"x": (n, 5)},
         lambda p, i: torch.nn.functional.gelu(layers.linear(p, "layer", i["x"])))
    case("layer_norm", model.norm_shapes("layer", d), {"x": (n, d)}, lambda p, i: layers.layer_norm(p, "layer", i["x"]))

    ids = [0, 1, 2, 5, 2, 0, 4, 1]  # unknown, missing, repeated
    case("embedding", {"layer": (6, d)}, {}, lambda p, i: torch.stack([p["layer"][k] for k in ids]), ids=ids)
    bags = [[2, 3], [], [0], [1], [4, 4, 0], [5, 1, 2, 3]]
    flat = {"ids": [k for bag in bags for k in bag], "bag_offsets": np.cumsum([0] + [len(bag) for bag in bags])}
    case("embedding_mean", {"layer": (6, d)}, {}, lambda p, i: torch.stack([layers.bag_mean(p["layer"], bag) for bag in bags]), **flat)
    case("embedding_sum", {"layer": (6, d)}, {},
         lambda p, i: torch.stack([len(bag) * layers.bag_mean(p["layer"], bag) for bag in bags]), **flat)

    def self_attention(p, i):
        return torch.cat([layers.multi_head_attention(p, "layer", x, x, x, heads) for x in cut(i["x"], rows)])

    def cross_attention(p, i):
        return torch.cat([layers.multi_head_attention(p, "layer", q, k, v, heads)
                          for q, k, v in zip(cut(i["q"], rows), cut(i["k"], keys), cut(i["v"], keys))])

    cross = {"q": (n, d), "k": (m, d), "v": (m, d)}
    ragged = {"offsets": offsets(rows), "key_offsets": offsets(keys)}
    case("self_attention", model.attention_shapes("layer", d, False), {"x": (n, d)}, self_attention, offsets=offsets(rows))
    case("cross_attention_null", model.attention_shapes("layer", d, True), cross, cross_attention, **ragged)
    case("cross_attention", model.attention_shapes("layer", d, False), cross, cross_attention, **ragged)
    # Lists of keys have the sizes `keys`; the rows 0-2 see the first list, row 3 the second (which has none), the rows 4-7 the third.
    matches = [[(0, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1)], [], [(0, 0, 0), (0, 1, 0), (0, 2, 1), (3, 2, 0)]]
    first = lambda sizes: np.cumsum((0,) + sizes)[:-1]
    pairs = {"match_offsets": np.cumsum([0] + [len(m) for m in matches]),
             "match_rows": [r + i for r, m in zip(first(rows), matches) for i, _, _ in m],
             "match_keys": [k + j for k, m in zip(first(keys), matches) for _, j, _ in m],
             "match_columns": [column for m in matches for _, _, column in m]}
    for name, null_slot in (("match_attention_null", True), ("match_attention", False)):
        case(name, model.attention_shapes("layer", d, null_slot), {"q": (len(rows), d), "k": (m, d)},
             lambda p, i: torch.cat([layers.match(p, "layer", q, k, heads, pairs_of_list, n_rows, 2) for q, k, pairs_of_list, n_rows
                                     in zip(i["q"], cut(i["k"], keys), matches, rows)]), key_offsets=offsets(keys), **pairs)
    for suffix, null_slot in (("_null", True), ("", False)):
        one_query = lambda p, i, values: torch.cat([layers.multi_head_attention(p, "layer", q[None], k, v, heads) for q, k, v
                                                    in zip(i["q"], cut(i["k"], keys), cut(values, keys))])
        shapes = model.attention_shapes("layer", d, null_slot)
        case("query_attention" + suffix, shapes, {"q": (len(rows), d), "k": (m, d), "v": (m, d)},
             lambda p, i: one_query(p, i, i["v"]), key_offsets=offsets(keys))
        case("joined_attention" + suffix, model.linear_shapes("join", 2 * d, d) | shapes, {"q": (len(rows), d), "k": (m, d), "v": (m, 2 * d)},
             lambda p, i: one_query(p, i, layers.linear(p, "join", i["v"])), key_offsets=offsets(keys))
    case("mean_attention", model.attention_shapes("layer", d, False), {"v": (m, d)},
         lambda p, i: torch.cat([layers.mean_attention(p, "layer", v) for v in cut(i["v"], keys)]), key_offsets=offsets(keys))
    case("feed_forward", model.feed_forward_shapes("layer", d, 4 * d, d), {"x": (n, d)},
         lambda p, i: layers.feed_forward(p, "layer", i["x"]), offsets=offsets(rows))
    case("mlp_head", model.feed_forward_shapes("layer", 2 * d, d, 1), {"x": (n, 2 * d)},
         lambda p, i: layers.feed_forward(p, "layer", i["x"]), offsets=offsets(rows))
    block = model.norm_shapes("layer.norm1", d) | model.attention_shapes("layer.attention", d, False) | \
        model.norm_shapes("layer.norm2", d) | model.feed_forward_shapes("layer.ffn", d, 4 * d, d)
    induced = block | {"layer.points": (3, d)} | model.attention_shapes("layer.point_attention", d, False) | \
        model.norm_shapes("layer.point_norm", d)
    for name, shapes in (("encoder_block", block), ("induced_block", induced)):
        case(name, shapes, {"x": (n, d)},
             lambda p, i: torch.cat([layers.encoder_block(p, "layer", x, heads) for x in cut(i["x"], rows)]), offsets=offsets(rows))
    def gru(p, i, backwards):
        """torch.nn.GRU; its hidden biases of r and z are 0, since they only add to those of the input."""
        module, zeros = torch.nn.GRU(5, d, batch_first=True, dtype=torch.float64), torch.zeros(2 * d, dtype=torch.float64)
        weights = {"weight_ih_l0": p["layer.input.weight"], "bias_ih_l0": p["layer.input.bias"], "weight_hh_l0": p["layer.hidden"],
                   "bias_hh_l0": torch.cat([zeros, p["layer.bias"]])}
        turn = (lambda x: x.flip(0)) if backwards else (lambda x: x)
        return torch.cat([turn(torch.func.functional_call(module, weights, turn(x)[None])[0][0]) for x in cut(i["x"], rows)])

    for name, backwards in (("gru", False), ("gru_backwards", True)):
        case(name, baselines.gru_shapes("layer", 5, d), {"x": (n, 5)}, lambda p, i: gru(p, i, backwards), offsets=offsets(rows))
    write(folder / "layers.safetensors", tensors)


def main():
    torch.set_num_threads(1)
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2] / "tests" / "golden"
    folder.mkdir(parents=True, exist_ok=True)
    make_layers(folder, seed=1)
    for k, name in enumerate(CASES):
        make_model(folder, name, seed=100 + k)
    make_adamw(folder, seed=200)
    for k, name in enumerate(BASELINE_CASES):
        make_model(folder, name, seed=300 + k)


if __name__ == "__main__":
    main()
