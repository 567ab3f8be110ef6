"""The baselines in PyTorch, one list at a time, written from the headers of piano/baselines/. What they share with PIANO comes from plain_model."""

import torch

from plain_layers import bag_mean, feed_forward, linear
from plain_model import DTYPE, encode, encode_item, encode_query, feed_forward_shapes, linear_shapes, norm_shapes, number_row

POSITIONS = ("dnn", "din", "esmm")     # models whose join has the initial rank
HISTORY = ("din",)                     # models that read past items


def request_shapes(c, w):
    """What every model reads of a request."""
    d = c["model.d"]
    present = lambda n: n + 1 if n > 0 else 0
    out = {"query.id": (w["query"], d), "query.term": (w["term"], d), "item.id": (w["item"], d), "user.id": (w["user"], d)}
    for owner in ("item", "user", "context"):
        out |= {f"{owner}.field.{f}": (n, d) for f, n in w[owner + "_fields"].items()}
    out |= linear_shapes("query.project", 2 * d, d) | norm_shapes("query.norm", d)
    out |= linear_shapes("item.project", (1 + len(w["item_fields"])) * d + present(w["item_vector"]), d) | norm_shapes("item.norm", d)
    out |= linear_shapes("user.project", (1 + len(w["user_fields"])) * d + present(w["user_dense"]), d) | norm_shapes("user.norm", d)
    if w["context_fields"]:
        out |= linear_shapes("context.project", len(w["context_fields"]) * d, d) | norm_shapes("context.norm", d)
    return out


def known_columns(c, w):
    return (w["item_dense"] + 1 if w["item_dense"] else 0) + (w["match"] if c["model.match"] else 0) + (2 if w["score"] else 0)


def head_shapes(name, c, w, inputs):
    known = known_columns(c, w)
    return feed_forward_shapes(name, inputs, c["model.d"], 1) | (linear_shapes(name + ".wide", known, 1, bias=False) if known else {})


def tower_shapes(name, c):
    """(shapes, width of what comes out)"""
    out, width = {}, c["model.d"]
    for m in range(c["model.layers"]):
        out |= linear_shapes(f"{name}.{m}", width, c["model.ffn"] * c["model.d"])
        width = c["model.ffn"] * c["model.d"]
    return out, width


def shapes(c, w):
    """Name -> shape of every parameter."""
    name, d = c["model.name"], c["model.d"]
    out, added = request_shapes(c, w), 0
    heads = lambda width: head_shapes("head.click", c, w, width) | head_shapes("head.conversion", c, w, width)
    if name in HISTORY:
        out |= {"history.age": (26, d), "history.action": (w["action"], d)}
    if name in ("dnn", "din"):
        tower, width = tower_shapes("body", c)
        out |= tower | heads(width)
    if name == "din":
        out |= feed_forward_shapes("din.activation", 3 * d, d // 2, 1)
        added = d
    if name == "esmm":
        for task in ("click", "conversion"):
            tower, width = tower_shapes("tower." + task, c)
            out |= tower | head_shapes("head." + task, c, w, width)
    out |= linear_shapes("join.item", d + added + known_columns(c, w), d)
    out |= linear_shapes("join.list", (2 + (len(w["context_fields"]) > 0)) * d, d, bias=False)
    if name in POSITIONS and c["encoder.position"] == "initial_rank":
        out["encoder.position"] = (c["encoder.positions"], d)
    return out


class Request:
    """A request as the models begin with it."""

    def __init__(self, p, c, w, request):
        self.p, self.c, self.w = p, c, w
        candidates = request["candidates"]
        self.n = len(candidates)
        self.query = encode_query(p, request["query"])
        user = [p["user.id"][request["user"]]] + [bag_mean(p["user.field." + f], request["user_fields"][f]) for f in w["user_fields"]]
        self.user = encode(p, "user", user + ([number_row(request["user_dense"])] if w["user_dense"] else []))
        self.context = []
        if w["context_fields"]:
            self.context = [encode(p, "context", [bag_mean(p["context.field." + f], request["context_fields"][f]) for f in w["context_fields"]])]
        self.items = torch.stack([encode_item(p, w, i["id"], i["fields"], i["vector"]) for i in candidates])
        wanted = [k for k, on in (("dense", w["item_dense"] > 0), ("match", c["model.match"] and w["match"] > 0), ("score", w["score"])) if on]
        self.known = torch.stack([torch.cat([number_row(i[k]) for k in wanted]) for i in candidates]) if wanted else None
        if c["model.name"] in HISTORY:
            past = [encode_item(p, w, e["item"], e["fields"], None) + p["history.age"][e["age"]] + p["history.action"][e["action"]]
                    for e in request["history"]]
            self.past = torch.stack(past) if past else torch.zeros(0, c["model.d"], dtype=DTYPE)

    def join(self, added=()):
        parts = [self.items, *added] + ([self.known] if self.known is not None else [])
        x = linear(self.p, "join.item", torch.cat(parts, 1)) + linear(self.p, "join.list", torch.cat([self.query, self.user, *self.context]))
        if "encoder.position" in self.p:
            x = x + torch.stack([self.p["encoder.position"][min(rank, self.c["encoder.positions"] - 1)] for rank in range(self.n)])
        return x

    def tower(self, name, x):
        for m in range(self.c["model.layers"]):
            x = torch.nn.functional.gelu(linear(self.p, f"{name}.{m}", x))
        return x

    def head(self, name, h):
        logit = feed_forward(self.p, name, h)
        return (logit if self.known is None else logit + linear(self.p, name + ".wide", self.known))[:, 0]


def dnn(r):
    h = r.tower("body", r.join())
    return {"click": r.head("head.click", h), "conversion": r.head("head.conversion", h)}


def din(r):
    interests = []
    for v in r.items:
        total = torch.zeros_like(v)
        for e in r.past:
            total = total + feed_forward(r.p, "din.activation", torch.cat([e, e * v, v])) * e
        interests.append(total)
    h = r.tower("body", r.join([torch.stack(interests)]))
    return {"click": r.head("head.click", h), "conversion": r.head("head.conversion", h)}


def esmm(r):
    x = r.join()
    return {task: r.head("head." + task, r.tower("tower." + task, x)) for task in ("click", "conversion")}


def forward(p, c, w, request):
    """Logits of one request, those that the model has: click (n), conversion (n), list_click ()."""
    return {"dnn": dnn, "din": din, "esmm": esmm}[c["model.name"]](Request(p, c, w, request))


def bce(logit, y):
    return torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.full_like(logit, y), reduction="sum")


def loss(c, batch, logits):
    """The terms that config `c`'s model has, from loss.* where it reads them. Returns (total, terms)."""
    zero = torch.zeros((), dtype=DTYPE)
    sums, counts = {"click": zero, "conversion": zero}, {"click": 0, "conversion": 0}
    for request, out in zip(batch, logits):
        for i, item in enumerate(request["candidates"]):
            if not item["labelled"]:
                continue
            both = torch.sigmoid(out["click"][i]) * torch.sigmoid(out["conversion"][i])
            sums["click"] = sums["click"] + bce(out["click"][i], item["click"])
            sums["conversion"] = sums["conversion"] - (torch.log(both) if item["conversion"] else torch.log1p(-both))
            counts = {k: v + 1 for k, v in counts.items()}
    terms = {k: v / max(counts[k], 1) for k, v in sums.items()}
    return sum(c["loss." + k] * v for k, v in terms.items()), terms
